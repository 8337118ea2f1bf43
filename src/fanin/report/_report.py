"""Report: all that one check found out, as one record."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fanin.checks import Finding, Outcome
from fanin.errors import InputError
from fanin.graph import Graph
from fanin.signals import Signals

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fanin.recipe import Recipe
    from fanin.report._weights import WeightStats
    from fanin.report.figures import Figure
    from fanin.slots import Slots

__all__ = ["FORMAT", "Report"]

FORMAT = 1
"""Version of the JSON form; raised whenever an older reader would misread a newer file."""


@dataclass(frozen=True)
class Report:
    """What a check found, measured and could not look at.

    Args:
        findings: worst first.
        outcomes: what each rule said: passed, failed, or skipped with the reason.
        signals: statistics per place, forward then backward, measured and predicted.
        graph: the dataflow of the run, or None.
        slots: the places of the parameters, or None.
        recipe: the plan this start was made by, where it is known.
        loss: value of the loss, or None where there was none.
        loss_kind: "cross_entropy", "mse", "custom", "cotangent", or "" without a run.
        notes: what could not be measured and why.
        model: class name of the model.
        weights: statistics of each parameter, or nothing where they were not taken.

    Example:
        >>> report = Report(findings=(), outcomes=(Outcome("F101", "passed"),), model="MLP")
        >>> report.ok
        True
        >>> Report.from_json(report.to_json()) == report
        True
    """

    findings: Sequence[Finding]
    outcomes: Sequence[Outcome] = ()
    signals: Signals = field(default_factory=Signals)
    graph: Graph | None = None
    slots: Slots | None = None
    recipe: Recipe | None = None
    loss: float | None = None
    loss_kind: str = ""
    notes: Sequence[str] = ()
    model: str = ""
    weights: Sequence[WeightStats] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", list(self.findings))
        object.__setattr__(self, "outcomes", list(self.outcomes))
        object.__setattr__(self, "notes", list(self.notes))
        object.__setattr__(self, "weights", list(self.weights))

    __hash__ = None  # type: ignore[assignment]  # it holds lists

    @property
    def ok(self) -> bool:
        """True where no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def count(self, severity: str) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def __repr__(self) -> str:
        said = ", ".join(f"{finding.code} {finding.category}" for finding in self.findings) or "no findings"
        return f"Report({self.model or 'model'}: {said}; {len(self.outcomes)} rules, {len(self.signals)} signals)"

    def show(self, *, all: bool = False, width: int | None = None, file: IO[str] | None = None) -> None:  # noqa: A002
        """Print the verdict, a table of places and the findings with their fixes.

        Args:
            all: every place, not only those with weights, and none folded away.
            width: columns; the terminal's by default.
            file: where to print; standard output by default.
        """
        from fanin.report._screen import Screen
        from fanin.report._terminal import show_report

        show_report(self, Screen(file, width=width), all_places=all)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become None."""
        loss = self.loss if self.loss is not None and math.isfinite(self.loss) else None
        return {
            "format": FORMAT,
            "model": self.model,
            "ok": self.ok,
            "loss": loss,
            "loss_kind": self.loss_kind,
            "findings": [finding.to_json() for finding in self.findings],
            "outcomes": [
                {"code": outcome.code, "status": outcome.status, "reason": outcome.reason} for outcome in self.outcomes
            ],
            "notes": list(self.notes),
            "signals": self.signals.to_json(),
            "graph": None if self.graph is None else self.graph.to_json(),
            "slots": None if self.slots is None else self.slots.to_json(),
            "recipe": None if self.recipe is None else self.recipe.to_json(),
            "weights": [weights.to_json() for weights in self.weights],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any] | str) -> Report:
        """Inverse of :meth:`to_json`; also takes the JSON text.

        Raises:
            InputError: if the format is not the one this version reads.
        """
        from fanin.recipe import Recipe
        from fanin.report._weights import WeightStats
        from fanin.slots import Slots

        loaded: dict[str, Any] = json.loads(data) if isinstance(data, str) else data
        if loaded.get("format") != FORMAT:
            raise InputError.of("format", loaded.get("format"), f"{FORMAT}", "report JSON")
        graph, slots, recipe = loaded["graph"], loaded["slots"], loaded["recipe"]
        return cls(
            findings=[Finding.from_json(entry) for entry in loaded["findings"]],
            outcomes=[Outcome(**entry) for entry in loaded["outcomes"]],
            signals=Signals.from_json(loaded["signals"]),
            graph=None if graph is None else Graph.from_json(graph),
            slots=None if slots is None else Slots.from_json(slots),
            recipe=None if recipe is None else Recipe.from_json(recipe),
            loss=loaded["loss"],
            loss_kind=loaded["loss_kind"],
            notes=loaded["notes"],
            model=loaded["model"],
            weights=[WeightStats.from_json(entry) for entry in loaded.get("weights", [])],
        )

    def figure(self, name: str, **options: Any) -> Figure:
        """A picture of what this report holds.

        Args:
            name: "activations", "histograms", "variance", "gradients", "correlation", "silent", "phase", "weights",
                "updates" or "plan".
            options: arguments of that figure.

        Returns:
            The Figure: ``title``, ``save("x.svg")``, ``spec()``, ``table()``.

        Raises:
            UnknownNameError: if there is no such figure.
            InputError: if this report holds nothing that it can draw.
        """
        from fanin.report.figures import REGISTRY, figure

        if not REGISTRY[name].of_report:
            raise InputError.of("name", name, f"a figure of a report; {name!r} reads {REGISTRY[name].takes}")
        return figure(name, self, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file; the suffix says in which form.

        Args:
            path: a file name ending in ".json", or in ".html" for one page that needs no network.

        Raises:
            InputError: for any other suffix.
        """
        target = Path(path)
        if target.suffix == ".html":
            from fanin.report._html import report_page

            target.write_text(report_page(self), encoding="utf-8")
            return
        if target.suffix != ".json":
            raise InputError.of("path", str(path), "a file name that ends in .json or .html")
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        target.write_text(text, encoding="utf-8")

    def to_tensorboard(self, writer: Any, step: int = 0) -> None:
        """Write statistics, histograms and findings as TensorBoard events.

        Args:
            writer: a ``torch.utils.tensorboard.SummaryWriter``, or the folder for a new one (needs the extra
                ``tensorboard``).
            step: the training step they belong to.

        Raises:
            MissingExtraError: if a folder is given and tensorboard is not installed.
        """
        from fanin.report._tensorboard import write_events

        write_events(self, writer, step)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from fanin.report._notebook import report_bundle

        return report_bundle(self)
