"""RescaledChannels: another initializer, each channel times a factor of its own that was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.fans import linear
from fanin.initializers._base import REGISTRY, Example, Initializer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.fans import Fans
    from fanin.keys import Key

__all__ = ["RescaledChannels"]


class RescaledChannels(Initializer):
    """factor_c · W_c with W drawn by ``initializer`` under the same key: what a data-driven scheme leaves of its pass.

    Args:
        initializer: what is drawn.
        factors: array that is broadcast over the tensor, such as (out, 1) for a linear map; finite, not negative.

    Raises:
        InputError: if ``initializer`` is none, or packs blocks (rescale inside the blocks), or ``factors`` is not such
            an array; on use, if it does not fit the shape.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import LecunNormal
        >>> RescaledChannels(LecunNormal(), [[3.0], [4.0]]).std(linear((2, 100)), (2, 100)) == 0.125**0.5
        True

    Source: Krähenbühl et al., ICLR 2016, for one.
    """

    source = "Krähenbühl, Doersch, Donahue & Darrell, ICLR 2016"
    formula = "factor_c · W_c for each channel c, W by the initializer inside"
    min_rank = 1

    def __init__(self, initializer: Initializer, factors: Any) -> None:
        if not isinstance(initializer, Initializer):
            raise InputError.of("initializer", initializer, "an Initializer", "RescaledChannels")
        if hasattr(initializer, "blocks"):  # whose moments differ from channel to channel
            raise InputError.of("initializer", initializer, "Blocks of RescaledChannels instead", "RescaledChannels")
        try:
            array = np.asarray(factors, dtype=np.float32)
        except (TypeError, ValueError):
            raise InputError.of("factors", factors, "an array of numbers", "RescaledChannels") from None
        if not array.ndim or not np.isfinite(array).all() or (array < 0).any():
            raise InputError.of("factors", factors, "an array of finite numbers >= 0", "RescaledChannels")
        super().__init__(initializer=initializer, factors=_nested(array.tolist()))
        array.setflags(write=False)
        object.__setattr__(self, "array", array)

    array: np.ndarray
    """The factors, float32, not writeable."""

    @classmethod
    def examples(cls) -> Iterator[Example]:
        rows = np.linspace(0.5, 2.0, 40)[:, None]
        yield cls(REGISTRY["Orthogonal"](), rows), (40, 40), linear((40, 40))
        yield cls(REGISTRY["GlorotUniform"](), rows), (40, 160), linear((40, 160))
        yield cls(REGISTRY["Normal"](stddev=0.05), rows.T), (160, 40), linear((160, 40), out_axis=1, in_axis=0)

    def __repr__(self) -> str:
        array = self.array
        ends = f", {array.min():.4g} to {array.max():.4g}" if array.size else ""
        return f"RescaledChannels(initializer={self.inner!r}, factors: {array.shape}{ends})"

    @property
    def inner(self) -> Initializer:
        """What is drawn before it is multiplied."""
        found: Initializer = self.config["initializer"]
        return found

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        self.inner.validate(shape, fans)
        fits = self.array.ndim == len(shape) and all(
            size in (1, whole) for size, whole in zip(self.array.shape, shape, strict=True)
        )
        if not fits:
            raise InputError.of(
                "shape", tuple(shape), f"one that factors of shape {self.array.shape} spread over", "RescaledChannels"
            )

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        drawn: np.ndarray = self.inner.draw(key, shape, fans) * self.array
        return drawn

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return self._first() * self.inner.mean(fans, shape)

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        mean = self.inner.mean(fans, shape)
        second = self._second() * (self.inner.std(fans, shape) ** 2 + mean**2)
        return math.sqrt(max(0.0, second - (self._first() * mean) ** 2))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        ends = [
            bound * float(factor) if factor else 0.0
            for bound in self.inner.support(fans, shape)
            for factor in (self.array.min(initial=math.inf), self.array.max(initial=0.0))
            if math.isfinite(factor)
        ]
        return (min(ends), max(ends)) if ends else (0.0, 0.0)

    def _first(self) -> float:
        return float(self.array.mean(dtype=np.float64)) if self.array.size else 0.0

    def _second(self) -> float:
        return float(np.square(self.array, dtype=np.float64).mean()) if self.array.size else 0.0


def _nested(values: Any) -> Any:
    """Lists as tuples, so that the configuration stays frozen."""
    return tuple(_nested(entry) for entry in values) if isinstance(values, list) else values
