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


def _share(fans: Fans, axis: int, share: float) -> Fans:
    """Fans of a block that takes ``share`` of the axis; a tensor that sums nothing (bias, gain) keeps its own."""
    if axis in fans.out_axes and fans.in_axes:
        return replace(fans, fan_out=fans.fan_out * share)
    if axis in fans.in_axes:
        return replace(fans, fan_in=fans.fan_in * share)
    return fans


class _Packed(Initializer):
    """What Blocks and PerGate share: each block is drawn as if it were a tensor of its own."""

    min_rank = 1

    @property
    def axis(self) -> int:
        """The axis along which the blocks are stacked."""
        return int(self.config["axis"])

    @abstractmethod
    def members(self, fans: Fans, length: float) -> list[tuple[str, float, Initializer, Fans]]:
        """(name, length along the axis, initializer, fans) of each block, for an axis of this length."""

    @abstractmethod
    def length(self, shape: Sequence[int] | None) -> float:
        """Length of the axis; without a shape, a number in proportion to which the members divide it."""

    def blocks(self, shape: Sequence[int], fans: Fans) -> tuple[Block, ...]:
        """The blocks of a tensor; a shard can be filled from those it meets, each under ``key.child(name)``.

        Raises:
            InputError: if the blocks do not fill the axis.
        """
        self.validate(shape, fans)
        return self._blocks(shape, fans)

    def _blocks(self, shape: Sequence[int], fans: Fans) -> tuple[Block, ...]:
        found, start = [], 0
        for name, size, initializer, part in self.members(fans, self.length(shape)):
            stop = start + int(size)
            index = tuple(slice(start, stop) if i == self.axis else slice(0, n) for i, n in enumerate(shape))
            own = tuple(int(size) if i == self.axis else n for i, n in enumerate(shape))
            found.append(Block(name, index, own, initializer, part))
            start = stop
        return tuple(found)

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if self.axis >= len(shape):
            raise InputError.of("axis", self.axis, f"an axis of the shape {tuple(shape)}", type(self).__name__)
        for block in self._blocks(shape, fans):
            block.initializer.validate(block.shape, block.fans)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        filled = np.empty(tuple(shape), np.float32)
        for block in self.blocks(shape, fans):
            filled[block.index] = block.initializer.draw(key.child(block.name), block.shape, block.fans)
        return filled

    def _moments(
        self, fans: Fans, shape: Sequence[int] | None
    ) -> list[tuple[float, float, float, tuple[float, float]]]:
        """(weight, mean, std, support) of each block that is not empty."""
        length = self.length(shape)
        found = []
        for _, size, initializer, part in self.members(fans, length):
            own = None if shape is None else [int(size) if i == self.axis else n for i, n in enumerate(shape)]
            if size:
                exact = initializer.mean(part, own), initializer.std(part, own), initializer.support(part, own)
                found.append((size / length, *exact))
        return found

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return sum(weight * mean for weight, mean, _, _ in self._moments(fans, shape))

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        overall = self.mean(fans, shape)
        moments = self._moments(fans, shape)
        return math.sqrt(sum(weight * (std**2 + (mean - overall) ** 2) for weight, mean, std, _ in moments))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        supports = [support for *_, support in self._moments(fans, shape)] or [(0.0, 0.0)]
        return min(low for low, _ in supports), max(high for _, high in supports)


class Blocks(_Packed):
    """Independent blocks packed along one axis (q, k, v; the gates of a cell), each with its own initializer and fans.

    Each block is drawn as if it were a tensor of its own, under ``key.child(name)``, so packing changes nothing.
    The fans of a block are those of the tensor with the packed axis cut to the block's share: of a packed q, k, v of
    shape (3d, d) each sees fan_in d and fan_out d.

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

    def length(self, shape: Sequence[int] | None) -> float:
        return float(sum(part[1] for part in self.config["parts"]))

    def members(self, fans: Fans, length: float) -> list[tuple[str, float, Initializer, Fans]]:
        return [
            (name, size, initializer, own[0] if own else _share(fans, self.axis, size / length if length else 0.0))
            for name, size, initializer, *own in self.config["parts"]
        ]

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        if self.axis < len(shape) and shape[self.axis] != self.length(shape):
            sizes = {part[0]: part[1] for part in self.config["parts"]}
            raise InputError.of("parts", sizes, f"sizes that add up to axis {self.axis} of {tuple(shape)}", "Blocks")
        super().validate(shape, fans)


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
        >>> PerGate(Orthogonal(), gates=4).std(linear((256, 64)))
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

    def length(self, shape: Sequence[int] | None) -> float:
        return float(self.config["gates"] if shape is None else shape[self.axis])

    def members(self, fans: Fans, length: float) -> list[tuple[str, float, Initializer, Fans]]:
        gates = self.config["gates"]
        part = _share(fans, self.axis, 1 / gates)
        return [(str(gate), length / gates, self.config["initializer"], part) for gate in range(gates)]

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        if self.axis < len(shape) and shape[self.axis] % self.config["gates"]:
            accepted = f"an axis {self.axis} that divides into {self.config['gates']} gates"
            raise InputError.of("shape", tuple(shape), accepted, "PerGate")
        super().validate(shape, fans)


def _part(part: Sequence[Any]) -> tuple[Any, ...]:
    accepted = "(name, size, Initializer) or (name, size, Initializer, Fans)"
    if isinstance(part, str) or not isinstance(part, Sequence) or len(part) not in (3, 4):
        raise InputError.of("parts", part, accepted, "Blocks")
    name, size, initializer, *own = part
    if not (isinstance(name, str) and isinstance(initializer, Initializer) and all(isinstance(f, Fans) for f in own)):
        raise InputError.of("parts", part, accepted, "Blocks")
    return (name, whole("Blocks", f"size of part {name!r}", size), initializer, *own)
