"""Mirrored: units in pairs that see z and −z, and are subtracted by the layer that reads them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import conv, linear
from fanin.initializers._base import REGISTRY, Example, Initializer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.fans import Fans
    from fanin.keys import Key

__all__ = ["Mirrored"]


class Mirrored(Initializer):
    """W = [[A, −A], [−A, A]]: output i is z and output i + half is −z; inputs come in such pairs and are subtracted.

    A layer of an activation f between two such maps passes f(z) − f(−z) on: z itself for ReLU, GELU or SiLU, so that a
    deep chain with an orthogonal A starts as a linear isometry, and its means cancel exactly for any f. A chain begins
    with ``into=False`` (W = [A; −A]) and ends with ``out=False`` (W = [A, −A]). Of an odd number of units the last one
    of the first half has no partner: its outgoing weights are 0.

    Args:
        initializer: what A is drawn by; it sees the fans of the half.
        out: outputs come in pairs.
        into: inputs come in pairs.

    Raises:
        InputError: if ``initializer`` is none, or neither side comes in pairs; on use, if the map has groups, stacked
            maps or more than one axis of outputs or inputs.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import Orthogonal
        >>> law = Mirrored(Orthogonal())
        >>> round(law.std(linear((64, 64)), (64, 64)) * 32**0.5, 12)  # He's for ReLU: √(2/64)
        1.0

    Source: Balduzzi et al., ICML 2017 ("looks-linear").
    """

    source = "Balduzzi et al., ICML 2017 (looks-linear)"
    formula = "W = [[A, −A], [−A, A]], A by the initializer inside"
    min_rank = 2

    def __init__(self, initializer: Initializer, out: bool = True, into: bool = True) -> None:
        if not isinstance(initializer, Initializer):
            raise InputError.of("initializer", initializer, "an Initializer", "Mirrored")
        for name, value in (("out", out), ("into", into)):
            if not isinstance(value, bool):
                raise InputError.of(name, value, "True or False", "Mirrored")
        if not (out or into):
            raise InputError("Mirrored: out and into are both False; pass the initializer inside itself.")
        super().__init__(initializer=initializer, out=out, into=into)

    @classmethod
    def examples(cls) -> Iterator[Example]:
        orthogonal, normal = REGISTRY["Orthogonal"](), REGISTRY["LecunNormal"]()
        yield cls(orthogonal), (40, 40), linear((40, 40))
        yield cls(normal, into=False), (81, 40), linear((81, 40))
        yield cls(normal, out=False), (40, 81), linear((40, 81))
        yield cls(REGISTRY["DeltaOrthogonal"](), True, True), (16, 16, 3, 3), conv((16, 16, 3, 3))

    @property
    def inner(self) -> Initializer:
        """What A is drawn by."""
        found: Initializer = self.config["initializer"]
        return found

    def _half(self, shape: Sequence[int], fans: Fans) -> tuple[tuple[int, ...], Fans, int, int]:
        """Shape and fans of A, and the axes of outputs and inputs."""
        sides = (fans.out_axes, fans.in_axes)
        if any(len(axes) != 1 for axes in sides) or fans.batch_axes or fans.groups != 1:
            raise InputError.of("fans", fans, "one axis of outputs, one of inputs, no groups", "Mirrored")
        out, into = fans.out_axes[0], fans.in_axes[0]
        half = list(shape)
        rows, columns = shape[out], shape[into]
        if self.config["out"]:
            half[out] = (rows + 1) // 2
        if self.config["into"]:
            half[into] = columns // 2
        own = replace(
            fans,
            fan_in=fans.fan_in * half[into] / columns if columns else fans.fan_in,
            fan_out=fans.fan_out * half[out] / rows if rows else fans.fan_out,
        )
        return tuple(half), own, out, into

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        half, own, _, _ = self._half(shape, fans)
        self.inner.validate(half, own)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        half, own, out, into = self._half(shape, fans)
        drawn = np.moveaxis(self.inner.draw(key, half, own), (out, into), (0, 1))
        filled = np.zeros((shape[out], shape[into], *drawn.shape[2:]), np.float32)
        rows, columns = drawn.shape[:2]
        filled[:rows, :columns] = drawn
        if self.config["into"]:
            filled[:rows, shape[into] - columns :] = -drawn
        if self.config["out"]:
            filled[rows:] = -filled[: shape[out] - rows]
        return np.ascontiguousarray(np.moveaxis(filled, (0, 1), (out, into)))

    def _moments(self, fans: Fans, shape: Sequence[int] | None) -> tuple[float, float]:
        """Mean and second moment of an entry of W."""
        if shape is None:
            raise InputError("Mirrored: how many units have a partner depends on the shape; pass shape=.")
        half, own, out, into = self._half(shape, fans)
        mean, std = self.inner.mean(own, half), self.inner.std(own, half)
        filled = 2 * half[into] / shape[into] if self.config["into"] and shape[into] else 1.0
        signs = 0.0 if self.config["into"] else 1.0
        if self.config["out"] and shape[out]:
            signs *= (2 * half[out] - shape[out]) / shape[out]
        return signs * mean, filled * (mean**2 + std**2)

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return self._moments(fans, shape)[0]

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        mean, square = self._moments(fans, shape)
        return math.sqrt(max(square - mean**2, 0.0))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        if shape is None:
            low, high = self.inner.support(fans)
        else:
            half, own, _, _ = self._half(shape, fans)
            low, high = self.inner.support(own, half)
        top = max(abs(low), abs(high))
        return -top, top
