"""Biases that start a head (or an RBM's visible units) at known probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, elementwise
from fanin.initializers._base import Example, number
from fanin.initializers._fixed import Fixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ClassPrior", "PriorBias", "RBMVisibleBias"]


def _probabilities(owner: str, name: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise InputError.of(name, values, "a sequence of numbers in (0, 1), one per entry", owner)
    found = tuple(_probability(owner, name, getattr(value, "item", lambda v=value: v)()) for value in values)
    if not found:
        raise InputError.of(name, values, "at least one probability", owner)
    return found


def _probability(owner: str, name: str, value: Any) -> float:
    result = number(owner, name, value, low=0, high=1, strict=True)
    if result == 1:
        raise InputError.of(name, value, "a number in (0, 1), ends excluded: its logit must be finite", owner)
    return result


class _PerEntry(Fixed):
    """One value for each index of the last axis."""

    def entries(self) -> list[float]:
        """The values."""
        raise NotImplementedError

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if shape[-1] != len(self.entries()):
            accepted = f"a last axis of {len(self.entries())}, one entry per probability"
            raise InputError.of("shape", tuple(shape), accepted, type(self).__name__)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.array(self.entries()), shape)


class PriorBias(Fixed):
    """The bias of a sigmoid head such that every output starts at ``probability``: log(p/(1 − p)).

    With rare positives and b = 0 the many negatives dominate the first loss and its gradient. The weights of the
    head should be small (N(0, 0.01²)) for the prior to hold.

    Args:
        probability: p, the share of positives; in (0, 1).

    Raises:
        InputError: if ``probability`` is not inside (0, 1).

    Example:
        >>> from fanin.fans import elementwise
        >>> round(PriorBias(0.01).mean(elementwise((1,)), (1,)), 8)
        -4.59511985

    Source: Lin et al. (focal loss), ICCV 2017.
    """

    source = "Lin et al. (focal loss), ICCV 2017"
    formula = "b = log(p/(1 − p))"

    def __init__(self, probability: float = 0.01) -> None:
        super().__init__(probability=_probability("PriorBias", "probability", probability))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (9,), elementwise((9,))

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        p = self.config["probability"]
        return np.full(shape, math.log(p) - math.log1p(-p))


class RBMVisibleBias(_PerEntry):
    """Visible biases of an RBM: log(p_i/(1 − p_i)), p_i the share of training vectors in which unit i is on.

    Args:
        probabilities: p_i, each in (0, 1); clip units that are always on or off.

    Raises:
        InputError: if a probability is not inside (0, 1); on use, if their number is not that of the units.

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> RBMVisibleBias((0.5, 0.01)).draw(Key(0), (2,), elementwise((2,))).round(4).tolist()
        [0.0, -4.5950...]

    Source: Hinton, A Practical Guide to Training RBMs, 2010.
    """

    source = "Hinton, A Practical Guide to Training RBMs, 2010"
    formula = "b_i = log(p_i/(1 − p_i))"

    def __init__(self, probabilities: Sequence[float]) -> None:
        super().__init__(probabilities=_probabilities("RBMVisibleBias", "probabilities", probabilities))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls((0.5, 0.1, 0.9, 0.01)), (4,), elementwise((4,))

    def entries(self) -> list[float]:
        return [math.log(p) - math.log1p(-p) for p in self.config["probabilities"]]


class ClassPrior(_PerEntry):
    """The bias of a softmax head such that, at zero weights, the classes start at their frequencies: log p_k.

    The first loss is then the entropy of the labels instead of ln K.

    Args:
        probabilities: p_k, each in (0, 1).

    Raises:
        InputError: if a probability is not inside (0, 1); on use, if their number is not that of the classes.

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> ClassPrior((0.5, 0.25, 0.25)).draw(Key(0), (3,), elementwise((3,))).round(4).tolist()
        [-0.6930..., -1.3862..., -1.3862...]

    Source: Bengio, Practical Recommendations, 2012.
    """

    source = "Bengio, Practical Recommendations, 2012"
    formula = "b_k = log p_k"

    def __init__(self, probabilities: Sequence[float]) -> None:
        super().__init__(probabilities=_probabilities("ClassPrior", "probabilities", probabilities))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls((0.7, 0.2, 0.1)), (3,), elementwise((3,))

    def entries(self) -> list[float]:
        return [math.log(p) for p in self.config["probabilities"]]
