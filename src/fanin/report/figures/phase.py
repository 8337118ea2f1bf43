"""Phase diagram of an activation, its critical line, and where the model itself stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, log_axis, spec
from fanin.report.figures._theme import Theme
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]

GRID = 36
"""Cells a side."""

CLIP = 0.3
"""|log₁₀ χ| beyond which the colour no longer changes: twice or half per layer is lost within ten layers."""

NEAR = 0.05
"""|χ − 1| that reads as "on the critical line": over 20 layers the gradient changes by a factor 1.05^10 = 1.6."""

LARGE = 1e4
"""Second moment that stands for "without bound": activations have reached their asymptotes by √q = 100."""

FAR = 8.0
"""Points further than this many times the critical σ_w² ask for a logarithmic axis; else the line would vanish."""

Points = Mapping[str, tuple[float, float]]


def data(records: Any, *, points: Points | None = None, span: tuple[float, float] | None = None) -> Data:
    """χ over (σ_b², σ_w²), the line χ = 1, and points of one's own.

    Args:
        records: a Report that holds statistics of its weights, or an activation: a name, module or callable.
        points: name → (σ_w², σ_b²), where σ_w² = fan_in · Var W and σ_b² = Var b; of a Report those of its layers.
        span: the largest (σ_w², σ_b²) shown; by default what the points and the critical line need.
    """
    from fanin.theory import chi_perp, critical_line, phase_diagram

    source = "mean field theory (Poole et al., 2016)"
    fn, own = records, dict(points or {})
    if hasattr(records, "signals"):
        from fanin.report._weights import operating_points
        from fanin.report.figures._signals import origin

        fn, own = operating_points(records)
        source = f"{origin(records)}; {source}"
        if not own:
            return {"title": "Phase diagram", "subtitle": "", "source": source, "rows": [], "line": [], "points": []}
    line = critical_line(fn)
    usable = [
        {"weight_var": round(float(w), 12), "bias_var": max(0.0, float(b)), "q": float(q)}
        for w, b, q, ok in zip(line.weight_var, line.bias_var, line.q, line.admissible)
        if ok
    ]
    start = min((entry["weight_var"] for entry in usable), default=2.0)
    most_w = max([2 * start, *(1.15 * w for w, _ in own.values())])
    most_b = max([0.3, *(1.15 * b for _, b in own.values())])
    most_w, most_b = span or (most_w, most_b)
    log = most_w > FAR * start
    least_w = start / FAR if log else 0.0
    edges = [_between(least_w, most_w, k / GRID, log) for k in range(GRID + 1)]
    widths = [_between(low, high, 0.5, log) for low, high in pairwise(edges)]
    biases = [most_b * (k + 0.5) / GRID for k in range(GRID)]
    grid = phase_diagram(fn, widths, biases)
    far = chi_perp(fn, LARGE, 1.0)  # χ per σ_w² where the signal grows without bound: there is no fixed point to read
    rows = [
        {"weight_var": w, "bias_var": b, "low": low, "high": high, "chi_perp": _or(grid.chi_perp[i][j], far * w)}
        for i, b in enumerate(biases)
        for j, (w, low, high) in enumerate(zip(widths, edges, edges[1:]))
    ]
    places = _where(fn, far, [w for w, _ in own.values()], [b for _, b in own.values()])
    dots = [{"name": n, "weight_var": w, "bias_var": b, **at} for (n, (w, b)), at in zip(own.items(), places)]
    return {
        "title": _title(grid.name, dots, usable),
        "subtitle": "χ: factor by which a layer multiplies the gradient's power. Below 1 (ordered) gradients vanish, "
        "above 1 (chaotic) they explode; on the line both survive depth",
        "source": source,
        "activation": grid.name,
        "rows": rows,
        "line": [
            entry for entry in usable if entry["weight_var"] <= 1.5 * most_w and entry["bias_var"] <= 1.5 * most_b
        ],
        "points": dots,
        "log": log,
        "step": most_b / GRID,
        "span": [least_w, most_w, most_b],
    }


def _between(low: float, high: float, share: float, log: bool) -> float:
    return float(low * (high / low) ** share if log else low + (high - low) * share)


def _or(value: Any, otherwise: float) -> float:
    return float(value) if math.isfinite(value) else otherwise


def _where(fn: Any, far: float, weight_vars: Sequence[float], bias_vars: Sequence[float]) -> list[dict[str, Any]]:
    """χ and the phase at each point; the diagonal of small grids, for a grid shares the work on the activation."""
    from fanin.theory import phase_diagram

    found: list[dict[str, Any]] = []
    for start in range(0, len(weight_vars), GRID):
        part = slice(start, start + GRID)
        at = phase_diagram(fn, weight_vars[part], bias_vars[part]).chi_perp
        for k in range(len(at)):
            chi = _or(at[k][k], far * weight_vars[start + k])
            phase = "critical" if abs(chi - 1) <= NEAR else "ordered" if chi < 1 else "chaotic"
            found.append({"chi_perp": chi, "phase": phase})
    return found


def _title(activation: str, points: Sequence[Mapping[str, Any]], line: Sequence[Any]) -> str:
    if not points:
        if not line:
            return f"{activation} has no critical line: no start keeps its gradients at any depth"
        return f"{activation}: gradients survive depth only along one line, from σ_w² = {number(line[0]['weight_var'])}"
    fates = {"ordered": "gradients vanish", "chaotic": "gradients explode", "critical": "gradients survive depth"}
    if 1 < len(points) <= 3:
        places = {"critical": "on the critical line", "ordered": "ordered", "chaotic": "chaotic"}
        said = (f"{point['name']} is {places[point['phase']]}" for point in points)
        return f"{activation}: {', '.join(said)}"
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for point in points:
        groups.setdefault(point["phase"], []).append(point)
    phase, members = max(groups.items(), key=lambda item: len(item[1]))
    who = members[0]["name"] if len(points) == 1 else f"{len(members)} of {len(points)} points"
    verb = "lies" if len(members) == 1 else "lie"
    place = "on the critical line" if phase == "critical" else f"in the {phase} phase"
    chi = sum(point["chi_perp"] for point in members) / len(members)
    return f"{activation}: {who} {verb} {place} (χ = {number(chi, 3)}): {fates[phase]}"


def draw(data: Data, theme: str = "light") -> Spec:
    """A map of χ with the line and the points over it."""
    colours = theme_of(theme)
    span, step = data["span"], data["step"]
    kind = "log" if data["log"] else "linear"
    scale = {"type": kind, "domain": span[:2], "nice": False}
    ticks = log_axis(scale) if data["log"] else {}
    x = {"type": "quantitative", "title": "σ_b² (variance of the biases)", "scale": {"domain": [0, span[2]]}}
    y = {"type": "quantitative", "title": "σ_w² = fan_in · Var W", "scale": scale}
    x, y = {**x, "axis": {"grid": False}}, {**y, "axis": {"grid": False, **ticks}}
    halves = [  # cells reach under the next ones, so that no seam shines through
        {"calculate": f"datum.bias_var - {0.5 * step}", "as": "x0"},
        {"calculate": f"datum.bias_var + {0.8 * step}", "as": "x1"},
        {"calculate": "datum.high + 0.3 * (datum.high - datum.low)", "as": "top"},
    ]
    log = f"clamp(log(datum.chi_perp) / LN10, -{CLIP}, {CLIP})"
    cells = {
        "transform": [*halves, {"calculate": log, "as": "decades"}],
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "x": {**x, "field": "x0"},
            "x2": {"field": "x1"},
            "y": {**y, "field": "low"},
            "y2": {"field": "top"},
            "color": {"field": "decades", "type": "quantitative", **_colour(colours)},
        },
    }
    line = {
        "data": {"name": "line"},
        "mark": {"type": "line", "clip": True, "color": colours.text, "strokeWidth": 3},
        "encoding": {
            "x": {**x, "field": "bias_var"},
            "y": {**y, "field": "weight_var"},
            "order": {"field": "q", "type": "quantitative"},
        },
    }
    sets = {"line": data["line"], "points": data["points"]}
    alone = {  # of a homogeneous activation the line is a single point
        "data": {"values": data["line"][:1] if len({point["weight_var"] for point in data["line"]}) == 1 else []},
        "mark": {"type": "point", "shape": "circle", "size": 220, "strokeWidth": 3, "color": colours.text},
        "encoding": {"x": {**x, "field": "bias_var"}, "y": {**y, "field": "weight_var"}},
    }
    layers = [cells, line, alone, *_points(x, y, colours, few=len(data["points"]) <= 6), *_names(data, x, y, colours)]
    return spec(data, colours, width=440, datasets=sets, layer=layers, height=360)


def _colour(colours: Theme) -> dict[str, Any]:
    low, high = colours.series[0], colours.series[1]
    return {
        "scale": {"domain": [-CLIP, 0, CLIP], "range": [low, colours.background, high], "interpolate": "lab"},
        "legend": {
            "title": "χ per layer",
            "orient": "right",
            "values": [-CLIP, -CLIP / 2, 0, CLIP / 2, CLIP],
            "labelExpr": "format(pow(10, datum.value), '.1~f')",
            "gradientLength": 200,
        },
    }


def _points(x: dict[str, Any], y: dict[str, Any], colours: Theme, *, few: bool) -> list[Spec]:
    at = {"x": {**x, "field": "bias_var"}, "y": {**y, "field": "weight_var"}}
    tips = [{"field": key} for key in ("name", "weight_var", "bias_var", "chi_perp", "phase")]
    dot = {
        "type": "point",
        "filled": True,
        "shape": "diamond",
        "size": 150 if few else 60,
        "color": colours.text,
        "stroke": colours.background,
        "strokeWidth": 1.5,
        "opacity": 1,
    }
    marks: list[Spec] = [{"data": {"name": "points"}, "mark": dot, "encoding": {**at, "tooltip": tips}}]
    if few:
        halo = {"stroke": colours.background, "strokeWidth": 3, "strokeOpacity": 0.85}
        for extra in (halo, {}):  # the same words twice: first their halo, then they
            text = {"type": "text", "align": "left", "dx": 10, "fontSize": 12, "color": colours.text, **extra}
            marks.append({"data": {"name": "points"}, "mark": text, "encoding": {**at, "text": {"field": "name"}}})
    return marks


def _names(data: Data, x: dict[str, Any], y: dict[str, Any], colours: Theme) -> list[Spec]:
    """The words "ordered" and "chaotic" in their corners."""
    result = []
    for word, share in (("ordered: gradients vanish", 0.04), ("chaotic: gradients explode", 0.96)):
        low, high, right = data["span"]
        at = {
            "x": {**x, "datum": 0.97 * right},
            "y": {**y, "datum": _between(low, high, share, data["log"])},
        }
        mark = {"type": "text", "align": "right", "fontSize": 12, "fontStyle": "italic", "color": colours.text}
        for halo in ({"stroke": colours.background, "strokeWidth": 3}, {}):
            result.append({"data": {"values": [{}]}, "mark": {**mark, **halo, "text": word}, "encoding": at})
    return result


def table(data: Data) -> Table:
    """The points, then the line."""
    headings = ["what", "σ_w²", "σ_b²", "χ", "phase"]
    rows = [[p["name"], p["weight_var"], p["bias_var"], p["chi_perp"], p["phase"]] for p in data["points"]]
    step = max(1, len(data["line"]) // 40)
    rows += [["critical line", p["weight_var"], p["bias_var"], 1.0, "critical"] for p in data["line"][::step]]
    return headings, rows


def example() -> Data:
    """Tanh with two points, computed."""
    return {**data("tanh", points={"Xavier": (1.0, 0.0), "mine": (2.5, 0.1)}), "source": "an example"}


KIND = REGISTRY.add(
    "phase",
    Kind(
        "phase",
        "phase diagram with the critical line and the model's own points",
        "a Report with statistics of its weights, or an activation and points",
        data,
        draw,
        table,
        example,
        of_report=True,
        mapped=True,
    ),
)
