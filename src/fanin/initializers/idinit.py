"""IDInit: the identity, repeated along the longer side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import conv, linear
from fanin.initializers._base import Example, number
from fanin.initializers._matrix import MatrixLaw, Stack, of_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.keys import Key

__all__ = ["IDInit"]


class IDInit(MatrixLaw):
    """A padded identity: W_ij = tau where i ≡ j modulo the shorter side, so every row and column is used.

    For residual networks trained by SGD with momentum, which breaks the symmetry of the copies: tau = 1 on the main
    path, ``IDInit(1e-6)`` for the last map of a branch, which is nearly zero yet passes gradients. A convolution is
    flattened to (out, in·∏window) first, so that successive outputs look at successive taps of the patch.

    Args:
        tau: the value of the entries that are set.

    Raises:
        InputError: on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> IDInit().draw(Key(0), (2, 4), linear((2, 4))).tolist()
        [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]

    Source: Pan et al., ICLR 2025.
    """

    source = "Pan et al., ICLR 2025"
    formula = "W_ij = tau where i ≡ j mod min(rows, cols), else 0"

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__(tau=number("IDInit", "tau", tau))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (20, 50), linear((20, 50))
        yield cls(1e-6), (8, 4, 3, 3), conv((8, 4, 3, 3))

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        side = min(place.rows, place.cols)
        same = np.arange(place.rows)[:, None] % side == np.arange(place.cols) % side
        return np.broadcast_to(
            np.where(same, np.float32(self.config["tau"]), np.float32(0)), (place.count, *same.shape)
        )

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        return of_pattern(place.rows * place.cols, max(place.rows, place.cols), float(self.config["tau"]))
