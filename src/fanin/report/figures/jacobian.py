"""Singular values of the input–output Jacobian: in how many directions does the network still move?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report.figures._base import (
    REGISTRY,
    Data,
    Kind,
    Spec,
    Table,
    log_axis,
    log_scale,
    series_channels,
    series_of,
    spec,
)
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

FLOOR = 1e-12
"""Singular values below this share of the largest are rounding errors of float64 and are left out."""


def data(records: Any, *, source: str = "") -> Data:
    """Singular values by rank.

    Args:
        records: the singular values of one Jacobian, or a mapping of names to them; see
            ``fanin.theory.simulate_jacobian``.
        source: which network they belong to.
    """
    pairs = list(records.items()) if isinstance(records, Mapping) else [("", records)]
    rows: list[dict[str, Any]] = []
    conditions = {}
    for label, given in pairs:
        values = sorted((float(value) for value in given), reverse=True)
        if not values or not all(math.isfinite(value) and value >= 0 for value in values):
            raise InputError.of("records", label or "singular values", "finite numbers >= 0, at least one")
        kept = [value for value in values if value > FLOOR * values[0]]
        conditions[str(label)] = math.sqrt(sum(v * v for v in values) / len(values)), _spread(kept)
        for rank, value in enumerate(kept, start=1):
            share = (rank - 0.5) / len(values)
            rows.append({"series": str(label), "rank": rank, "share": share, "value": value})
    return {
        "title": _title(conditions),
        "subtitle": "Singular values of ∂output/∂input, largest first; a flat line at 1 is dynamical isometry",
        "source": source,
        "rows": rows,
    }


def _spread(values: list[float]) -> float:
    """Decades between the 5 % and the 95 % quantile: extremes alone depend on the width."""
    if not values:
        return math.nan
    return math.log10(values[int(0.05 * len(values))] / values[min(len(values) - 1, int(0.95 * len(values)))])


def _title(conditions: dict[str, tuple[float, float]]) -> str:
    def words(label: str) -> str:
        spread = conditions[label][1]
        return f"{number(spread, 2)} decades" + (f" with {label}" if label else "")

    ranked = sorted(conditions, key=lambda label: conditions[label][1])
    ends = ranked if len(ranked) <= 2 else [ranked[0], ranked[-1]]
    return f"90 % of the singular values lie within {', '.join(words(label) for label in ends)}"


def draw(data: Data, theme: str = "light") -> Spec:
    """Value against rank, logarithmic."""
    colours = theme_of(theme)
    names = series_of(data["rows"])
    scale = log_scale([row["value"] for row in data["rows"]])
    y = {"field": "value", "type": "quantitative", "title": "singular value (no unit)", "scale": scale}
    x = {"field": "share", "type": "quantitative", "title": "rank (share of all directions, %)"}
    line = {
        "mark": {"type": "line", "strokeWidth": 2.5, **({} if len(names) > 1 else {"color": colours.series[0]})},
        "encoding": {
            "x": {**x, "scale": {"domain": [0, 1]}, "axis": {"format": ".0%", "grid": False}},
            "y": {**y, "axis": log_axis(scale)},
            **series_channels(names, colours, shape=False),
        },
    }
    one = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [4, 4], "color": colours.rule},
        "encoding": {"y": {"datum": 1, "type": "quantitative", "title": y["title"]}},
    }
    return spec(data, colours, layer=[one, line], height=280)


def table(data: Data) -> Table:
    """Series, rank, value; of long spectra every rank at which a percent is passed."""
    rows = data["rows"]
    count = max((row["rank"] for row in rows), default=1)
    step = max(1, count // 100)
    shown = [row for row in rows if row["rank"] == 1 or row["rank"] % step == 0]
    return ["series", "rank", "singular value"], [[row["series"], row["rank"], row["value"]] for row in shown]


def example() -> Data:
    """Gaussian against orthogonal weights, 20 linear layers: the first spread grows with depth."""
    n = 60
    gaussian = [10 ** (0.8 - 3.2 * (k / n) ** 1.5) for k in range(n)]
    return data({"gaussian": gaussian, "orthogonal": [1.0] * n}, source="an example")


KIND = REGISTRY.add(
    "jacobian",
    Kind(
        "jacobian",
        "singular values of the input–output Jacobian",
        "singular values, or several spectra by name",
        data,
        draw,
        table,
        example,
    ),
)
