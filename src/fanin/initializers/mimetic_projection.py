"""MimeticProjection: one of the four maps of an attention whose products look like trained ones."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import linear
from fanin.initializers._base import Example, choice, number, whole
from fanin.initializers._matrix import MatrixLaw, Stack
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.fans import Fans

__all__ = ["MimeticProjection"]

_KINDS = ("query", "key", "value", "output")


class MimeticProjection(MatrixLaw):
    """One factor of a joint draw: W_Q W_Kᵀ ≈ a·Z + b·I for each head, W_V W_O ≈ a·Z + b·I over all, Z ~ N(0, 1/d).

    The product's factors are U√Σ and V√Σ of its SVD. They are drawn from (seed, ``pair``) whatever the parameter is
    called, so that two parameters with the same ``pair`` hold two halves of one draw, on any sharding. Queries and keys
    keep the head_dim largest singular values of each head; values and outputs the kv_heads·head_dim largest.

    Where several query heads share a key head, each has a product of its own, projected on what that key head sees:
    W_Q = (a·Z + b·I) W_K (W_Kᵀ W_K)⁻¹; and the rows of W_O that read copies of one value head are equal and add up.

    Args:
        kind: "query", "key", "value" or "output".
        head_dim: length of a head.
        heads: query heads.
        kv_heads: key and value heads, a divisor of ``heads``; None for as many.
        noise: a.
        identity: b.
        pair: name of the joint draw, such as the path of the attention; None for the parameter's own name (one half
            alone).
        first: the first head that the tensor holds, where it holds a part of them.

    Raises:
        InputError: if an argument is not acceptable; on use, if the tensor does not hold whole heads, or they are
            longer than the width.

    Example:
        >>> from fanin.fans import linear
        >>> make = lambda kind: MimeticProjection(kind, 8, 4, pair="a").draw(Key(0), (32, 32), linear((32, 32)))
        >>> product = make("query")[:8].T @ make("key")[:8]  # of the first head, 32 × 32
        >>> bool(product.trace() > 4)
        True

    Source: Trockman & Kolter, ICML 2023.
    """

    source = "Trockman & Kolter (mimetic initialization), ICML 2023"
    formula = "U√Σ or V√Σ, UΣVᵀ = noise·Z + identity·I, Z ~ N(0, 1/d)"

    def __init__(
        self,
        kind: str,
        head_dim: int,
        heads: int,
        kv_heads: int | None = None,
        noise: float = 0.7,
        identity: float = 0.7,
        pair: str | None = None,
        first: int = 0,
    ) -> None:
        owner = "MimeticProjection"
        if not isinstance(pair, (str, type(None))):
            raise InputError.of("pair", pair, "a string or None", owner)
        heads = whole(owner, "heads", heads, low=1)
        kv_heads = heads if kv_heads is None else whole(owner, "kv_heads", kv_heads, low=1)
        if heads % kv_heads:
            raise InputError.of("kv_heads", kv_heads, f"a divisor of the {heads} query heads", owner)
        super().__init__(
            kind=choice(owner, "kind", kind, _KINDS),
            head_dim=whole(owner, "head_dim", head_dim, low=1),
            heads=heads,
            kv_heads=kv_heads,
            noise=number(owner, "noise", noise, low=0, strict=True),
            identity=number(owner, "identity", identity),
            pair=pair,
            first=whole(owner, "first", first),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls("query", 12, 4), (48, 48), linear((48, 48))
        yield cls("query", 12, 4, 2), (48, 48), linear((48, 48))
        yield cls("key", 12, 4, 2), (24, 48), linear((24, 48))
        yield cls("value", 12, 4, noise=0.4, identity=-0.4), (48, 48), linear((48, 48))
        yield cls("output", 12, 4, 2, 0.4, -0.4), (48, 48), linear((48, 48), out_axis=1, in_axis=0)

    def check(self, place: Stack) -> None:
        c = self.config
        held, width = (place.inputs, place.rows) if c["kind"] == "output" else (place.rows, place.inputs)
        most = c["heads"] if c["kind"] in ("query", "output") else c["kv_heads"]
        heads, rest = divmod(held, c["head_dim"])
        if place.count != 1 or place.window != 1:
            raise InputError.of("shape", place.shape, "one matrix", "MimeticProjection")
        whole_output = c["kind"] != "output" or heads == most
        if rest or c["first"] + heads > most or not whole_output:
            accepted = f"heads of {c['head_dim']} rows, at most {most} of them (an output holds all)"
            raise InputError.of("shape", place.shape, accepted, "MimeticProjection")
        if self._rank > width:
            accepted = f"a width of at least {self._rank}, the rank that the heads have"
            raise InputError.of("shape", place.shape, accepted, "MimeticProjection")

    @property
    def _rank(self) -> int:
        """Singular values that are kept of one product."""
        shared = self.config["kv_heads"] if self.config["kind"] in ("value", "output") else 1
        return int(self.config["head_dim"]) * int(shared)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        pair = self.config["pair"]
        return super().draw(key if pair is None else Key(key.seed, pair), shape, fans)

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        c, kind = self.config, self.config["kind"]
        group = c["heads"] // c["kv_heads"]
        if kind in ("value", "output"):
            left, right = _factors(key.child("vo"), self._width(place), self._rank, c["noise"], c["identity"])
            if kind == "value":
                start = c["first"] * c["head_dim"]
                found = left.T[start : start + place.rows]
            else:
                blocks = right.reshape(len(right), c["kv_heads"], 1, c["head_dim"]) / group
                found = np.broadcast_to(blocks, (len(right), c["kv_heads"], group, c["head_dim"]))
            return found.reshape(1, place.rows, place.cols).astype(np.float32)
        heads = range(c["first"], c["first"] + place.rows // c["head_dim"])
        rows = [self._head(key, head, group, place.inputs).T for head in heads]
        return np.concatenate(rows)[None].astype(np.float32)

    def _head(self, key: Key, head: int, group: int, width: int) -> np.ndarray:
        """W_Q or W_K of one head, (width, head_dim)."""
        c = self.config
        leader = head * group if c["kind"] == "key" else head - head % group
        left, right = _factors(key.child(f"qk{leader}"), width, self._rank, c["noise"], c["identity"])
        if c["kind"] == "key":
            return right
        if head == leader:
            return left
        product = _product(key.child(f"qk{head}"), width, c["noise"], c["identity"])
        return np.asarray(product @ (right / np.square(right).sum(0)))

    @staticmethod
    def _width(place: Stack) -> int:
        return max(place.rows, place.inputs)

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        c, kind = self.config, self.config["kind"]
        width = place.rows if kind == "output" else place.inputs
        size, inverse = _singular_means(c["noise"], c["identity"], self._rank / width)
        group = c["heads"] // c["kv_heads"]
        square = size / width
        if kind == "output":
            square /= group**2
        elif kind == "query" and group > 1:
            held = range(c["first"], c["first"] + place.rows // c["head_dim"])
            leaders = sum(head % group == 0 for head in held) / len(held)
            others = (c["noise"] ** 2 + c["identity"] ** 2) * inverse / width
            square = leaders * square + (1 - leaders) * others
        return 0.0, math.sqrt(square), -math.inf, math.inf


def _product(key: Key, width: int, noise: float, identity: float) -> np.ndarray:
    drawn = sample(Law("normal", 0.0, 1 / math.sqrt(width)), key, width * width).reshape(width, width)
    return noise * drawn.astype(np.float64) + identity * np.eye(width)


@lru_cache(maxsize=40)
def _factors(key: Key, width: int, rank: int, noise: float, identity: float) -> tuple[np.ndarray, np.ndarray]:
    """L and R (width, rank), L Rᵀ the best approximation of that rank; columns by falling singular value.

    Each pair of columns has a random sign, so that entries have mean 0. Kept until its other half is drawn.
    """
    product = _product(key, width, noise, identity)
    values, vectors = np.linalg.eigh(product.T @ product)
    right = vectors[:, ::-1][:, :rank]
    scale = np.sqrt(np.sqrt(np.maximum(values[::-1][:rank], 1e-30)))
    # The sign that an eigenvector has depends on the machine; this one does not.
    largest = np.take_along_axis(right, np.abs(right).argmax(0)[None], 0)
    coins = sample(Law("normal", 0.0, 1.0), key.child("signs"), rank).astype(np.float64)
    right = right * np.sign(largest) * np.where(coins < 0, -1.0, 1.0)
    return (product @ right / scale).astype(np.float32), (right * scale).astype(np.float32)


@lru_cache(maxsize=64)
def _singular_means(noise: float, identity: float, share: float) -> tuple[float, float]:
    """Means of s and of 1/s over the largest ``share`` of the singular values s of noise·Z + identity·I, as d → ∞.

    The Stieltjes transform m of the squares solves m·(b² − z(1 + a²m)²) = 1 + a²m.

    Source: Dozier & Silverstein, 2007 (information-plus-noise matrices).
    """
    a, b = noise**2, identity**2
    s = np.linspace(0.0, 1.05 * (2 * noise + abs(identity)), 4001)[1:]
    z = s**2 + 1e-9j
    # The cubic z a⁴ m³ + 2 z a² m² + (z − b² + a²) m + 1 = 0 as the eigenvalues of its companion matrix.
    companion = np.zeros((len(s), 3, 3), complex)
    companion[:, 1, 0] = companion[:, 2, 1] = 1.0
    companion[:, 0, 2], companion[:, 1, 2], companion[:, 2, 2] = -1 / (z * a**2), -(z - b + a) / (z * a**2), -2 / a
    roots = np.linalg.eigvals(companion)
    density = np.maximum(roots.imag.max(1), 0.0) * s  # of s: 2s/π times that of s², up to a constant
    total = np.cumsum(density[::-1])[::-1]
    weight = np.clip(share * total[0] - (total - density), 0.0, density)
    return float((weight * s).sum() / weight.sum()), float((weight / s).sum() / weight.sum())
