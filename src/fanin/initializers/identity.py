"""Identity, Dirac and IRNN: maps that copy their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, conv, experts, linear
from fanin.initializers._base import Example, number
from fanin.initializers._matrix import MatrixLaw, Stack, of_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.keys import Key

__all__ = ["IRNN", "Dirac", "Identity"]


class _Copy(MatrixLaw):
    """``value`` where output and input have the same index, in the centre of the window."""

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        full = np.zeros((place.count, place.rows, place.inputs, place.window), np.float32)
        diagonal = np.arange(min(place.rows, place.inputs))
        full[:, diagonal, diagonal, place.centre] = next(iter(self.config.values()))
        return full.reshape(place.count, place.rows, place.cols)

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        value = float(next(iter(self.config.values())))
        return of_pattern(place.rows * place.cols, min(place.rows, place.inputs), value)


class Identity(_Copy):
    """The identity matrix times ``gain``, cut or padded with zeros where it is not square.

    Outputs beyond the number of inputs start at 0 (see ZerO and IDInit for what avoids that). Each expert gets one.

    Args:
        gain: the value on the diagonal.

    Raises:
        InputError: on use, if the tensor has a convolution window (see Dirac) or rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> Identity().draw(Key(0), (2, 3), linear((2, 3))).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]

    Source: Le, Jaitly & Hinton, 2015; Hardt & Ma, 2016.
    """

    source = "Le, Jaitly & Hinton, 2015; Hardt & Ma, 2016"
    formula = "W = gain · I"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=number("Identity", "gain", gain))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (20, 20), linear((20, 20))
        yield cls(-2.0), (3, 7, 5), experts((3, 7, 5), out_axis=2, in_axis=1)

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if fans.window_axes:
            raise InputError.of("fans", fans, "fans without window axes (for a convolution use Dirac)", "Identity")


class IRNN(_Copy):
    """The recurrent matrix of an IRNN: epsilon · I, with biases 0, input weights N(0, 0.001²) and ReLU units.

    A non-negative state is then copied for ever; epsilon < 1 forgets. Training needs gradient clipping.

    Args:
        epsilon: the value on the diagonal; >= 0.

    Raises:
        InputError: if ``epsilon`` is negative; on use, if the matrix is not square.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> IRNN(0.5).draw(Key(0), (2, 2), linear((2, 2))).tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Source: Le, Jaitly & Hinton, 2015.
    """

    source = "Le, Jaitly & Hinton, 2015"
    formula = "W = epsilon · I"
    max_rank = 2

    def __init__(self, epsilon: float = 1.0) -> None:
        super().__init__(epsilon=number("IRNN", "epsilon", epsilon, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.9), (20, 20), linear((20, 20))

    def check(self, place: Stack) -> None:
        if place.rows != place.inputs:
            raise InputError.of("shape", place.shape, "a square matrix", "IRNN")


class Dirac(_Copy):
    """A convolution that copies its input: the identity in the centre of the window, one per group.

    The centre of a window of even length k is k//2, as in torch's ``dirac_``. Where there are more outputs than
    inputs, the outputs left over start at 0.

    Args:
        gain: the value of the copying weights.

    Raises:
        InputError: on use, if the tensor has no convolution window.

    Example:
        >>> from fanin.fans import conv
        >>> from fanin.keys import Key
        >>> Dirac().draw(Key(0), (1, 1, 3), conv((1, 1, 3))).tolist()
        [[[0.0, 1.0, 0.0]]]

    Source: Zagoruyko & Komodakis, DiracNets, 2017.
    """

    source = "Zagoruyko & Komodakis (DiracNets), 2017"
    formula = "W[o, i, centre] = gain where o = i within a group; else 0"
    min_rank = 3

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(gain=number("Dirac", "gain", gain))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (8, 8, 3, 3), conv((8, 8, 3, 3))
        yield cls(0.5), (12, 2, 5), conv((12, 2, 5), groups=3)

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if not fans.window_axes:
            raise InputError.of("fans", fans, "fans with window axes (for a matrix use Identity)", "Dirac")
