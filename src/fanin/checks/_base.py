"""Rule: one kind of fault, the evidence it needs, and how to see it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fanin._registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding, Severity
    from fanin.recipe import Recipe
    from fanin.signals import Signals
    from fanin.slots import Slots
    from fanin.trace import Trace

__all__ = ["REGISTRY", "Evidence", "Requirement", "Rule", "Skip", "rules"]

Requirement = Literal["parameters", "slots", "forward", "backward", "loss", "target", "predicted"]


@dataclass(frozen=True)
class Evidence:
    """All that rules may read. Nothing here may be changed by them.

    Args:
        model: the module under examination.
        parameters: canonical name → parameter, detached; tied tensors once.
        slots: places of the parameters.
        trace: the measured run, or None where no batch was given or the model raised.
        predicted: signals predicted by theory, or None.
        optimizer: the optimizer the user means to train with, or None.
        notes: why something is missing, by requirement.
        loss: the loss callable the user gave, for rules that take gradient steps on a copy; None for the default.
        recipe: the plan that the weights should have been made by, or None; ``predicted`` then follows from it.
    """

    model: torch.nn.Module
    parameters: Mapping[str, torch.Tensor]
    slots: Slots | None = None
    trace: Trace | None = None
    predicted: Signals | None = None
    optimizer: Any = None
    notes: Mapping[str, str] = field(default_factory=dict)
    loss: Any = None
    recipe: Recipe | None = None

    def missing(self, requirement: Requirement) -> str | None:
        """The reason why a requirement is not met, or None where it is."""
        trace = self.trace
        met = {
            "parameters": bool(self.parameters),
            "slots": self.slots is not None,
            "forward": trace is not None and any(s.direction == "forward" for s in trace.signals),
            "backward": trace is not None and any(s.direction == "backward" for s in trace.signals),
            "loss": trace is not None and trace.loss is not None,
            "target": trace is not None and trace.target is not None,
            "predicted": self.predicted is not None,
        }[requirement]
        if met:
            return None
        return self.notes.get(requirement) or _WHY_MISSING[requirement]


_WHY_MISSING = {
    "parameters": "the model has no parameters",
    "slots": "the places of the parameters are not known",
    "forward": "no batch was run",
    "backward": "no gradient reached any place",
    "loss": "no loss was computed (no target given)",
    "target": "no target was given",
    "predicted": "nothing was predicted",
}


class Skip(Exception):
    """Raised by a rule that finds while reading that its evidence is not there; the text is the reason."""


class Rule(ABC):
    """One kind of fault.

    The class docstring is the page that ``fanin explain`` prints; its sections are fixed and tested:
    a title line, then ``What it sees:``, ``Why it matters:``, ``Example:``, ``What to do:``, ``Thresholds:`` (each
    with its unit and the reason for its default), ``Source:``.

    Class attributes:
        code: a letter for what is read (F forward, B backward, W weights, L loss, I input, R structure) and a number.
        name: kebab-case words that read as "allow …".
        category: kind of fault in one word.
        severity: of its usual finding.
        requires: evidence without which the rule is skipped.
        thresholds: name → default; users override them with ``fanin.check(thresholds={"F101.decades": 3})``.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    category: ClassVar[str]
    severity: ClassVar[Severity]
    requires: ClassVar[tuple[Requirement, ...]]
    thresholds: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        """Yield findings; ``limits`` are the thresholds in force."""

    @staticmethod
    @abstractmethod
    def fires() -> dict[str, Any]:
        """Arguments of ``fanin.check`` (model, inputs, target, …) on which the rule must fire; seeded."""

    @staticmethod
    @abstractmethod
    def quiet() -> dict[str, Any]:
        """The same with the fault mended: the rule must pass (not: be skipped)."""

    @classmethod
    def finding(
        cls,
        where: str,
        message: str,
        fix: str,
        *,
        severity: Severity | None = None,
        category: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        also: Iterable[str] = (),
    ) -> Finding:
        """A finding of this rule; severity and category are the rule's own unless given."""
        from fanin.checks._finding import Finding

        return Finding(
            cls.code,
            category or cls.category,
            severity or cls.severity,
            where,
            message,
            fix,
            dict(evidence or {}),
            tuple(also),
        )

    @classmethod
    def title(cls) -> str:
        """First line of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]

    @classmethod
    def explanation(cls) -> str:
        """The whole docstring."""
        return inspect.cleandoc(cls.__doc__ or "")


REGISTRY: Registry[type[Rule]] = Registry("rule")


def rules() -> tuple[type[Rule], ...]:
    """All rules, ordered by code."""
    return tuple(sorted(REGISTRY.values(), key=lambda rule: rule.code))
