"""Weight histograms beside the density that was planned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, short_names, spec, thinned
from fanin.report.figures._histograms import outline
from fanin.report.figures._tensors import planned_density, recipe_of, stats_of
from fanin.report.figures._theme import theme as theme_of

if TYPE_CHECKING:
    from fanin.recipe import Recipe
    from fanin.report._weights import WeightStats

__all__ = ["data", "draw", "example", "table"]

MOST = 20
COLUMNS = 5
POINTS = 65
"""Points of a planned density."""

SIGMAS = 5.0
"""A sample std further than this many of its standard errors from the plan was not drawn from it."""

Planned = tuple[float, float]


def data(records: Any, *, recipe: Recipe | None = None, most: int = MOST) -> Data:
    """Histograms of the weights, and planned densities.

    Args:
        records: a Report, a model, or a mapping of names to tensors or arrays.
        recipe: the plan to compare with; by default that of the report.
        most: tensors shown at most, evenly spread.
    """
    plan = recipe_of(records, recipe)
    lines = {} if plan is None else {line.name: line for line in plan.lines}
    drawn = [w for w in stats_of(records) if len(w.shape) >= 2 and w.histogram is not None and w.std > 0]
    rows, curves, numbers = [], [], []
    misses: list[tuple[float, str]] = []
    compared = 0
    for panel, stats in enumerate(thinned(drawn, most)):
        bars, top = _bars(panel, stats)
        rows += bars
        line = lines.get(stats.name)
        if line is not None and line.std > 0:
            low, high = bars[0]["x"], bars[-1]["x"]
            margin = 0.08 * (high - low)
            for k in range(POINTS):
                x = low - margin + (high - low + 2 * margin) * k / (POINTS - 1)
                curves.append({"panel": panel, "x": x, "height": planned_density(line, x) / top})
    for stats in drawn:
        line = lines.get(stats.name)
        planned = None if line is None else line.std
        numbers.append({"parameter": stats.name, "shape": list(stats.shape), "mean": stats.mean, "std": stats.std})
        numbers[-1]["planned std"] = planned
        if planned:
            compared += 1
            error = SIGMAS / math.sqrt(2 * math.prod(stats.shape))
            ratio = stats.std / planned
            if abs(ratio - 1) > error:
                misses.append((ratio, stats.name))
    shown = "" if len(drawn) <= most else f"; {most} of {len(drawn)} tensors, evenly spread"
    line_is = "; line: the planned density" if curves else ""
    return {
        "title": _title(drawn, compared, misses),
        "subtitle": f"Bars: the weights as they are{line_is}; each tensor on its own axis{shown}",
        "source": _source(records),
        "rows": rows,
        "curves": curves,
        "numbers": numbers,
    }


def _source(records: Any) -> str:
    from fanin import __version__

    model = getattr(records, "model", "")
    return f"{model}, fanin {__version__}" if isinstance(model, str) and model else f"fanin {__version__}"


def _bars(panel: int, stats: WeightStats) -> tuple[list[dict[str, Any]], float]:
    histogram = stats.histogram
    assert histogram is not None
    width = (histogram.high - histogram.low) / len(histogram.counts) or 1.0
    density = [count / sum(histogram.counts) / width for count in histogram.counts]
    top = max(density)
    name = f"{panel + 1}  {short_names([stats.name], 20)[0]}  σ {number(stats.std, 2)}"
    rows = [{"panel": panel, "name": name, **c} for c in outline(histogram, [value / top for value in density])]
    return rows, top


def _title(drawn: list[WeightStats], compared: int, misses: list[tuple[float, str]]) -> str:
    count = f"{len(drawn)} weight tensor{'' if len(drawn) == 1 else 's'}"
    if not drawn:
        return "Weights: nothing was measured"
    if compared and not misses:
        return f"The weights are spread as planned, in all {compared} tensors"
    if misses:
        ratio, name = max(misses, key=lambda entry: abs(math.log(entry[0])))
        return f"{len(misses)} of {compared} tensors miss their planned spread, most of all {name}: ×{number(ratio, 2)}"
    low, high = min(w.std for w in drawn), max(w.std for w in drawn)
    return f"{count}, standard deviations from {number(low, 2)} to {number(high, 2)}"


def draw(data: Data, theme: str = "light") -> Spec:
    """A grid of bar histograms with a line over each."""
    colours = theme_of(theme)
    width = 118
    panels = list(dict.fromkeys((row["panel"], row["name"]) for row in data["rows"]))
    cells = [_cell(panel, name, width, colours) for panel, name in panels]
    lines = [{"spacing": 14, "hconcat": cells[at : at + COLUMNS]} for at in range(0, len(cells), COLUMNS)]
    sets = {"curves": data["curves"]}
    return spec(data, colours, width=COLUMNS * (width + 14), datasets=sets, vconcat=lines, spacing=12)


def _cell(panel: int, name: str, width: int, colours: Any) -> Spec:
    scale = {"zero": False, "nice": False}
    axis = {"tickCount": 3, "grid": False, "format": "~g", "labelFlush": True}
    x = {"type": "quantitative", "title": None, "scale": scale, "axis": axis}
    y = {"field": "height", "type": "quantitative", "axis": None, "scale": {"zero": True}}
    keep = [{"filter": f"datum.panel === {panel}"}]
    bars = {
        "transform": keep,
        "mark": {"type": "area", "interpolate": "step-after", "color": colours.series[0], "opacity": 0.75},
        "encoding": {"x": {**x, "field": "x"}, "y": y},
    }
    line = {
        "data": {"name": "curves"},
        "transform": keep,
        "mark": {"type": "line", "color": colours.series[1], "strokeWidth": 2},
        "encoding": {"x": {**x, "field": "x"}, "y": y},
    }
    title = {
        "text": name.partition("  ")[2].split("  "),
        "fontSize": 11,
        "fontWeight": "normal",
        "lineHeight": 13,
        "offset": 4,
        "frame": "group",
        "limit": width + 12,
    }
    return {"title": title, "width": width, "height": 70, "layer": [bars, line]}


def table(data: Data) -> Table:
    """Parameter, shape, moments, plan."""
    headings = ["parameter", "shape", "mean", "std", "planned std"]
    return headings, [
        ["×".join(map(str, row[key])) if key == "shape" else row[key] for key in headings] for row in data["numbers"]
    ]


def example() -> Data:
    """Three tensors, drawn as planned."""
    from fanin.fans import linear
    from fanin.initializers import HeNormal, HeUniform
    from fanin.keys import Key
    from fanin.recipe import Line, Recipe

    plans = {"0.weight": HeNormal(), "2.weight": HeUniform(), "4.weight": HeNormal()}
    fans = linear((48, 64))
    lines = [Line(name, initializer, "", (48, 64), fans) for name, initializer in plans.items()]
    arrays = {line.name: line.initializer.draw(Key(0, line.name), line.shape, fans) for line in lines}
    return {**data(arrays, recipe=Recipe(lines)), "source": "an example"}


KIND = REGISTRY.add(
    "weights",
    Kind(
        "weights",
        "weight histograms with the planned density",
        "a Report with statistics of its weights, a model, or tensors by name",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
