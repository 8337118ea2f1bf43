"""Initializers without randomness: the tensor is a function of its shape."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.initializers._base import Initializer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.fans import Fans
    from fanin.keys import Key

__all__ = ["Fixed", "along_last"]


class Fixed(Initializer):
    """A tensor of fixed values: a subclass writes ``values`` and gets the moments, which need the shape."""

    min_rank = 1

    @abstractmethod
    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor in float64; never asked for an empty one."""

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        return np.ascontiguousarray(self._values(shape), dtype=np.float32)

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self._values(shape).mean())

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self._values(shape).std())

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        values = self._values(shape)
        return float(values.min()), float(values.max())

    def _values(self, shape: Sequence[int] | None) -> np.ndarray:
        if shape is None:
            raise InputError(f"{type(self).__name__}: its values depend on the shape; pass shape=.")
        if math.prod(shape) == 0:
            return np.zeros(tuple(shape))
        return self.values(tuple(shape))


def along_last(row: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The same row at every index of the leading axes."""
    return np.broadcast_to(row, shape)
