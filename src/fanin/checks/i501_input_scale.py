"""I501: inputs that no weight law is made for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule, Skip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.graph import Graph, Node


class InputScale(Rule):
    """Inputs reach the first weights unnormalised.

    What it sees:
        Floating inputs that reach a weight (through views, casts and pooling, but no normalization) with a root mean
        square far above 1, with all values nearly zero, or with values that are not finite. And targets of a squared
        error whose spread is far above that of the outputs; a mean far from zero is L402's.

    Why it matters:
        Every rule for the scale of weights assumes inputs of mean square near 1. Raw bytes make all activations 150
        times too large and the gradient of the first layer 20,000 times; columns in metres, rpm and volts let the
        largest unit decide alone, and saturate whatever can saturate.

    Example:
        model(torch.from_numpy(image).float())                      # 0 … 255
        model(observations)                                         # [0.1 rad, 2000 rpm, 9.8 m/s²]

    What to do:
        ``x = (x - mean) / std`` with the training data's mean and std per column or channel; ``x / 255`` for bytes.

    Thresholds:
        rms: 10 (root mean square, in the input's unit): standardised data has 1, pixels in 0 … 1 about 0.6.
        small: 0.01 (largest magnitude): bytes divided by 255 twice reach 0.004.
        target: 30 (std of a regression target): a head of outputs near 1 takes thousands of steps of 1e-3 to it.

    Source:
        LeCun, Bottou, Orr & Müller (1998), Efficient BackProp, section 4.3.
    """

    code = "I501"
    name = "raw-inputs"
    category = "input_scale"
    severity = "warning"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {"rms": 10, "small": 0.01, "target": 30}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        yield from self._target(evidence, limits)
        trace = evidence.trace
        assert trace is not None
        batch = trace.graph.batch_size
        for node in trace.graph.nodes:
            signal = trace.signals.at(node.place)
            if not _is_data(trace.graph, node) or signal is None or signal.count == 0 or len(node.shape) < 2:
                continue
            if batch is not None and batch not in node.shape:  # a buffer, not data
                continue
            reached = _first_map(trace.graph, node)
            if reached is None:
                continue
            where = node.place if "input" in node.place else f"input {node.place}"
            if signal.nonfinite_fraction > 0:
                text = f"{signal.nonfinite_fraction:.1%} of the input values are not finite."
                yield self.finding(where, text, "clean the data", severity="error")
            elif signal.rms > limits["rms"]:
                yield self.finding(
                    where,
                    f"the input of {reached.place} has rms {signal.rms:.3g} (mean {signal.mean:.3g}, std "
                    f"{signal.std:.3g}, largest {signal.max_abs:.3g}); weights are made for an rms near 1.",
                    "standardise: x = (x - mean) / std per column or channel, or divide bytes by 255",
                    evidence={"rms": signal.rms, "mean": signal.mean, "std": signal.std},
                )
            elif 0 < signal.max_abs < limits["small"]:
                yield self.finding(
                    where,
                    f"no value of the input of {reached.place} exceeds {signal.max_abs:.2g}; weights are made for an "
                    f"rms near 1.",
                    "standardise: x = (x - mean) / std per column or channel (was it divided twice?)",
                    evidence={"rms": signal.rms, "max_abs": signal.max_abs},
                )

    def _target(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        """A squared error that is the target's own variance, in a unit far from that of any output."""
        from fanin.checks._loss import readings

        if evidence.trace is None or evidence.trace.loss is None:
            return
        try:
            squares = [reading for reading in readings(evidence) if reading.kind == "mse"]
        except Skip:
            return
        for reading in squares:
            std = math.sqrt(reading.prior)
            if std > limits["target"] and 0.5 * reading.prior < reading.loss < 3 * reading.prior:
                yield self.finding(
                    "target",
                    f"the target has std {std:.3g} and the first outputs explain nothing of it: the loss is "
                    f"{reading.loss:.2g}, and gradients are {std:.2g} times those of a standardised target.",
                    "standardise the target, and undo it after the model",
                    evidence={"std": std, "loss": reading.loss},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = InputScale.quiet()
        arguments["inputs"] = arguments["inputs"] * 74 + 127
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
            return {"model": model, "inputs": torch.randn(64, 16), "target": torch.randn(64, 4)}


_PASSING = frozenset({"shape", "cast", "pool", "concat", "dropout"})


def _is_data(graph: Graph, node: Node) -> bool:
    """An input, or integers from outside that the model turns into floats itself."""
    if node.kind == "cast" and len(node.inputs) == 1:
        source = graph.nodes[node.inputs[0]]
        return source.kind == "input" and "int" in source.dtype
    return node.kind == "input"


def _first_map(graph: Graph, node: Node) -> Node | None:
    """The first weight that the values of ``node`` reach unchanged, or None."""
    stack = [node.id]
    seen: set[int] = set()
    while stack:
        for reader in graph.consumers[stack.pop()]:
            found = graph.nodes[reader]
            if found.kind in ("linear", "recurrent", "attention") and found.params:
                return found
            if found.kind in _PASSING and reader not in seen:
                seen.add(reader)
                stack.append(reader)
    return None
