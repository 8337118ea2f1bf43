"""ICNR: sub-pixel convolution that starts as nearest-neighbour upsampling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, conv
from fanin.initializers._base import REGISTRY, Example, Initializer, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.keys import Key

__all__ = ["ICNR"]


class ICNR(Initializer):
    """Each kernel repeated for the factor² outputs that a pixel shuffle makes neighbours: no checkerboard at the start.

    Args:
        initializer: what the distinct kernels start as.
        factor: upscaling r of the pixel shuffle that follows.

    Raises:
        InputError: if an argument is not acceptable; on use, if axis 0 does not divide by factor².

    Example:
        >>> from fanin.fans import conv
        >>> from fanin.initializers import HeNormal
        >>> from fanin.keys import Key
        >>> W = ICNR(HeNormal(), 2).draw(Key(0), (8, 3, 3, 3), conv((8, 3, 3, 3)))
        >>> bool((W[0] == W[3]).all() and (W[3] != W[4]).any())
        True

    Source: Aitken et al., 2017.
    """

    source = "Aitken et al., 2017"
    formula = "W[r²c + s] = W′[c] for s < r², W′ by the inner initializer"
    min_rank = 3

    def __init__(self, initializer: Initializer, factor: int = 2) -> None:
        if not isinstance(initializer, Initializer):
            raise InputError.of("initializer", initializer, "an Initializer", "ICNR")
        super().__init__(initializer=initializer, factor=whole("ICNR", "factor", factor, low=1))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(REGISTRY["GlorotUniform"](), 2), (64, 12, 3, 3), conv((64, 12, 3, 3))

    def _inner(self, fans: Fans, shape: Sequence[int] | None) -> tuple[Fans, tuple[int, ...] | None]:
        copies = self.config["factor"] ** 2
        inner = replace(fans, fan_out=fans.fan_out / copies)
        return inner, None if shape is None else (shape[0] // copies, *shape[1:])

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        copies = self.config["factor"] ** 2
        if 0 not in fans.out_axes or shape[0] % copies:
            raise InputError.of("shape", tuple(shape), f"outputs along axis 0, a multiple of {copies}", "ICNR")
        inner, part = self._inner(fans, shape)
        self.config["initializer"].validate(part, inner)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        inner, part = self._inner(fans, shape)
        return np.repeat(self.config["initializer"].draw(key, part, inner), self.config["factor"] ** 2, axis=0)

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        inner, part = self._inner(fans, shape)
        return float(self.config["initializer"].mean(inner, part))

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        inner, part = self._inner(fans, shape)
        return float(self.config["initializer"].std(inner, part))

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        inner, part = self._inner(fans, shape)
        low, high = self.config["initializer"].support(inner, part)
        return low, high
