"""W309: weights of one sign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule
from fanin.checks._finding import Finding

if TYPE_CHECKING:
    import torch


class OneSign(Rule):
    """A drawn weight matrix that is not centred at zero.

    What it sees:
        Trainable weights of linear maps with at least 8 inputs whose entries are drawn (mostly different from each
        other) and practically all of one sign, with a mean so large that fan-in · |mean|, the factor for what all
        inputs have in common, is well above 1.

    Why it matters:
        Such a matrix is a multiple of the all-ones matrix plus a little noise: every unit computes nearly the same sum
        of its inputs, the common part grows by fan-in · mean in each layer and drowns what differs between units and
        samples.

    Example:
        nn.init.uniform_(layer.weight)                              # U(0, 1), not U(-1, 1)
        self.w = nn.Parameter(torch.rand(64, 64))                   # rand for randn

    What to do:
        A centred law with the fan-in's scale: ``fanin.init_(model, x)``. Maps that must be non-negative (monotonic
        networks, mixtures) are made so in the forward pass, by softplus or exp.

    Thresholds:
        rarer: 0.01 (share of entries of the rarer sign): 64 centred entries are all of one sign once in 1e19 draws.
        common: 3 (fan-in · |mean|, a factor): an average of the inputs has 1; three layers of 3 give 27.

    Source:
        LeCun, Bottou, Orr & Müller (1998), Efficient BackProp, section 4.6: weights are drawn with mean zero.
    """

    code = "W309"
    name = "weights-of-one-sign"
    category = "wrong_gain"
    severity = "warning"
    requires = ("parameters", "slots")
    thresholds: ClassVar[Mapping[str, float]] = {"rarer": 0.01, "common": 3}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import mostly_distinct, readable, trainable

        free = trainable(evidence)
        assert evidence.slots is not None
        for name, tensor in readable(evidence):
            slot = evidence.slots[name]
            if name not in free or slot.role != "weight" or slot.fans is None or tensor.numel() < _FEWEST:
                continue
            mean = float(tensor.mean(dtype=_accumulator(tensor)))
            common = abs(mean) * slot.fans.fan_in
            if slot.fans.fan_in < 8 or not common >= limits["common"]:
                continue
            rarer = min(float((tensor > 0).double().mean()), float((tensor < 0).double().mean()))
            if rarer > limits["rarer"]:
                continue
            if float((tensor == 0).double().mean()) <= limits["rarer"] and mostly_distinct(tensor):
                yield self.finding(
                    name,
                    f"{1 - rarer:.0%} of the {tensor.numel()} weights have one sign (mean {mean:.3g}, std "
                    f"{float(tensor.double().std()):.3g}): what the {slot.fans.fan_in:g} inputs have in common is "
                    f"multiplied by {common:.3g}.",
                    f"draw it around zero: fanin.init_(model, x, only=[{name!r}])",
                    evidence={"mean": mean, "common": common, "rarer": rarer},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        import torch

        arguments = OneSign.quiet()
        torch.nn.init.uniform_(arguments["model"][0].weight, generator=torch.Generator().manual_seed(0))
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
            return {"model": model, "inputs": torch.randn(32, 32), "target": torch.randint(0, 4, (32,))}


def _accumulator(tensor: torch.Tensor) -> torch.dtype:
    """At least float32: half precision has three digits for a mean that is to be told from zero."""
    import torch

    return torch.promote_types(tensor.dtype, torch.float32)


_FEWEST = 64
"""Entries below which one sign may be chance: of 64 fair coins all agree once in 1e19 throws."""
