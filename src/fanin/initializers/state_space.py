"""State-space layers: HiPPO, S4 and S4D."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import Example, number
from fanin.initializers._entrywise import Entrywise
from fanin.initializers._fixed import Fixed, along_last
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["HiPPO", "HiPPOInput", "LogStep", "S4DImag"]


class HiPPO(Fixed):
    """The state matrix A of HiPPO-LegS in the last two axes: eigenvalues −1 … −N.

    A_nk = −√((2n+1)(2k+1)) for n > k, −(n+1) for n = k, 0 above.

    Raises:
        InputError: on use, if the last two axes are not a square.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> HiPPO().draw(Key(0), (2, 2), linear((2, 2))).round(4).tolist()
        [[-1.0, 0.0], [-1.7321..., -2.0]]

    Source: Gu et al., HiPPO, NeurIPS 2020; S4, ICLR 2022.
    """

    source = "Gu et al., NeurIPS 2020 and ICLR 2022"
    formula = "A_nk = −√((2n+1)(2k+1)) (n > k), −(n+1) (n = k), 0 (n < k)"
    min_rank = 2

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (16, 16), linear((16, 16))
        yield cls(), (3, 8, 8), elementwise((3, 8, 8))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if shape[-1] != shape[-2]:
            raise InputError.of("shape", tuple(shape), "last two axes of equal length", "HiPPO")

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        root = np.sqrt(2 * np.arange(shape[-1]) + 1.0)
        matrix = np.tril(-np.outer(root, root), -1) - np.diag(np.arange(shape[-1]) + 1.0)
        return along_last(matrix, shape)


class HiPPOInput(Fixed):
    """The input vector B of HiPPO-LegS along the last axis: B_n = √(2n + 1).

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> HiPPOInput().draw(Key(0), (5,), elementwise((5,))).round(3).tolist()
        [1.0, 1.73..., 2.23..., 2.64..., 3.0]

    Source: Gu et al., HiPPO, NeurIPS 2020.
    """

    source = "Gu et al., NeurIPS 2020"
    formula = "B_n = √(2n + 1)"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (3, 16), elementwise((3, 16))

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return along_last(np.sqrt(2 * np.arange(shape[-1]) + 1.0), shape)


class S4DImag(Fixed):
    """Imaginary parts of S4D-Lin's A along the last axis, π·n; its real parts are Constant(−1/2) (stored as a log).

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> S4DImag().draw(Key(0), (3,), elementwise((3,))).round(4).tolist()
        [0.0, 3.1415..., 6.2831...]

    Source: Gu, Gupta, Goel & Ré, NeurIPS 2022.
    """

    source = "Gu, Gupta, Goel & Ré, NeurIPS 2022"
    formula = "Im A_n = π·n"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (3, 32), elementwise((3, 32))

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return along_last(math.pi * np.arange(shape[-1]), shape)


class LogStep(Entrywise):
    """The step size Δ of S4, stored as its logarithm: log Δ ~ U(log minimum, log maximum).

    Args:
        minimum: smallest Δ, in units of the sampling interval; > 0.
        maximum: largest Δ; >= ``minimum``.

    Raises:
        InputError: if the bounds are not positive or out of order.

    Example:
        >>> from fanin.fans import elementwise
        >>> tuple(round(bound, 4) for bound in LogStep().support(elementwise((4,))))
        (-6.9078, -2.3026)

    Source: Gu et al., ICLR 2022.
    """

    source = "Gu et al., ICLR 2022"
    formula = "log Δ ~ U(log minimum, log maximum)"

    def __init__(self, minimum: float = 0.001, maximum: float = 0.1) -> None:
        low = number("LogStep", "minimum", minimum, low=0, strict=True)
        super().__init__(minimum=low, maximum=number("LogStep", "maximum", maximum, low=low))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (500,), elementwise((500,))

    def law(self, fans: Fans) -> Law:
        low, high = math.log(self.config["minimum"]), math.log(self.config["maximum"])
        return Law("uniform", low, high - low)
