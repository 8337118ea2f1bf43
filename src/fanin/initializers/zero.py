"""ZerO: zeros, ones and a Hadamard matrix; nothing is random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import conv, linear
from fanin.initializers._matrix import MatrixLaw, Stack, of_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.initializers._base import Example
    from fanin.keys import Key

__all__ = ["ZerO"]


class ZerO(MatrixLaw):
    """The identity, cut where a layer narrows; where it widens, the corner of an orthonormal Hadamard matrix.

    A widening by a padded identity would confine training to low rank; H mixes all inputs into all outputs. For
    residual networks, with the last map of each branch Zeros. A convolution holds the matrix in its centre tap.
    H_m = [[H, H], [H, −H]] of size 2^m >= rows, normalised by 2^(−m/2) as in the authors' code (orthonormal).

    Raises:
        InputError: on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> ZerO().draw(Key(0), (4, 2), linear((4, 2))).tolist()
        [[0.5, 0.5], [0.5, -0.5], [0.5, 0.5], [0.5, -0.5]]

    Source: Zhao, Schäfer & Anandkumar, TMLR 2022.
    """

    source = "Zhao, Schäfer & Anandkumar, TMLR 2022"
    formula = "W = I (rows ≤ cols), else 2^(−m/2) · H_m[:rows, :cols], m = ⌈log₂ rows⌉"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (20, 30), linear((20, 30))
        yield cls(), (30, 20), linear((30, 20))
        yield cls(), (16, 4, 3, 3), conv((16, 4, 3, 3))

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        full = np.zeros((place.count, place.rows, place.inputs, place.window), np.float32)
        full[..., place.centre] = self._matrix(place)
        return full.reshape(place.count, place.rows, place.cols)

    @staticmethod
    def _matrix(place: Stack) -> np.ndarray:
        if place.rows <= place.inputs:
            return np.eye(place.rows, place.inputs)
        order = math.ceil(math.log2(place.rows))
        # H[i, j] = (−1)^(number of ones that i and j share in binary); popcount by folding the bits.
        shared = np.arange(place.rows)[:, None] & np.arange(place.inputs)
        for shift in (32, 16, 8, 4, 2, 1):
            shared = shared ^ (shared >> shift)
        return np.where(shared & 1, -1.0, 1.0) * 2 ** (-order / 2)

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        if place.rows <= place.inputs:
            return of_pattern(place.rows * place.cols, place.rows, 1.0)
        matrix = self._matrix(place)
        mean, square = matrix.mean() / place.window, (matrix**2).mean() / place.window
        low = min(float(matrix.min()), 0.0) if place.window > 1 else float(matrix.min())
        return float(mean), math.sqrt(square - mean**2), low, float(matrix.max())
