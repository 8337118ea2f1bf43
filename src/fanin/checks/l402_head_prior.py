"""L402: the head does not know how often each answer occurs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.checks._loss import Reading


class HeadPrior(Rule):
    """The first loss is explained by the base rate that the head's bias ignores.

    What it sees:
        For binary targets, class targets and regression the first loss against that of the best constant answer: the
        entropy of the class frequencies, the variance of the target. Reported where the loss is several times larger
        and no worse than knowing nothing at all: what is missing is the frequency, not the scale (that is L401).

    Why it matters:
        With 0.5 % positives and a bias of zero the loss starts at 0.69 where 0.03 needs no learning at all. The first
        hundreds of steps teach the bias one number, with gradients of the many negatives that drown the few
        positives; dense detectors diverge so.

    Example:
        head = nn.Conv2d(256, anchors, 3, padding=1)                # bias about 0, positives 1 in 200
        nn.Linear(64, 1)                                            # targets around 180 (cm)

    What to do:
        Write the base rate into the bias: log(p / (1 − p)) for binary targets, log p per class, the mean for
        regression.

    Thresholds:
        ratio: 3 (first loss by the loss of the best constant answer): equal classes give 1, one positive in ten 2.1,
            one in twenty 3.5.
        rarest: 3 (targets in the batch outside the commonest class): fewer do not tell a frequency.
        offset: 9 (squared mean of a regression target by its variance): the mean lies three std from zero.
        labels: 200 (targets in the batch): the standard error of a frequency of 1 % is then 0.7 %.

    Source:
        Lin, Goyal, Girshick, He & Dollár (2017), Focal loss for dense object detection, section 3.3; Karpathy (2019),
        A recipe for training neural networks: "init well".
    """

    code = "L402"
    name = "head-without-base-rate"
    category = "head_prior"
    severity = "warning"
    requires = ("forward", "loss")
    thresholds: ClassVar[Mapping[str, float]] = {"ratio": 3, "rarest": 3, "offset": 9, "labels": 200}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._loss import readings

        for reading in readings(evidence):
            yield from self._judge(evidence, reading, limits)

    def _judge(self, evidence: Evidence, reading: Reading, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._loss import head_bias, head_weight

        if reading.prior <= 0 or reading.loss < limits["ratio"] * reading.prior:
            return
        if reading.kind == "mse":
            explained = reading.rate**2 > 0.5 * reading.loss and reading.rate**2 >= limits["offset"] * reading.prior
        else:
            enough = reading.rare >= limits["rarest"] and reading.count >= limits["labels"]
            explained = enough and reading.uniform >= limits["ratio"] * reading.prior
        # far above ignorance, the scale of the logits is the fault and L401 says so
        if not explained or (reading.kind != "mse" and reading.loss > 2 * reading.uniform):
            return
        bias = head_bias(evidence, reading.output)
        yield self.finding(
            bias or head_weight(evidence, reading.output) or "output",
            f"first loss {reading.loss:.3g} is {reading.loss / reading.prior:.1f} times the {reading.prior:.3g} that "
            f"the base rate alone gives ({_rate(reading)}).",
            _fix(bias, reading),
            evidence={"loss": reading.loss, "prior": reading.prior, "rate": reading.rate, "count": reading.count},
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = HeadPrior.quiet()
        arguments["model"][2].bias.data.zero_()
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Tanh(), torch.nn.Linear(64, 4))
            model[2].get_parameter("weight").data *= 0.1
            model[2].get_parameter("bias").data.fill_(math.log(0.01 / 0.99))
            target = (torch.rand(512, 4) < 0.01).float()
            return {
                "model": model,
                "inputs": torch.randn(512, 16),
                "target": target,
                "loss": binary_cross_entropy_with_logits,
            }


def _rate(reading: Reading) -> str:
    if reading.kind == "bce":
        return f"{reading.rate:.2%} of {reading.count} targets are positive"
    if reading.kind == "mse":
        return f"targets have mean {reading.rate:.3g} and variance {reading.prior:.3g}"
    return f"{reading.count - reading.rare} of {reading.count} targets are of one class"


def _fix(bias: str | None, reading: Reading) -> str:
    name = bias or "the head's bias (it has none)"
    if reading.kind == "bce":
        return f"fill {name} with log(p / (1 - p)) = {math.log(reading.rate / (1 - reading.rate)):.2f}"
    if reading.kind == "mse":
        return f"fill {name} with the target's mean, {reading.rate:.4g}, or standardise the target"
    return f"set {name} to the log of each class's frequency"
