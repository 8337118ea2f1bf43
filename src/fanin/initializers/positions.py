"""SinusoidalPositions: the frozen table of sines and cosines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, elementwise
from fanin.initializers._base import Example, number
from fanin.initializers._fixed import Fixed, along_last

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SinusoidalPositions"]


class SinusoidalPositions(Fixed):
    """Position table (…, positions, width): sin(p·base^(−2i/width)) at 2i, the cosine at 2i + 1.

    Args:
        base: ratio of the longest to the shortest wavelength; > 0.

    Raises:
        InputError: if ``base`` is not positive; on use, if the width is odd or the rank < 2.

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> SinusoidalPositions().draw(Key(0), (1, 4), elementwise((1, 4))).tolist()
        [[0.0, 1.0, 0.0, 1.0]]

    Source: Vaswani et al., NeurIPS 2017.
    """

    source = "Vaswani et al., NeurIPS 2017"
    formula = "P[p, 2i] = sin(p·base^(−2i/width)), P[p, 2i+1] = cos(p·base^(−2i/width))"
    min_rank = 2

    def __init__(self, base: float = 10000.0) -> None:
        super().__init__(base=number("SinusoidalPositions", "base", base, low=0, strict=True))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (1, 50, 16), elementwise((1, 50, 16))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if shape[-1] % 2:
            raise InputError.of("shape", tuple(shape), "an even width (last axis)", "SinusoidalPositions")

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        rates = self.config["base"] ** (-np.arange(0, shape[-1], 2) / shape[-1])
        angles = np.arange(shape[-2])[:, None] * rates
        return along_last(np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(shape[-2:]), shape)
