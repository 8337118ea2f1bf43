"""Rows by place from whatever holds signals: a report, a trace, or signals alone, one or several by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fanin.errors import InputError
from fanin.signals import Signals

if TYPE_CHECKING:
    from fanin.signals import Signal

__all__ = ["At", "Direction", "Source", "labelled", "layers", "origin", "rms"]

At = Literal["auto", "weights", "activations", "all"]
Direction = Literal["forward", "backward"]
Source = Literal["measured", "predicted"]

_OFF_PATH = ("part_of", "parameter_only")
"""Marks of nodes that belong to a formula or act on parameters alone."""


def labelled(records: Any) -> list[tuple[str, Any]]:
    """(label, record) pairs: one unlabelled record, or a mapping of names to records.

    Raises:
        InputError: if something holds no signals, or a mapping is empty.
    """
    pairs = [(str(k), v) for k, v in records.items()] if isinstance(records, Mapping) else [("", records)]
    for _, record in pairs:
        if not isinstance(record, Signals) and not isinstance(getattr(record, "signals", None), Signals):
            raise InputError.of("records", type(record).__name__, "a Report, Trace or Signals, or a mapping of them")
    if not pairs:
        raise InputError.of("records", records, "at least one record")
    return pairs


def layers(
    record: Any, direction: Direction = "forward", *, at: At = "auto", source: Source = "measured"
) -> list[tuple[str, Signal]]:
    """(place, signal) in order of execution.

    Args:
        record: a Report, a Trace or Signals.
        direction: of the signal.
        at: "weights": outputs of ops with weights; "activations": outputs of nonlinearities; "all": every place;
            "auto": activations where there are at least two, else weights.
        source: measured or predicted.
    """
    signals = record if isinstance(record, Signals) else record.signals
    graph = None if isinstance(record, Signals) else getattr(record, "graph", None)
    if graph is None:
        known = [s for s in signals if s.direction == direction and s.source == source]
        return [(s.place, s) for s in (known if direction == "forward" else sorted(known, key=lambda s: s.node))]

    def pick(places: list[str]) -> list[tuple[str, Signal]]:
        found = ((place, signals.at(place, direction, source)) for place in places)
        return [(place, signal) for place, signal in found if signal is not None]

    onpath = [node for node in graph.nodes if not any(mark in node.attrs for mark in _OFF_PATH)]
    if at == "all":
        return pick([node.place for node in graph.nodes])
    if at in ("auto", "activations"):
        found = pick([node.place for node in onpath if node.kind == "activation"])
        if at == "activations" or len(found) >= 2:
            return found
    return pick([node.place for node in graph.weight_ops()])


def rms(signal: Signal) -> float | None:
    """Root mean square, or None where a value is not finite."""
    return None if signal.nonfinite_fraction > 0 else signal.rms


def origin(records: Any) -> str:
    """Where the numbers come from, in one line."""
    from fanin import __version__

    parts = []
    first = labelled(records)[0][1]
    if getattr(first, "model", "") and isinstance(first.model, str):
        parts.append(first.model)
    graph = getattr(first, "graph", None)
    if graph is not None and graph.batch_size is not None:
        parts.append(f"batch of {graph.batch_size}")
    return ", ".join([*parts, f"fanin {__version__}"])
