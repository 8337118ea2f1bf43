"""W307: the bias of a recurrent cell's candidate saturates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.slots import Slot


class GateBias(Rule):
    """A gate bias was written onto the candidate of a recurrent cell, or closes the memory.

    What it sees:
        In LSTM and GRU layers the sum of both bias vectors, gate by gate (torch: i, f, g, o and r, z, n): the mean of
        the candidate's (g or n), which goes through tanh, and the mean of the LSTM's forget gate.

    Why it matters:
        A bias meant for the forget gate keeps the cell's memory; on the candidate it makes tanh constant: a bias of 1
        costs 58 % of its slope, one of 5 all of it, and the cell adds the same number at each step. A negative forget
        bias erases the cell: at −1 a step keeps 27 % of it, ten steps two millionths.

    Example:
        lstm.bias_ih_l0.data[2 * hidden : 3 * hidden] = 1           # i, j, f, o is the order of another library

    What to do:
        ``lstm.bias_ih_l0.data[hidden : 2 * hidden] = 1`` for LSTM; ``fanin.init_(model, x)`` knows the order.

    Thresholds:
        candidate: 0.75 (pre-activation, no unit): tanh' falls to 0.6; torch's own default reaches 0.3 at 8 units.
        forget: 1 (pre-activation below zero): sigmoid keeps 27 % or less of the cell each step.

    Source:
        Gers, Schmidhuber & Cummins (2000), Learning to forget; Jozefowicz, Zaremba & Sutskever (2015), An empirical
        exploration of recurrent network architectures; Tallec & Ollivier (2018) for large forget biases.
    """

    code = "W307"
    name = "gate-bias-on-the-wrong-gate"
    category = "gate"
    severity = "warning"
    requires = ("slots",)
    thresholds: ClassVar[Mapping[str, float]] = {"candidate": 0.75, "forget": 1}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import readable

        tensors = dict(readable(evidence))
        assert evidence.slots is not None
        for name, slot in evidence.slots.items():
            gates = tuple(part.name for part in slot.parts)
            if slot.role != "bias" or "_ih" not in name or gates not in _ORDERS or name not in tensors:
                continue
            for gate, mean in _means(tensors, name, slot):
                yield from self._judge(name, gate, mean, slot, limits)

    def _judge(self, name: str, gate: str, mean: float, slot: Slot, limits: Mapping[str, float]) -> Iterator[Finding]:
        import math

        part = next(part for part in slot.parts if part.name == gate)
        place = f"{name}[{part.start}:{part.stop}]"
        if gate in "gn" and abs(mean) >= limits["candidate"]:
            slope = 1 - math.tanh(mean) ** 2
            forget = next((p for p in slot.parts if p.name == "f"), None)
            advice = f"a forget bias belongs to {name}[{forget.start}:{forget.stop}]; " if forget is not None else ""
            yield self.finding(
                name,
                f"the candidate's bias {place} has mean {mean:.3g}: tanh keeps {slope:.1%} of its slope there.",
                f"{advice}set {place} to zero",
                severity="error" if slope < _SATURATED else "warning",
                evidence={"gate": gate, "mean": mean, "slope": slope},
            )
        elif gate == "f" and mean <= -limits["forget"]:
            keep = 1 / (1 + math.exp(-mean))
            yield self.finding(
                name,
                f"the forget bias {place} has mean {mean:.3g}: each step keeps {keep:.1%} of the cell.",
                f"set {place} to +1",
                evidence={"gate": gate, "mean": mean, "keep": keep},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = GateBias.quiet()
        bias = arguments["model"].cell.bias_ih_l0
        bias.data.zero_()
        bias.data[16:24] = 3.0
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        class Net(torch.nn.Module):
            cell: Any

            def __init__(self) -> None:
                super().__init__()
                self.cell = torch.nn.LSTM(4, 8, batch_first=True)
                self.cell.bias_ih_l0.data[8:16] = 1.0
                self.head = torch.nn.Linear(8, 3)

            def forward(self, x: torch.Tensor) -> Any:
                return self.head(self.cell(x)[0][:, -1])

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {"model": Net(), "inputs": torch.randn(16, 6, 4), "target": torch.randint(0, 3, (16,))}


_ORDERS = (("i", "f", "g", "o"), ("r", "z", "n"))

_SATURATED = 0.02
"""Slope of tanh at 2.65, where its value passes 0.99: the usual mark of saturation."""


def _means(tensors: Mapping[str, torch.Tensor], name: str, slot: Slot) -> Iterator[tuple[str, float]]:
    total = tensors[name].double()
    other = tensors.get(name.replace("_ih", "_hh"))
    if other is not None:
        total = total + other.double()
    for part in slot.parts:
        yield part.name, float(total[part.start : part.stop].mean())
