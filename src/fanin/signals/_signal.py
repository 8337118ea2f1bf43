"""The Signal record: one place, one direction; the same for theory (predicted) and trace (measured)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, overload

from fanin.errors import InputError

__all__ = ["BINS", "Histogram", "Signal", "Signals"]

BINS = 64
"""Bins of every histogram: enough for a picture of one layer, 0.5 kB a place."""

Direction = Literal["forward", "backward"]
Source = Literal["measured", "predicted"]


@dataclass(frozen=True)
class Histogram:
    """Counts of values in equal bins over [low, high]; finite values only."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Signal:
    """Statistics of the values at one place in one direction.

    Args:
        place: unique name of the place, equal to ``Node.place`` of the graph.
        node: id of the graph node.
        direction: "forward" (the op's output) or "backward" (the loss gradient at that output).
        source: "measured" by a run or "predicted" by theory.
        count: number of values behind the statistics (0 for a prediction).
        mean: mean over all finite values.
        second_moment: mean square over all finite values.
        max_abs: largest magnitude of a finite value.
        zero_fraction: share of values exactly 0.
        nonfinite_fraction: share of NaN or infinite values.
        saturated_fraction: share of values on the flat part of the op (None where it has none).
        dead_fraction: share of units that are exactly 0 for the whole batch (None where it is not asked).
        sample_correlation: mean ⟨x_a, x_b⟩ over pairs of samples a ≠ b divided by mean ⟨x_a, x_a⟩: 1 when all
            samples look alike to the network (None for a batch of one or where no axis is the batch).
        entropy: mean entropy of the rows of a softmax that weighs values (attention) or parts (a router) divided by
            ln(keys a row may look at): 1 for uniform, 0 for one-hot (None at other places).
        histogram: 64 equal bins between smallest and largest finite value.
        exact: False where a prediction used Monte Carlo for an unknown op, or an estimate.
        from_inputs: second moment that theory expects here of the inputs that the op really had (None where that is
            not known): parts from the measured one at the op where something unforeseen happens, and only there.
    """

    place: str
    node: int
    direction: Direction
    source: Source
    count: int
    mean: float
    second_moment: float
    max_abs: float = math.nan
    zero_fraction: float = 0.0
    nonfinite_fraction: float = 0.0
    saturated_fraction: float | None = None
    dead_fraction: float | None = None
    sample_correlation: float | None = None
    histogram: Histogram | None = None
    exact: bool = True
    entropy: float | None = None
    from_inputs: float | None = None

    @property
    def rms(self) -> float:
        """Root of the second moment."""
        return math.sqrt(self.second_moment)

    @property
    def std(self) -> float:
        """Standard deviation over all values."""
        return math.sqrt(max(0.0, self.second_moment - self.mean**2))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Signal:
        """Inverse of :meth:`to_json` (None of a required number becomes NaN)."""
        data = dict(data)
        if data.get("histogram") is not None:
            histogram = data["histogram"]
            data["histogram"] = Histogram(histogram["low"], histogram["high"], tuple(histogram["counts"]))
        for key in ("mean", "second_moment", "max_abs"):
            if data.get(key) is None:
                data[key] = math.nan
        return cls(**data)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value


class Signals(Sequence[Signal]):
    """An ordered collection of signals: forward ones in execution order, then backward ones.

    Args:
        signals: the records; at most one for each (place, direction, source).
    """

    def __init__(self, signals: Iterable[Signal] = ()) -> None:
        self._signals = tuple(signals)
        self._index = {(s.place, s.direction, s.source): s for s in self._signals}
        if len(self._index) != len(self._signals):
            raise InputError("signals: two records share place, direction and source.")

    @overload
    def __getitem__(self, index: int) -> Signal: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Signal, ...]: ...
    def __getitem__(self, index: int | slice) -> Signal | tuple[Signal, ...]:
        return self._signals[index]

    def __len__(self) -> int:
        return len(self._signals)

    def __iter__(self) -> Iterator[Signal]:
        return iter(self._signals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signals) and self._signals == other._signals

    def __hash__(self) -> int:
        return hash(self._signals)

    def at(self, place: str, direction: Direction = "forward", source: Source = "measured") -> Signal | None:
        """The record at a place, or None."""
        return self._index.get((place, direction, source))

    def select(self, direction: Direction, source: Source = "measured") -> Signals:
        """All records of one direction and source, in order."""
        return Signals(s for s in self._signals if s.direction == direction and s.source == source)

    def merged(self, other: Iterable[Signal]) -> Signals:
        """This collection followed by ``other``."""
        return Signals((*self._signals, *other))

    def renamed(self, names: dict[str, str]) -> Signals:
        """The same records with places replaced by ``names`` where given."""
        return Signals(replace(s, place=names.get(s.place, s.place)) for s in self._signals)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON values."""
        return [s.to_json() for s in self._signals]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Signals:
        """Inverse of :meth:`to_json`."""
        return cls(Signal.from_json(entry) for entry in data)
