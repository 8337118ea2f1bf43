"""The drawing that most figures are: a value against depth, on a logarithmic or a linear axis."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fanin.report.figures._base import Data, Spec, Table, finite, log_axis, log_scale, series_channels, series_of, spec
from fanin.report.figures._theme import SHAPES

if TYPE_CHECKING:
    from fanin.report.figures._theme import Theme

__all__ = ["depth_row", "depth_spec", "depth_table", "example_rows"]

DOTS = 80
"""Above this many layers dots run into each other; the line alone remains."""


def depth_row(layer: int, place: str, series: str, value: float | None) -> dict[str, Any]:
    """One value; zero and non-finite ones are marked, for a logarithmic axis has no place for them.

    Args:
        layer: 1 for the first in execution order.
        place: its name.
        series: its curve.
        value: None counts as not finite.
    """
    number = finite(value)
    state = "not finite" if number is None else "zero" if number == 0 else "value"
    return {"layer": layer, "place": place, "series": series, "value": number, "state": state}


def depth_spec(
    data: Data,
    colours: Theme,
    *,
    x_title: str,
    y_title: str,
    log: bool = True,
    domain: Sequence[float] | None = None,
    rule: float | None = None,
    rule_label: str = "",
    undotted: Sequence[str] = (),
) -> Spec:
    """A line per series over the depth; zeros as ▽ at the bottom, values that are not finite as △ at the top.

    Args:
        data: rows of :func:`depth_row`.
        colours: of the theme.
        x_title: what the layers are.
        y_title: the quantity with its unit.
        log: logarithmic axis.
        domain: fixed range of a linear axis.
        rule: a value to draw a horizontal reference line at.
        rule_label: its label.
        undotted: series drawn without dots.
    """
    rows: list[dict[str, Any]] = data["rows"]
    names = series_of(rows)
    scale: dict[str, Any]
    axis: dict[str, Any]
    if log:
        marked = any(row["state"] != "value" for row in rows)
        shown = [row["value"] for row in rows] + ([rule] if rule is not None else [])
        scale = log_scale(shown, pad=0.5 if marked else 0.0)
        axis = log_axis(scale)
    else:
        scale, axis = ({"domain": list(domain)} if domain else {"zero": False}), {}
    y = {"field": "value", "type": "quantitative", "title": y_title, "scale": scale, "axis": axis}
    deepest = max((row["layer"] for row in rows), default=1)
    dots = [name for name in names if name not in undotted and deepest <= DOTS]
    channels = series_channels(names, colours, shape=False)
    base = {"x": _x(deepest, x_title), "y": y}
    value = "datum.state === 'value'" if log else "datum.value !== null"
    one = {} if channels else {"color": colours.series[0]}
    tooltip = [{"field": key, "type": kind} for key, kind in _TIPS]
    layers: list[Spec] = [] if rule is None else [*_reference(rule, rule_label, y, deepest, colours)]
    layers.append(
        {
            "transform": [{"filter": value}],
            "mark": {"type": "line", **one},
            "encoding": {**base, **{key: channels[key] for key in ("color", "strokeDash") if key in channels}},
        }
    )
    for index, name in enumerate(names):  # fixed shapes, not a shape channel: that would enter the legend of the lines
        if name in dots:
            dot = {"type": "point", "filled": True, "size": 42 if deepest <= 40 else 22, "opacity": 1, **one}
            color = {key: channels[key] for key in ("color",) if key in channels}
            layers.append(
                {
                    "transform": [{"filter": f"{value} && datum.series === {json.dumps(name)}"}],
                    "mark": {**dot, "shape": SHAPES[index % len(SHAPES)]},
                    "encoding": {**base, **color, "tooltip": tooltip},
                }
            )
    if log:
        layers += _edges(base, scale, colours, tooltip)
    return spec(data, colours, layer=layers, height=280)


_TIPS = (("place", "nominal"), ("series", "nominal"), ("layer", "quantitative"), ("value", "quantitative"))


def _x(deepest: int, title: str) -> dict[str, Any]:
    return {
        "field": "layer",
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0.5, deepest + 0.5], "nice": False},
        "axis": {"grid": False, "format": "d", "values": _ticks(deepest)},
    }


def _ticks(deepest: int) -> list[int]:
    """1 and round numbers up to the deepest layer, at most about 12."""
    step = next(
        step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power) if deepest <= 12 * step
    )
    return [1, *range(step if step > 1 else 2, deepest + 1, step)]


def _reference(rule: float, label: str, y: Mapping[str, Any], deepest: int, colours: Theme) -> list[Spec]:
    at = {**y, "datum": rule}
    at.pop("field")
    line = {"mark": {"type": "rule", "strokeDash": [4, 4], "color": colours.rule}, "encoding": {"y": at}}
    text = {
        "mark": {"type": "text", "align": "right", "dy": -7, "color": colours.dim, "text": label},
        "encoding": {"y": at, "x": {"datum": deepest + 0.5, "type": "quantitative"}},
    }
    return [{**line, "data": {"values": [{}]}}, {**text, "data": {"values": [{}]}}]


def _edges(base: Mapping[str, Any], scale: Mapping[str, Any], colours: Theme, tooltip: Any) -> list[Spec]:
    """Marks at the edge of the plot for what a logarithm cannot show."""
    result = []
    for state, edge, shape in (("zero", 0, "triangle-down"), ("not finite", 1, "triangle-up")):
        y = {key: value for key, value in base["y"].items() if key != "field"}
        result.append(
            {
                "transform": [{"filter": f"datum.state === '{state}'"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "shape": shape,
                    "size": 70,
                    "color": colours.bad,
                    "opacity": 1,
                },
                "encoding": {"x": base["x"], "y": {**y, "datum": scale["domain"][edge]}, "tooltip": tooltip},
            }
        )
    return result


def depth_table(data: Data, heading: str) -> Table:
    """Layers down, series across.

    Args:
        data: rows of :func:`depth_row`.
        heading: the quantity with its unit.
    """
    names = series_of(data["rows"])
    cells: dict[tuple[int, str], dict[str, Any]] = {}
    for row in data["rows"]:
        cells.setdefault((row["layer"], row["place"]), {})[row["series"]] = (
            row["value"] if row["state"] != "not finite" else "not finite"
        )
    headings = ["layer", "place", *(f"{heading}, {name}" if name else heading for name in names)]
    return headings, [[layer, place, *(found.get(name) for name in names)] for (layer, place), found in cells.items()]


def example_rows(factors: Mapping[str, float], layers: int = 12, *, back: bool = False) -> list[dict[str, Any]]:
    """Geometric curves for the examples of figures; ``back`` runs from the last layer to the first."""
    return [
        depth_row(layer, f"layers.{layer - 1}", name, factor ** (layers + 1 - layer if back else layer))
        for name, factor in factors.items()
        for layer in range(1, layers + 1)
    ]
