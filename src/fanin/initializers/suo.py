"""SUO: an orthogonal matrix scaled so that widening layers keep the second moment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import conv, linear
from fanin.initializers._base import Example, number
from fanin.initializers._matrix import MatrixLaw, Stack, haar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.keys import Key

__all__ = ["SUO"]


class SUO(MatrixLaw):
    """Scaled uniform orthogonal: Haar times gain · max(√(rows/cols), 1), so that every output keeps E y² = gain²·E x².

    Plain orthogonal shrinks the second moment by cols/rows where there are more outputs than inputs; an entry here has
    std gain/√cols whatever the shape.

    Args:
        gain: factor on the root mean square of the signal; >= 0.

    Raises:
        InputError: if ``gain`` is negative; on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> SUO().std(linear((1024, 256))), SUO().std(linear((256, 1024)))
        (0.0625, 0.03125)

    Source: Martens et al., Deep Kernel Shaping, 2021.
    """

    source = "Martens et al. (Deep Kernel Shaping), 2021"
    formula = "W = gain · max(√(rows/cols), 1) · Q, Q uniform in Haar's measure"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=number("SUO", "gain", gain, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (120, 40), linear((120, 40))
        yield cls(0.5), (12, 8, 3, 3), conv((12, 8, 3, 3), groups=2)

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        drawn = haar(key, place.count, place.rows, place.cols)
        drawn *= np.float32(self.config["gain"] * math.sqrt(max(place.rows / place.cols, 1.0)))
        return drawn

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        top = self.config["gain"] * math.sqrt(max(place.rows / place.cols, 1.0))
        return 0.0, self.config["gain"] / math.sqrt(place.cols), -top, top
