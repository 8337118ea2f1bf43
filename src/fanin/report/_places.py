"""The rows of a report's table: computed here, drawn elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fanin.checks import Finding
    from fanin.graph import Graph, Node
    from fanin.report._report import Report
    from fanin.signals import Histogram, Signal

__all__ = ["Fold", "Place", "fold", "places"]


@dataclass(frozen=True)
class Place:
    """One place of the network as a table shows it.

    Args:
        depth: 1 for the first row in execution order.
        name: unique name of the place.
        op: canonical op name, "" without a graph.
        then: the activation that follows directly, "" where none does.
        rms: root mean square of the forward signal, or None.
        std: its standard deviation, or None.
        histogram: its histogram, or None.
        predicted: rms that theory predicts, or None.
        gradient: rms of the loss gradient there, or None.
        flags: codes of findings at this place, worst first.
        worst: severity of the worst of them, or "".
    """

    depth: int
    name: str
    op: str = ""
    then: str = ""
    rms: float | None = None
    std: float | None = None
    histogram: Histogram | None = None
    predicted: float | None = None
    gradient: float | None = None
    flags: tuple[str, ...] = ()
    worst: str = ""

    @property
    def parts(self) -> bool:
        """Whether theory and measurement differ by more than a factor of two in rms."""
        if self.rms is None or self.predicted is None or not (self.rms > 0 and self.predicted > 0):
            return False
        return not self.rms / 2 <= self.predicted <= self.rms * 2


@dataclass(frozen=True)
class Fold:
    """Rows left out between two others: how many, and the range of what they hide."""

    count: int
    rms: tuple[float, float] | None
    flagged: int


def places(report: Report, *, all_places: bool = False) -> list[Place]:
    """One row for each op with weights, or for every place that was measured.

    Args:
        report: the record.
        all_places: also activations, sums, norms and shapes.
    """
    graph = report.graph
    names: Iterable[str]
    if graph is None:
        names = dict.fromkeys(signal.place for signal in report.signals)
    elif all_places:
        names = (node.place for node in graph.nodes if _seen(report, node.place))
    else:
        names = (node.place for node in graph.weight_ops())
    return [_row(report, graph, depth, name) for depth, name in enumerate(names, start=1)]


def _seen(report: Report, place: str) -> bool:
    return any(report.signals.at(place, way) is not None for way in ("forward", "backward"))


def _row(report: Report, graph: Graph | None, depth: int, name: str) -> Place:
    node = None if graph is None else graph.by_place[name]
    after = None if graph is None or node is None else _activation(graph, node)
    found = _found(report.findings, name, node, after)
    forward, backward = report.signals.at(name), report.signals.at(name, "backward")
    predicted = report.signals.at(name, "forward", "predicted")
    return Place(
        depth=depth,
        name=name,
        op="" if node is None else node.op,
        then="" if after is None else after.op,
        rms=_rms(forward),
        std=None if forward is None else forward.std,
        histogram=None if forward is None else forward.histogram,
        predicted=_rms(predicted),
        gradient=_rms(backward),
        flags=tuple(dict.fromkeys(finding.code for finding in found)),
        worst=found[0].severity if found else "",
    )


def _rms(signal: Signal | None) -> float | None:
    if signal is None:
        return None
    if signal.nonfinite_fraction > 0:
        return math.nan
    return signal.rms


def _activation(graph: Graph, node: Node) -> Node | None:
    """The activation that reads this node directly, past ops that leave values as they are."""
    if node.kind == "activation":
        return None
    current = node
    for _ in range(8):
        readers = graph.consumers[current.id]
        if len(readers) != 1:
            return None
        current = graph.nodes[readers[0]]
        if current.kind in ("activation", "softmax"):
            return current
        if current.kind not in ("shape", "norm", "cast", "dropout", "scale") and not (
            current.kind == "add" and len(current.inputs) == 1
        ):
            return None
    return None


def _found(findings: Sequence[Finding], name: str, node: Node | None, after: Node | None) -> list[Finding]:
    names = {name}
    for part in (node, after):
        if part is not None:
            names.add(part.place)
            names.update(use.name for use in part.params)
            names.update(use.name.rpartition(".")[0] for use in part.params)
    names.discard("")
    return [f for f in findings if f.where in names or names.intersection(f.also)]


def fold(rows: Sequence[Place], most: int = 24) -> list[Place | Fold]:
    """At most about ``most`` rows: both ends, the extremes and the first row of each flag stay.

    Args:
        rows: in execution order.
        most: tables up to this length are left whole.
    """
    if len(rows) <= most:
        return list(rows)
    keep = {*range(most // 3), *range(len(rows) - most // 3, len(rows))}
    for key in ("rms", "gradient"):
        measured = [(value, i) for i, row in enumerate(rows) if (value := getattr(row, key)) is not None]
        finite = [(value, i) for value, i in measured if math.isfinite(value)]
        broken = [i for value, i in measured if not math.isfinite(value)]
        keep.update(i for pick in (min, max) if finite for _, i in [pick(finite)])
        keep.update(broken[:1])
    seen: set[str] = set()
    for i, row in enumerate(rows):
        if set(row.flags) - seen:
            keep.add(i)
            seen.update(row.flags)
    result: list[Place | Fold] = []
    hidden: list[Place] = []
    for i, row in enumerate(rows):
        if i in keep:
            _close(hidden, result)
            hidden = []
            result.append(row)
        else:
            hidden.append(row)
    _close(hidden, result)
    return result


def _close(hidden: list[Place], result: list[Place | Fold]) -> None:
    if len(hidden) == 1:
        result.append(hidden[0])
    elif hidden:
        values = [row.rms for row in hidden if row.rms is not None and math.isfinite(row.rms)]
        rms = (min(values), max(values)) if values else None
        result.append(Fold(len(hidden), rms, sum(bool(row.flags) for row in hidden)))
