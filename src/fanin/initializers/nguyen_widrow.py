"""Nguyen–Widrow: spread the active regions of a hidden layer over the inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import Fans, elementwise, linear
from fanin.initializers._base import Example, number, whole
from fanin.initializers._entrywise import Entrywise
from fanin.initializers._matrix import MatrixLaw, Stack
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NguyenWidrow", "NguyenWidrowBias"]


def _beta(factor: float, hidden: float, inputs: float) -> float:
    return float(factor * hidden ** (1 / inputs))


class NguyenWidrow(MatrixLaw):
    """Uniform random rows rescaled to the norm β = factor · H^(1/n), H hidden units of n inputs.

    For one tanh hidden layer with inputs in [−1, 1]; β tends to the factor as n grows, so deep networks gain nothing.

    Args:
        factor: 0.7 in the paper; >= 0.

    Raises:
        InputError: if ``factor`` is negative; on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> round(NguyenWidrow().support(linear((20, 3)))[1], 5)
        1.90009

    Source: Nguyen & Widrow, IJCNN 1990, 3:21–26.
    """

    source = "Nguyen & Widrow, IJCNN 1990"
    formula = "w = β·u/‖u‖, u ~ U(−1, 1)ⁿ, β = factor · H^(1/n)"

    def __init__(self, factor: float = 0.7) -> None:
        super().__init__(factor=number("NguyenWidrow", "factor", factor, low=0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (400, 3), linear((400, 3))
        yield cls(1.0), (60, 50), linear((60, 50))

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        shape = (place.count, place.rows, place.cols)
        drawn = sample(Law("uniform", -1.0, 2.0), key, math.prod(shape)).reshape(shape).astype(np.float64)
        norms = np.sqrt((drawn**2).sum(axis=2, keepdims=True))
        scaled: np.ndarray = drawn * (_beta(self.config["factor"], place.rows, place.cols) / norms)
        return scaled

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        beta = _beta(self.config["factor"], place.rows, place.cols)
        return 0.0, beta / math.sqrt(place.cols), -beta, beta


class NguyenWidrowBias(Entrywise):
    """Biases of a Nguyen–Widrow layer: U(−β, β) with β = factor · hidden^(1/inputs).

    Args:
        hidden: number of hidden units H.
        inputs: number of inputs n.
        factor: 0.7 in the paper; >= 0.

    Raises:
        InputError: if an argument is not acceptable.

    Example:
        >>> from fanin.fans import elementwise
        >>> round(NguyenWidrowBias(20, 3).support(elementwise((20,)))[1], 5)
        1.90009

    Source: Nguyen & Widrow, IJCNN 1990, 3:21–26.
    """

    source = "Nguyen & Widrow, IJCNN 1990"
    formula = "b ~ U(−β, β), β = factor · hidden^(1/inputs)"

    def __init__(self, hidden: int, inputs: int, factor: float = 0.7) -> None:
        super().__init__(
            hidden=whole("NguyenWidrowBias", "hidden", hidden, low=1),
            inputs=whole("NguyenWidrowBias", "inputs", inputs, low=1),
            factor=number("NguyenWidrowBias", "factor", factor, low=0),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(500, 3), (500,), elementwise((500,))

    def law(self, fans: Fans) -> Law:
        beta = _beta(self.config["factor"], self.config["hidden"], self.config["inputs"])
        return Law("uniform", -beta, 2 * beta)
