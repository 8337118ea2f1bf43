"""Orthogonal: a uniformly random matrix whose singular values are all equal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import conv, conv_transpose, experts, linear
from fanin.initializers._base import Example, number
from fanin.initializers._matrix import MatrixLaw, Stack, haar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.keys import Key

__all__ = ["Orthogonal"]


class Orthogonal(MatrixLaw):
    """A random orthogonal (semi-orthogonal) matrix, uniform in Haar's measure, all singular values equal to ``gain``.

    WᵀW = gain²·I, or WWᵀ = gain²·I where there are fewer outputs than inputs; an entry has std gain/√max(rows, cols).
    A convolution is flattened to (out, in·∏window): right in variance, but not an isometry as an operator (see
    DeltaOrthogonal). Every group and every expert gets a matrix of its own. The matrix is a function of the key;
    the last bits also depend on the matrix product of the machine's BLAS.

    Args:
        gain: the singular values; >= 0.

    Raises:
        InputError: if ``gain`` is negative; on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> W = Orthogonal().draw(Key(0, "w"), (4, 9), linear((4, 9)))
        >>> bool(abs(W @ W.T - np.eye(4)).max() < 1e-5)
        True

    Source: Saxe, McClelland & Ganguli, 2013; Haar's measure by reflectors: Stewart, 1980.
    """

    source = "Saxe, McClelland & Ganguli, 2013; Stewart, 1980"
    formula = "WᵀW = gain²·I (or WWᵀ), uniform in Haar's measure"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=number("Orthogonal", "gain", gain, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(2.0), (60, 60), linear((60, 60))
        yield cls(), (48, 130), linear((48, 130))
        yield cls(), (130, 48), linear((130, 48), out_axis=1, in_axis=0)
        yield cls(), (16, 6, 3, 3), conv((16, 6, 3, 3), groups=4)
        yield cls(), (12, 5, 3, 3), conv_transpose((12, 5, 3, 3), groups=2, stride=(2, 2))
        yield cls(), (6, 20, 30), experts((6, 20, 30), out_axis=2, in_axis=1)

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        drawn = haar(key, place.count, place.rows, place.cols)
        drawn *= np.float32(self.config["gain"])
        return drawn

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        gain = float(self.config["gain"])
        return 0.0, gain / math.sqrt(max(place.rows, place.cols)), -gain, gain
