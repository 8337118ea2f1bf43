"""Blocks and PerGate: one initializer for each of the blocks packed along an axis."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import REGISTRY, Example, Initializer, whole

if TYPE_CHECKING:
    from fanin.keys import Key

__all__ = ["Block", "Blocks", "PerGate"]


@dataclass(frozen=True)
class Block:
    """One block of a tensor, itself a tensor with an initializer.

    Args:
        name: label of the block; it is drawn from ``key.child(name)``.
        index: one slice of the full tensor per axis.
        shape: shape of the block.
        initializer: what it starts as.
        fans: fans of the block alone.
    """

    name: str
    index: tuple[slice, ...]
    shape: tuple[int, ...]
    initializer: Initializer
    fans: Fans


def _own(fans: Fans, axis: int, shape: Sequence[int]) -> Fans:
    """Fans of a block of this shape, cut from a tensor along ``axis``.

    Where the cut axis counts outputs (or inputs), the block's own shape tells how many, whatever share of the tensor
    the given fans counted; the other fan stays, and a tensor that sums nothing (bias, gain, table) keeps both.

    Raises:
        InputError: if the inputs of a convolution are cut, whose fan_in the shape does not determine.
    """

    def count(axes: Sequence[int]) -> float:
        # Axis 0 holds the groups in both of torch's layouts, (out, in/groups, …) and (in, out/groups, …).
        return math.prod(shape[i] for i in (*axes, *fans.window_axes)) / (fans.groups if 0 in axes else 1)

    if not fans.in_axes or axis not in (*fans.out_axes, *fans.in_axes):
        return fans
    if axis in fans.out_axes:
        return replace(fans, fan_out=count(fans.out_axes))
    if fans.window_axes:
        raise InputError.of("axis", axis, "an out axis, or parts that carry their Fans (stride is unknown)", "Blocks")
    return replace(fans, fan_in=count(fans.in_axes))


class _Packed(Initializer):
    """What Blocks and PerGate share: each block is drawn as if it were a tensor of its own."""

    min_rank = 1

    @property
    def axis(self) -> int:
        """The axis along which the blocks are stacked."""
        return int(self.config["axis"])

    @abstractmethod
    def members(self, length: int) -> list[tuple[str, int, Initializer, Fans | None]]:
        """(name, size, initializer, its own fans if given) of each block, for an axis of this length.

        Raises:
            InputError: if the blocks do not fill the axis.
        """

    def blocks(self, shape: Sequence[int], fans: Fans) -> tuple[Block, ...]:
        """The blocks of a tensor; a shard can be filled from those it meets, each under ``key.child(name)``.

        Raises:
            InputError: if the blocks do not fill the axis.
        """
        super().validate(shape, fans)
        if self.axis >= len(shape):
            raise InputError.of("axis", self.axis, f"an axis of the shape {tuple(shape)}", type(self).__name__)
        found, start = [], 0
        for name, size, initializer, own in self.members(shape[self.axis]):
            part = tuple(size if axis == self.axis else n for axis, n in enumerate(shape))
            index = tuple(slice(start, start + size) if axis == self.axis else slice(n) for axis, n in enumerate(shape))
            found.append(Block(name, index, part, initializer, own or _own(fans, self.axis, part)))
            start += size
        return tuple(found)

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        for block in self.blocks(shape, fans):
            block.initializer.validate(block.shape, block.fans)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        filled = np.empty(tuple(shape), np.float32)
        for block in self.blocks(shape, fans):
            filled[block.index] = block.initializer.draw(key.child(block.name), block.shape, block.fans)
        return filled

    def _filled(self, fans: Fans, shape: Sequence[int] | None) -> list[tuple[float, Block]]:
        """(share of the tensor, block) for each block that holds anything."""
        if shape is None:
            raise InputError(f"{type(self).__name__}: the moments of packed blocks depend on the shape; pass shape=.")
        length = shape[self.axis] if self.axis < len(shape) else 0
        blocks = self.blocks(shape, fans)
        return [(size / length, block) for block in blocks if (size := block.shape[self.axis])]

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return math.fsum(w * b.initializer.mean(b.fans, b.shape) for w, b in self._filled(fans, shape))

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        overall, square = self.mean(fans, shape), 0.0
        for weight, block in self._filled(fans, shape):
            mean = block.initializer.mean(block.fans, block.shape)
            square += weight * (block.initializer.std(block.fans, block.shape) ** 2 + (mean - overall) ** 2)
        return math.sqrt(square)

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        bounds = [b.initializer.support(b.fans, b.shape) for _, b in self._filled(fans, shape)] or [(0.0, 0.0)]
        return min(low for low, _ in bounds), max(high for _, high in bounds)


class Blocks(_Packed):
    """Independent blocks packed along one axis (q, k, v; the gates of a cell), each with its own initializer and fans.

    Each block is drawn as if it were a tensor of its own, under ``key.child(name)``, so packing changes nothing.
    The fans of a block count its own outputs: of a packed q, k, v of shape (3d, d) each sees fan_in d and fan_out d,
    whether the fans of the tensor say 3d or d.

    Args:
        axis: axis along which the blocks are stacked.
        parts: (name, size, initializer) for each block in order; a fourth entry, Fans, replaces the derived fans.

    Raises:
        InputError: if a part is malformed or a name used twice; on use, if the sizes do not fill the axis.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import GlorotUniform, Zeros
        >>> packed = Blocks(0, (("q", 64, GlorotUniform()), ("k", 16, GlorotUniform()), ("v", 16, Zeros())))
        >>> [block.fans.fan_out for block in packed.blocks((96, 64), linear((96, 64)))]
        [64.0, 16.0, 16.0]

    Source: practice; jax and flax initialise each gate and projection on its own.
    """

    source = "practice (per gate in flax)"
    formula = "W = [W_1; W_2; …] along an axis, W_p by its own initializer with its own fans"

    def __init__(self, axis: int, parts: Sequence[Sequence[Any]]) -> None:
        super().__init__(axis=whole("Blocks", "axis", axis), parts=tuple(_part(part) for part in parts))
        names = [part[0] for part in self.config["parts"]]
        if not names or len(set(names)) != len(names):
            raise InputError.of("parts", names, "at least one part, each name once", "Blocks")

    @classmethod
    def examples(cls) -> Iterator[Example]:
        glorot, normal, zeros = (
            REGISTRY["GlorotUniform"](),
            REGISTRY["Normal"](mean=1.0, stddev=0.5),
            REGISTRY["Zeros"](),
        )
        orthogonal = REGISTRY["Orthogonal"]()
        yield cls(0, (("q", 60, glorot), ("k", 20, normal), ("v", 20, zeros))), (100, 60), linear((100, 60))
        yield cls(1, (("r", 50, orthogonal), ("z", 50, normal))), (50, 100), linear((50, 100), out_axis=1, in_axis=0)
        yield cls(0, (("a", 90, normal), ("b", 10, zeros))), (100,), elementwise((100,))

    def members(self, length: int) -> list[tuple[str, int, Initializer, Fans | None]]:
        if sum(part[1] for part in self.config["parts"]) != length:
            sizes = {part[0]: part[1] for part in self.config["parts"]}
            raise InputError.of("parts", sizes, f"sizes that add up to {length}, the length of the axis", "Blocks")
        return [
            (name, size, initializer, next(iter(own), None)) for name, size, initializer, *own in self.config["parts"]
        ]


class PerGate(_Packed):
    """The same initializer for each of equal blocks (the gates of an LSTM or GRU), drawn independently.

    torch packs four gates in (4H, ·) and three in (3H, ·); a joint orthogonal draw has entry std 1/(2√H) instead of
    1/√H, and Glorot over the stack divides by 4H instead of H.

    Args:
        initializer: what each block starts as.
        gates: number of blocks; 4 for an LSTM, 3 for a GRU.
        axis: axis along which they are stacked.

    Raises:
        InputError: if an argument is not acceptable; on use, if the axis does not divide into so many blocks.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import Orthogonal
        >>> PerGate(Orthogonal(), gates=4).std(linear((256, 64)), (256, 64))
        0.125

    Source: practice; per gate in flax.
    """

    source = "practice (per gate in flax)"
    formula = "W = [W_1; …; W_gates], each by the same initializer with its own fans"

    def __init__(self, initializer: Initializer, gates: int, axis: int = 0) -> None:
        if not isinstance(initializer, Initializer):
            raise InputError.of("initializer", initializer, "an Initializer", "PerGate")
        super().__init__(
            initializer=initializer, gates=whole("PerGate", "gates", gates, low=1), axis=whole("PerGate", "axis", axis)
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(REGISTRY["Orthogonal"](), 4), (160, 40), linear((160, 40))
        yield cls(REGISTRY["GlorotNormal"](), 3), (120, 70), linear((120, 70))

    def members(self, length: int) -> list[tuple[str, int, Initializer, Fans | None]]:
        gates = self.config["gates"]
        if length % gates:
            raise InputError.of("shape", length, f"a length of the axis that divides into {gates} gates", "PerGate")
        return [(str(gate), length // gates, self.config["initializer"], None) for gate in range(gates)]


def _part(part: Sequence[Any]) -> tuple[Any, ...]:
    accepted = "(name, size, Initializer) or (name, size, Initializer, Fans)"
    if isinstance(part, str) or not isinstance(part, Sequence) or len(part) not in (3, 4):
        raise InputError.of("parts", part, accepted, "Blocks")
    name, size, initializer, *own = part
    if not (isinstance(name, str) and isinstance(initializer, Initializer) and all(isinstance(f, Fans) for f in own)):
        raise InputError.of("parts", part, accepted, "Blocks")
    return (name, whole("Blocks", f"size of part {name!r}", size), initializer, *own)
