"""ForgetBias and ChronoBias: gate biases that let a recurrent cell remember."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, elementwise
from fanin.initializers._base import Example, Initializer, choice, number
from fanin.initializers._fixed import Fixed
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ChronoBias", "ForgetBias"]


def _gates(owner: str, order: object, needed: str) -> str:
    """Validate the order of the gates: distinct letters among which are the needed ones."""
    if not isinstance(order, str) or len(set(order)) != len(order) or not set(needed) <= set(order):
        accepted = f"a string of distinct letters, one per gate, with {' and '.join(map(repr, needed))}"
        raise InputError.of("order", order, accepted, owner)
    return order


def _divides(owner: str, shape: Sequence[int], order: str) -> None:
    if shape[0] % len(order):
        raise InputError.of(
            "shape", tuple(shape), f"a length that divides into the {len(order)} gates {order!r}", owner
        )


class ForgetBias(Fixed):
    """The bias of an LSTM: ``value`` at the forget gate, 0 at the others.

    With b_f ≈ 0 the cell keeps half of its content per step; value = 1 keeps 0.73. torch adds two biases, so give this
    to ``bias_ih`` and Zeros to ``bias_hh``.

    Args:
        value: bias of the forget gate.
        order: one letter per gate, "f" the forget gate: "ifgo" in torch (keras' i, f, c, o is the same).

    Raises:
        InputError: if ``order`` has no "f"; on use, if the length does not divide into the gates.

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> ForgetBias().draw(Key(0), (8,), elementwise((8,))).tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]

    Source: Gers, Schmidhuber & Cummins, 2000; Jozefowicz, Zaremba & Sutskever, ICML 2015.
    """

    source = "Gers, Schmidhuber & Cummins, 2000; Jozefowicz, Zaremba & Sutskever, ICML 2015"
    formula = "b_forget = value, others 0"
    max_rank = 1

    def __init__(self, value: float = 1.0, order: str = "ifgo") -> None:
        super().__init__(value=number("ForgetBias", "value", value), order=_gates("ForgetBias", order, "f"))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (40,), elementwise((40,))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        _divides("ForgetBias", shape, self.config["order"])

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        gates = [self.config["value"] if gate == "f" else 0.0 for gate in self.config["order"]]
        return np.repeat(np.array(gates), shape[0] // len(gates))


class ChronoBias(Initializer):
    """Gate biases that make the memory of the units span 1 … max_time steps.

    LSTM: b_f = log u, b_i = −b_f, others 0, u ~ U(1, max_time − 1) per unit; GRU: b_z = log u, the update gate, which
    keeps the state in torch's and keras' convention. Retention per step σ(b) = u/(1 + u) lies in [1/2, 1 − 1/max_time].

    Args:
        max_time: T, the longest dependency expected, in steps; > 2.
        cell: "lstm" or "gru".
        order: one letter per gate; by default torch's "ifgo" or "rzn".

    Raises:
        InputError: if an argument is not acceptable; on use, if the length does not divide into the gates.

    Example:
        >>> from fanin.fans import elementwise
        >>> from fanin.keys import Key
        >>> b = ChronoBias(100).draw(Key(0), (64,), elementwise((64,)))
        >>> bool((b[:16] == -b[16:32]).all() and (b[32:] == 0).all())
        True

    Source: Tallec & Ollivier, ICLR 2018.
    """

    source = "Tallec & Ollivier, ICLR 2018"
    formula = "b_f = log u, b_i = −b_f, u ~ U(1, max_time − 1); GRU: b_z = log u"
    min_rank = 1
    max_rank = 1

    def __init__(self, max_time: float, cell: str = "lstm", order: str | None = None) -> None:
        cell = choice("ChronoBias", "cell", cell, ("lstm", "gru"))
        default, needed = ("ifgo", "if") if cell == "lstm" else ("rzn", "z")
        super().__init__(
            max_time=number("ChronoBias", "max_time", max_time, low=2, strict=True),
            cell=cell,
            order=_gates("ChronoBias", default if order is None else order, needed),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(784), (1200,), elementwise((1200,))
        yield cls(50, "gru"), (1200,), elementwise((1200,))
        yield cls(50, "gru", "zrh"), (1200,), elementwise((1200,))

    @property
    def _signs(self) -> dict[str, float]:
        return {"f": 1.0, "i": -1.0} if self.config["cell"] == "lstm" else {"z": 1.0}

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        _divides("ChronoBias", shape, self.config["order"])

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        order, signs = self.config["order"], self._signs
        units = shape[0] // len(order)
        times = sample(Law("uniform", 1.0, self.config["max_time"] - 2.0), key, units)
        # In float64, so that the last bit of the math library's logarithm is rounded away.
        biases = np.log(times.astype(np.float64))
        return np.concatenate([biases * signs.get(gate, 0.0) for gate in order]).astype(np.float32)

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        top = self.config["max_time"] - 1
        one = (top * math.log(top) - top + 1) / (top - 1)  # E log u
        return float(one) * sum(self._signs.values()) / len(self.config["order"])

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        top = self.config["max_time"] - 1
        log = math.log(top)
        square = (top * (log**2 - 2 * log + 2) - 2) / (top - 1)  # E log² u
        return math.sqrt(square * len(self._signs) / len(self.config["order"]) - self.mean(fans) ** 2)

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        top = math.log(self.config["max_time"] - 1)
        return (-top if self.config["cell"] == "lstm" else 0.0), top
