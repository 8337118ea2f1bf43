"""Update ratio: by how much of itself does a step move each tensor?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, thinned
from fanin.report.figures._dots import dots_spec
from fanin.report.figures._tensors import stats_of
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

MOST = 40

HEALTHY = 1e-3
"""Updates of about a thousandth of the weight, the rule of thumb of Stanford's CS231n ("ratio of weights:updates")."""


def data(records: Any, *, lr: float | None = None, optimizer: str = "sgd", most: int = MOST) -> Data:
    """rms(update) / rms(weight) of the first step.

    Args:
        records: a Report with statistics of its weights; or rows with ``parameter`` and ``ratio``.
        lr: learning rate; None for 1, so that the numbers are to be multiplied by yours.
        optimizer: "sgd" (update = lr · gradient) or "adam" (first update = lr · sign of the gradient).
        most: tensors shown at most, evenly spread.
    """
    if optimizer not in ("sgd", "adam"):
        raise InputError.of("optimizer", optimizer, "'sgd' or 'adam'")
    if lr is not None and not (isinstance(lr, (int, float)) and 0 < lr < math.inf):
        raise InputError.of("lr", lr, "a finite number > 0")
    ratios = _given(records) if _is_rows(records) else _computed(records, lr or 1.0, optimizer)
    shown = [(name, ratio) for name, ratio in ratios if ratio > 0]
    rows = [
        {"order": order, "parameter": name, "series": "", "value": ratio}
        for order, (name, ratio) in enumerate(thinned(shown, most))
    ]
    still = [name for name, ratio in ratios if ratio == 0]
    per = "for a learning rate of 1 (multiply by yours)" if lr is None else f"at learning rate {lr:g}"
    words = "rms of the update divided by rms of the weight" if _is_rows(records) else f"{optimizer}, {per}"
    return {
        "title": _title(shown, still),
        "subtitle": f"Relative size of the first update of each tensor; {words}; those that start at zero are left out",
        "source": _source(records),
        "rows": rows,
        "marked": lr is not None or _is_rows(records),
        "numbers": [[name, ratio] for name, ratio in ratios],
    }


def _is_rows(records: Any) -> bool:
    return isinstance(records, Sequence) and all(isinstance(row, Mapping) for row in records)


def _given(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    for row in records:
        if not {"parameter", "ratio"} <= set(row):
            raise InputError.of("records", sorted(row), "rows with 'parameter' and 'ratio'")
    return [(str(row["parameter"]), float(row["ratio"])) for row in records]


def _computed(records: Any, lr: float, optimizer: str) -> list[tuple[str, float]]:
    known = [w for w in stats_of(records) if w.gradient is not None and w.rms > 0]
    return [
        (w.name, lr * (w.gradient if optimizer == "sgd" else float(w.gradient > 0)) / w.rms)
        for w in known
        if w.gradient is not None
    ]


def _source(records: Any) -> str:
    from fanin import __version__

    model = getattr(records, "model", "")
    return f"{model}, fanin {__version__}" if isinstance(model, str) and model else ""


def _title(shown: Sequence[tuple[str, float]], still: Sequence[str]) -> str:
    if not shown:
        return "No tensor would be updated" if still else "Updates: nothing was measured"
    (low_name, low), (high_name, high) = (pick(shown, key=lambda entry: entry[1]) for pick in (min, max))
    tail = f"; {len(still)} get no gradient at all" if still else ""
    if high / low < 10:
        return f"All tensors move alike: updates of {number(low, 2)} to {number(high, 2)} of the weight{tail}"
    if high / low < 1000:
        return f"Relative updates differ by ×{number(high / low, 2)}, from {low_name} to {high_name}{tail}"
    words = f"{math.log10(high / low):.0f} decades"
    return f"Relative updates differ by {words}: {high_name} moves, {low_name} hardly does{tail}"


def draw(data: Data, theme: str = "light") -> Spec:
    """A dot per tensor, logarithmic; 1e-3 is marked where a learning rate was given."""
    return dots_spec(
        data,
        theme_of(theme),
        x_title="rms(update) / rms(weight)",
        rule=HEALTHY if data["marked"] else None,
        rule_label="rule of thumb 1e-3",
    )


def table(data: Data) -> Table:
    """Parameter, ratio."""
    return ["parameter", "rms(update) / rms(weight)"], data["numbers"]


def example() -> Data:
    """A network whose first layers hardly move."""
    return data([{"parameter": f"layers.{k}.weight", "ratio": 1e-6 * 4**k} for k in range(8)])


KIND = REGISTRY.add(
    "updates",
    Kind(
        "updates",
        "relative size of the first update of each tensor",
        "a Report with statistics of its weights, or rows with parameter and ratio",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
