"""Correlation map of an activation: what one layer makes of the likeness of two samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, series_channels, series_of, spec
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

POINTS = 21
"""Values of c from 0 to 1."""

MARGIN = 1e-3
"""|slope − 1| at c = 1 below which the map is called critical."""


def data(records: Any, *, bias_var: float = 0.0, q: float | None = None) -> Data:
    """C(c) for one activation and several weight variances.

    Args:
        records: name → (activation, σ_w²) or (activation, σ_w², σ_b²).
        bias_var: σ_b² where an entry gives none.
        q: second moment of the pre-activations; by default each entry's own stable fixed point (1 where it has none).
    """
    from fanin.theory import chi_perp, correlation_map

    rows: list[dict[str, Any]] = []
    found: dict[str, tuple[float, float]] = {}
    entries: Mapping[str, Any] = records
    for name, (fn, weight_var, *rest) in entries.items():
        bias = float(rest[0]) if rest else bias_var
        at = q if q is not None else _fixed(fn, weight_var, bias)
        for k in range(POINTS):
            c = k / (POINTS - 1)
            rows.append({"series": name, "c": c, "after": correlation_map(fn, c, at, weight_var, bias)})
        found[name] = chi_perp(fn, at, weight_var), _limit(rows[-POINTS:])
    return {
        "title": _title(found),
        "subtitle": "Correlation of two samples after a layer against before; where a curve meets the diagonal, "
        "correlations settle",
        "source": "mean field theory (Poole et al., 2016)",
        "rows": rows,
    }


def _fixed(fn: Any, weight_var: float, bias_var: float) -> float:
    from fanin.theory import fixed_points

    points = [p for p in fixed_points(fn, weight_var, bias_var, correlations=False) if p.q > 0]
    return points[-1].q if points else 1.0


def _limit(curve: list[dict[str, Any]]) -> float:
    """Where iterating the curve from c = 0 leads, read off the polyline."""
    c = 0.0
    for _ in range(2000):
        position = min(c, 1 - 1e-12) * (POINTS - 1)
        k = int(position)
        c = curve[k]["after"] + (position - k) * (curve[k + 1]["after"] - curve[k]["after"])
    return c


def _title(found: dict[str, tuple[float, float]]) -> str:
    parts = []
    for name, (slope, limit) in list(found.items())[:3]:
        if slope < 1 - MARGIN:
            parts.append(f"{name} merges all samples")
        elif slope <= 1 + MARGIN:
            parts.append(f"{name} merges them only slowly")
        else:
            parts.append(f"{name} drives them to correlation {number(limit, 2)}")
    return "; ".join(parts) or "Correlation map"


def draw(data: Data, theme: str = "light") -> Spec:
    """Curves over the unit square with its diagonal."""
    colours = theme_of(theme)
    names = series_of(data["rows"])
    low = min(0.0, min(row["after"] for row in data["rows"]))
    x = {"type": "quantitative", "title": "correlation before the layer", "scale": {"domain": [0, 1]}}
    y = {"type": "quantitative", "title": "correlation after the layer", "scale": {"domain": [low, 1]}}
    diagonal = {
        "data": {"values": [{"c": 0, "after": 0}, {"c": 1, "after": 1}]},
        "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1, "color": colours.rule},
        "encoding": {"x": {**x, "field": "c"}, "y": {**y, "field": "after"}},
    }
    curves = {
        "mark": {"type": "line", "strokeWidth": 2.5, **({} if len(names) > 1 else {"color": colours.series[0]})},
        "encoding": {
            "x": {**x, "field": "c"},
            "y": {**y, "field": "after"},
            **series_channels(names, colours, shape=False),
        },
    }
    return spec(data, colours, width=360, layer=[diagonal, curves], height=360)


def table(data: Data) -> Table:
    """Correlation before, then after by series."""
    names = series_of(data["rows"])
    cells: dict[float, dict[str, float]] = {}
    for row in data["rows"]:
        cells.setdefault(row["c"], {})[row["series"]] = row["after"]
    return ["before", *names], [[c, *(found.get(name) for name in names)] for c, found in cells.items()]


def example() -> Data:
    """Tanh below, on and above its critical line at σ_b² = 0.05, computed."""
    variances = {"σ_w² = 1.2": 1.2, "σ_w² = 1.761": 1.76095464, "σ_w² = 3": 3.0}
    return data({name: ("tanh", value) for name, value in variances.items()}, bias_var=0.05)


KIND = REGISTRY.add(
    "correlation_map",
    Kind(
        "correlation_map",
        "correlation map of an activation",
        "name → (activation, σ_w²[, σ_b²])",
        data,
        draw,
        table,
        example,
    ),
)
