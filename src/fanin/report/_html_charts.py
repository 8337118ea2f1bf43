"""The charts of a page: pictures where they can be drawn, and always the table behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report._html_svg import depth_lines
from fanin.report.figures import REGISTRY, THEMES
from fanin.report.figures._figure import Figure, figure
from fanin.report.figures._render import available, svg, themed

if TYPE_CHECKING:
    from fanin.report._report import Report

__all__ = ["CHARTS", "Chart", "chart_of", "charts_of", "picture_of"]

CHARTS = ("variance", "gradients", "activations", "silent", "correlation", "weights", "phase", "updates", "plan")
"""In the order of the page: what flows forward, what flows back, what makes it so, what to do."""

_PICTURES = {
    "F103": "silent",
    "F104": "silent",
    "F105": "correlation",
    "F": "variance",
    "B": "gradients",
    "W": "weights",
    "R": "weights",
    "I": "activations",
}
"""Rule code, or its letter (what the rule reads), → the chart that shows it."""


@dataclass(frozen=True)
class Chart:
    """One chart of a page.

    Args:
        name: of the figure.
        title: its finding.
        subtitle: what is shown.
        source: where the numbers come from.
        picture: inline SVG; a plain line, or nothing, where charts cannot be drawn.
        headings: of the table.
        rows: of the table, as text.
    """

    name: str
    title: str
    subtitle: str
    source: str
    picture: Markup
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def picture_of(code: str, charts: Sequence[Chart]) -> Chart | None:
    """The chart that shows what a rule looks at, where the page has it."""
    wanted = _PICTURES.get(code) or _PICTURES.get(code[:1])
    return next((chart for chart in charts if chart.name == wanted), None)


def charts_of(report: Report) -> list[Chart]:
    """All charts that the report has numbers for."""
    charts = []
    for name in CHARTS:
        if name not in REGISTRY:
            continue
        try:
            found = figure(name, report)
        except InputError:  # nothing to draw: no target, no weights, no plan
            continue
        charts.append(chart_of(found))
    return charts


def chart_of(found: Figure) -> Chart:
    """One figure as a part of a page."""
    headings, rows = found.table()
    data = found.data
    if available():
        picture = _inline(found)
    else:
        plain = data["rows"] and {"layer", "value", "series"} <= set(data["rows"][0])
        picture = depth_lines(data["rows"], found.title) if plain else Markup("")
    cells = [[_cell(value) for value in row] for row in rows]
    return Chart(found.name, found.title, data["subtitle"], data["source"], picture, list(headings), cells)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return str(value) if isinstance(value, int) else number(value, 4)


def _inline(found: Figure) -> Markup:
    """The drawing as part of a page: no title (the page says it), the page's colours, its own ids, short numbers."""
    spec = found.spec("light")
    spec.pop("title", None)
    spec["config"] = {**spec["config"], "aria": False, "padding": 4}
    drawing = svg(spec) if found.kind.mapped else themed(svg(spec), THEMES["light"])
    drawing = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", drawing)
    drawing = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{found.name}-", drawing)
    drawing = re.sub(r'\b(?:d|transform|x|y|x1|x2|y1|y2|width|height)="[^"]*"', _shortened, drawing)
    label = Markup.escape(f"{found.title}. {found.data['subtitle']}. The table below holds the numbers.")
    return Markup(drawing.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _shortened(match: re.Match[str]) -> str:
    """Coordinates to a hundredth of a pixel."""
    return match[0] if "e-" in match[0] else re.sub(r"([.][0-9]{2})[0-9]+", r"\1", match[0])
