"""mimetic: query, key, value and output projections whose products look like trained ones."""

from __future__ import annotations

import math

import numpy as np

from fanin.errors import InputError
from fanin.initializers._base import number, whole
from fanin.keys import Key, Law, sample

__all__ = ["mimetic"]


def mimetic(
    width: int,
    heads: int,
    *,
    key: Key,
    query_key: tuple[float, float] = (0.7, 0.7),
    value_output: tuple[float, float] = (0.4, -0.4),
) -> dict[str, np.ndarray]:
    """The four projections of an attention layer, drawn jointly so that each head's products are noise plus identity.

    W_Q W_Kᵀ ≈ a·Z + b·I per head and W_V W_O ≈ c·Z + d·I, Z ~ N(0, 1/width); the factors come from the SVD UΣVᵀ as
    U√Σ and V√Σ, of which a head keeps its width/heads largest columns. For vision transformers on small data with
    sinusoidal positions; language models prefer the opposite signs of the identities.

    Args:
        width: model width d.
        heads: number of heads; divides ``width``.
        key: the stream.
        query_key: (a, b), weights of noise and identity in the products of queries and keys.
        value_output: (c, d), the same for values and output.

    Returns:
        "query", "key", "value", "output": float32 arrays (out, in) for layers that compute x Wᵀ; rows of the first
        three are ordered head by head.

    Raises:
        InputError: if ``heads`` does not divide ``width`` or a weight is not finite.

    Example:
        >>> W = mimetic(32, 4, key=Key(0, "block0.attention"))
        >>> product = (W["output"] @ W["value"]).T
        >>> bool(-0.8 < np.trace(product) / 32 < 0.0)
        True

    Source: Trockman & Kolter, ICML 2023.
    """
    width, heads = whole("mimetic", "width", width, low=1), whole("mimetic", "heads", heads, low=1)
    if width % heads:
        raise InputError.of("heads", heads, f"a divisor of the width {width}", "mimetic")
    noise, identity = (number("mimetic", "query_key", value) for value in query_key)
    queries, keys = [], []
    for head in range(heads):
        left, right = _factors(width, noise, identity, key.child(f"qk{head}"))
        queries.append(left[:, : width // heads].T)
        keys.append(right[:, : width // heads].T)
    noise, identity = (number("mimetic", "value_output", value) for value in value_output)
    left, right = _factors(width, noise, identity, key.child("vo"))
    found = {"query": np.concatenate(queries), "key": np.concatenate(keys), "value": left.T, "output": right}
    return {name: np.ascontiguousarray(matrix, dtype=np.float32) for name, matrix in found.items()}


def _factors(width: int, noise: float, identity: float, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """L and R (width, width) with L Rᵀ = noise·Z + identity·I, columns in order of falling singular value."""
    Z = sample(Law("normal", 0.0, 1 / math.sqrt(width)), key, width * width).reshape(width, width).astype(np.float64)
    U, S, Vh = np.linalg.svd(noise * Z + identity * np.eye(width))
    root = np.sqrt(S)
    return U * root, Vh.T * root
