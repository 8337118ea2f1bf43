"""L401: the first loss is worse than knowing nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.checks._loss import Reading


class Overconfident(Rule):
    """The untrained network is sure of wrong answers.

    What it sees:
        The first loss against that of an answer that knows nothing: ln C for C classes, ln 2 for binary targets, the
        mean square of the target for regression. Cross-entropy, binary cross-entropy and mean squared error of
        the output are judged, also where a loss calls them as parts; other losses are not.

    Why it matters:
        Logits of std s add about s²/2 nats to the loss. Until the head has unlearned them, every gradient is spent on
        being less sure, and is as large as a gradient can be: the first steps are the roughest of the training.

    Example:
        nn.init.normal_(lm_head.weight, std=1.0)                    # at width 512: logit std 22, loss 250 above ln V
        logits = tied_embedding(std=1) @ hidden                     # the same through a tied lookup table

    What to do:
        Scale the head to logits of std well below 1: ``std = 0.01 … 1/sqrt(fan_in)``, or zero:
        ``fanin.init_(model, x)``. Where the logits come from large inputs, normalise those (I501).

    Thresholds:
        nats: 2 (nats of cross-entropy above ignorance): logit std 2, double what a head of std 1/sqrt(fan_in) gives
            on normalized features (0.5 nats, std 1).
        severe: 5 (nats above ignorance, error): logit std above 3.
        ratio: 10 (first mean squared error by the target's mean square): outputs three times as large as any answer.

    Source:
        Karpathy (2019), A recipe for training neural networks: "verify loss @ init"; Bengio (2012), Practical
        recommendations for gradient-based training, section 3.
    """

    code = "L401"
    name = "sure-before-trained"
    category = "overconfident"
    severity = "error"
    requires = ("forward", "loss")
    thresholds: ClassVar[Mapping[str, float]] = {"nats": 2, "severe": 5, "ratio": 10}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._loss import readings

        for reading in readings(evidence):
            yield from self._judge(evidence, reading, limits)

    def _judge(self, evidence: Evidence, reading: Reading, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._loss import head_weight

        where = head_weight(evidence, reading.output) or "output"
        fix = f"scale the head down: fanin.init_(model, x, only=[{where!r}])" if where != "output" else _FIX
        if reading.kind == "mse":
            ratio = reading.loss / reading.uniform if reading.uniform > 0 else math.nan
            # a target far from zero is L402's; here the output itself is what is large
            if ratio >= limits["ratio"]:
                yield self.finding(
                    where,
                    f"first loss {reading.loss:.3g} is {ratio:.3g} times the {reading.uniform:.3g} that answering 0 "
                    f"would give: outputs are far larger than the targets.",
                    fix,
                    severity="warning",
                    evidence={"loss": reading.loss, "ignorance": reading.uniform, "ratio": ratio},
                )
            return
        excess = reading.loss - reading.uniform
        if reading.exact and excess >= limits["nats"]:
            known = f"ln {reading.classes}" if reading.kind == "cross_entropy" else "ln 2"
            yield self.finding(
                where,
                f"first loss {reading.loss:.2f} is {excess:.2f} nats above ignorance ({known} = "
                f"{reading.uniform:.2f}): as logits of std {math.sqrt(2 * excess):.1f} give.",
                fix,
                severity="error" if excess >= limits["severe"] else "warning",
                evidence={"loss": reading.loss, "ignorance": reading.uniform, "excess": excess},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Overconfident.quiet()
        arguments["model"][2].weight.data *= 20
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Tanh(), torch.nn.Linear(64, 10))
            return {"model": model, "inputs": torch.randn(64, 16), "target": torch.randint(0, 10, (64,))}


_FIX = "scale the last layer down, or normalise what enters it"
