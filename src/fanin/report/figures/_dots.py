"""Dots per parameter on a logarithmic axis, names at the left: the drawing of plans and of updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fanin.report.figures._base import Data, Spec, log_axis, log_scale, series_channels, series_of, short_names, spec

if TYPE_CHECKING:
    from fanin.report.figures._theme import Theme

__all__ = ["dots_spec"]


def dots_spec(
    data: Data, colours: Theme, *, x_title: str, rule: float | None = None, rule_label: str = "", note: str = ""
) -> Spec:
    """One line per parameter, one dot per series; dots of a parameter are joined.

    Args:
        data: rows with ``order``, ``parameter``, ``series``, ``value`` (> 0).
        colours: of the theme.
        x_title: the quantity with its unit.
        rule: a value to mark.
        rule_label: its label.
        note: column with words to write at the right, or ""; of each parameter the row with ``last`` gives them.
    """
    rows: list[dict[str, Any]] = data["rows"]
    names = series_of(rows)
    order = list(dict.fromkeys((row["order"], row["parameter"]) for row in rows))
    labels = short_names([name for _, name in order], 30)
    lookup = json.dumps({str(at): label for (at, _), label in zip(order, labels)})
    scale = log_scale([row["value"] for row in rows] + ([rule] if rule else []), pad=0.1)
    x = {"type": "quantitative", "title": x_title, "scale": scale, "axis": log_axis(scale)}
    y = {
        "field": "order",
        "type": "ordinal",
        "title": None,
        "sort": [at for at, _ in order],
        "axis": {"labelExpr": f"({lookup})[datum.value]", "grid": True, "labelLimit": 220, "labelOverlap": False},
    }
    channels = series_channels(names, colours, dash=False)
    single = {} if channels else {"color": colours.series[0]}
    layers: list[Spec] = [] if rule is None else [*_reference(rule, rule_label, x, colours)]
    if len(names) > 1:
        join = {"type": "rule", "color": colours.rule, "strokeWidth": 1.5}
        least = [{"aggregate": [{"op": f, "field": "value", "as": f} for f in ("min", "max")], "groupby": ["order"]}]
        ends = {"x": {**x, "field": "min"}, "x2": {"field": "max"}, "y": y}
        layers.append({"transform": least, "mark": join, "encoding": ends})
    tips = [{"field": key} for key in ("parameter", "series", "value")]
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 70 if len(order) <= 30 else 40, "opacity": 1, **single},
            "encoding": {"x": {**x, "field": "value"}, "y": y, "tooltip": tips, **channels},
        }
    )
    if note:
        mark = {"type": "text", "align": "left", "dx": 8, "color": colours.dim}
        first = [{"filter": "datum.last"}]
        layers.append(
            {"transform": first, "mark": mark, "encoding": {"x": {"value": 380}, "y": y, "text": {"field": note}}}
        )
    return spec(data, colours, width=380, layer=layers, height={"step": 20 if len(order) <= 30 else 15})


def _reference(rule: float, label: str, x: dict[str, Any], colours: Theme) -> Sequence[Spec]:
    at = {"x": {**x, "datum": rule}}
    line = {"type": "rule", "strokeDash": [4, 4], "color": colours.rule}
    text = {"type": "text", "align": "left", "dx": 4, "color": colours.dim, "text": label}
    return [
        {"data": {"values": [{}]}, "mark": line, "encoding": at},
        {"data": {"values": [{}]}, "mark": text, "encoding": {**at, "y": {"value": -7}}},
    ]
