"""From what was recorded to the frozen records: places get their names, statistics their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fanin.graph import Graph, Node, name_patterns
from fanin.signals import Signal, Signals
from fanin.trace._measure import Gauge
from fanin.trace._recorder import Draft
from fanin.trace._stats import Stats

__all__ = ["assemble_graph", "assemble_signals"]

_SIDE = frozenset(("shape", "cast", "scale", "input", "dropout"))
"""Kinds that do not compete for the bare module path."""


def assemble_graph(
    drafts: list[Draft], outputs: Iterable[int], modules: dict[str, str], batch_size: int | None
) -> Graph:
    """Freeze the drafts."""
    places = _places(drafts)
    nodes = tuple(
        Node(d.id, d.op, d.kind, place, d.module, d.inputs, d.params, d.shape, d.dtype, d.batch_axis, d.attrs)
        for d, place in zip(drafts, places)
    )
    return name_patterns(Graph(nodes, tuple(dict.fromkeys(outputs)), modules, batch_size))


def _places(drafts: list[Draft]) -> list[str]:
    """The module path where one op of a call stands out, else path/op; numbered where that repeats."""
    counted = [d for d in drafts if d.module and d.kind != "input" and "parameter_only" not in d.attrs]
    weighty = Counter((d.module, d.call) for d in counted if d.kind not in _SIDE and not d.name)
    total = Counter((d.module, d.call) for d in counted)
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    places = []
    for draft in drafts:
        call = (draft.module, draft.call)
        aside = bool(draft.name) or "parameter_only" in draft.attrs
        alone = not aside and (total[call] == 1 or (weighty[call] == 1 and draft.kind not in _SIDE))
        if draft.kind == "input":
            base = draft.name or f"{draft.module}/{draft.op}".lstrip("/")
        elif draft.module and alone:
            base = draft.module
        else:
            base = f"{draft.module}/{draft.name or draft.op}".lstrip("/")
        seen[base] += 1
        place = base if seen[base] == 1 else f"{base}#{seen[base]}"
        while place in taken:
            seen[base] += 1
            place = f"{base}#{seen[base]}"
        taken.add(place)
        places.append(place)
    return places


def assemble_signals(graph: Graph, gauge: Gauge) -> Signals:
    """Forward in execution order, then backward, from the output towards the input."""
    forward = [
        _signal(graph.nodes[node], "forward", stats, gauge.entropy.get(node) if _weighs(graph, node) else None)
        for node, stats in sorted(gauge.forward.items())
        if stats.count
    ]
    backward = [
        _signal(graph.nodes[node], "backward", stats, None)
        for node, stats in sorted(gauge.backward.items(), reverse=True)
        if stats.count
    ]
    return Signals([*forward, *backward])


def _weighs(graph: Graph, node: int) -> bool:
    """Whether a softmax weighs values or parts: its output reaches a product of two signals. A head does not."""
    if graph.nodes[node].kind == "attention":
        return True
    stack = [node]
    while stack:
        for reader in graph.consumers[stack.pop()]:
            after = graph.nodes[reader]
            if after.kind == "matmul" and len(after.shape) > 2:
                return True
            if after.kind == "mul" and len(set(after.inputs)) > 1:
                return True
            if after.kind in ("dropout", "cast", "shape"):
                stack.append(reader)
    return False


def _signal(node: Node, direction: str, stats: Stats, entropy: float | None) -> Signal:
    return Signal(node.place, node.id, direction, "measured", **vars(stats), entropy=entropy)  # type: ignore[arg-type]
