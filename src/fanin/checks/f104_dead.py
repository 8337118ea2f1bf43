"""F104: units that are zero for every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class Dead(Rule):
    """A whole layer, or nearly one, is zero for every sample of the batch.

    What it sees:
        After each activation that can be exactly zero (ReLU and its like) the share of units that are zero for the
        whole batch. A layer that is dead as a whole and stands on the path that carries the signal is an error; beside
        it, or where a few units are left, a warning.

    Why it matters:
        A unit that is zero for all samples has gradient zero for all its weights. If that is a whole layer, nothing
        before it can ever learn, and the output is the same for every input. Half the units dead is normal for a
        narrow default-initialised layer, all of them is not.

    Example:
        nn.Sequential(..., nn.Linear(64, 1), nn.ReLU())             # a negative output stays zero for ever
        nn.init.constant_(layer.bias, -3)

    What to do:
        No ReLU on the output (softplus for positive targets); biases at zero; inputs centred:
        ``fanin.init_(model, x)``.

    Thresholds:
        share: 0.9 (share of dead units, warning): in default-initialised convolutions 0.5 is usual, 0.75 was seen in
            healthy squeeze layers.
        units: 16 (units of the layer, for the warning): 15 of 16 fair coins agree once in 2000 layers.

    Source:
        Lu, Shin, Su & Karniadakis (2020), Dying ReLU and initialization; Nair & Hinton (2010) for the unit.
    """

    code = "F104"
    name = "dead-units"
    category = "dead"
    severity = "error"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {"share": 0.9, "units": 16}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import paths, strength, weight_before

        trace = evidence.trace
        assert trace is not None
        trunk = {node.id for path in paths(trace) for node in path}
        for node in trace.graph.nodes:
            signal = trace.signals.at(node.place)
            if signal is None or signal.count == 0 or node.op not in _CUTTING or not node.inputs:
                continue
            dead = 1.0 if signal.max_abs == 0 else signal.dead_fraction
            before = strength(trace, node.inputs[0])
            if dead is None or before is None or before.rms == 0:  # zero already before it: B203 asks whether it moves
                continue
            units = node.shape[1] if len(node.shape) > 2 else node.shape[-1] if node.shape else 1
            whole = dead == 1.0
            if whole or (dead >= limits["share"] and units >= limits["units"]):
                yield self.finding(
                    weight_before(trace, node) or node.place,
                    f"{dead:.0%} of the {units} units after {node.place} ({node.op}) are zero for all samples of the "
                    f"batch" + (", and with them the gradient of everything before." if whole else "."),
                    "no ReLU on an output; biases at zero, inputs centred: fanin.init_(model, x)",
                    severity="error" if whole and node.id in trunk else "warning",
                    evidence={"dead": dead, "units": units, "input_rms": before.rms},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Dead.quiet()
        arguments["model"][0].bias.data.fill_(-20.0)
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
            return {"model": model, "inputs": torch.randn(64, 16), "target": torch.randn(64, 4)}


_CLIPPED = ("relu", "relu6", "relu_squared", "threshold", "hardtanh", "clamp", "hardswish", "hardsigmoid")
_CUTTING = frozenset((*_CLIPPED, "softshrink", "hardshrink"))
"""Activations that are exactly zero, and flat, over a range of inputs."""
