"""Reports and figures as one offline HTML file: no script, no request, readable with a keyboard and on paper."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from fanin.report._glyphs import decades, number
from fanin.report._html_charts import Chart, chart_of, charts_of, picture_of
from fanin.report._html_svg import shape, track
from fanin.report._places import Fold, Place, fold, places
from fanin.report._terminal import _facts as facts
from fanin.report._terminal import _hidden as hidden
from fanin.report._terminal import verdict
from fanin.report.figures import THEMES
from fanin.report.figures._render import available

if TYPE_CHECKING:
    from fanin.checks import Finding
    from fanin.report._report import Report
    from fanin.report.figures import Figure

__all__ = ["figure_fragment", "figure_page", "report_fragment", "report_page"]

MOST_ROWS = 160
"""Layers listed before the middle is folded: at 1 kB each the page stays far below 2 MB."""


def _source(name: str) -> str:
    return (resources.files("fanin.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def _style() -> Markup:
    """The style sheet with the colours of the themes, the same that the figures use."""

    def variables(name: str) -> str:
        return "".join(f"--fanin-{role}:{colour};" for role, colour in THEMES[name].roles().items())

    css = _source("page.css")
    light, dark = variables("light"), variables("dark")
    return Markup(css.replace("/*light*/", light).replace("/*dark*/", dark))


def report_page(report: Report) -> str:
    """The whole report: verdict, findings, the network layer by layer, charts with tables, the plan, the rules."""
    return _environment().get_template("report.html").render(page=True, style=_style(), **_content(report, charts=True))


def report_fragment(report: Report) -> str:
    """The same without charts, as part of another page (a notebook)."""
    content = _content(report, charts=False)
    return _environment().get_template("report.html").render(page=False, style=_style(), **content)


def figure_page(figure: Figure) -> str:
    """One figure with its table."""
    return _environment().get_template("figure.html").render(page=True, style=_style(), **_one(figure))


def figure_fragment(figure: Figure) -> str:
    """One figure with its table, as part of another page."""
    return _environment().get_template("figure.html").render(page=False, style=_style(), **_one(figure))


def _one(figure: Figure) -> dict[str, Any]:
    return {"chart": chart_of(figure), "drawable": available(), "version": _version()}


def _version() -> str:
    from fanin import __version__

    return __version__


def _content(report: Report, *, charts: bool) -> dict[str, Any]:
    rows = places(report)
    drawn = charts_of(report) if charts else []
    anchors = _anchors(report, rows)
    return {
        "report": report,
        "verdict": verdict(report).plain,
        "facts": facts(report),
        "status": "bad" if not report.ok else "care" if report.count("warning") else "good",
        "findings": [_finding(f, at, drawn, anchors) for at, f in enumerate(report.findings, start=1)],
        "layers": _layers(rows, report.findings),
        "has_gradient": any(row.gradient is not None for row in rows),
        "charts": drawn,
        "drawable": available(),
        "wants_charts": charts,
        "rules": _rules(report),
        "version": _version(),
    }


def _anchors(report: Report, rows: list[Place]) -> dict[str, int]:
    """Any name a finding may use (place, module, parameter) → the layer that shows it."""
    anchors: dict[str, int] = {row.name: row.depth for row in rows}
    if report.graph is not None:
        for row in rows:
            node = report.graph.by_place[row.name]
            for use in node.params:
                anchors.setdefault(use.name, row.depth)
                anchors.setdefault(use.name.rpartition(".")[0], row.depth)
            for reader in report.graph.consumers[node.id]:  # the nonlinearity has no row of its own
                anchors.setdefault(report.graph.nodes[reader].place, row.depth)
    anchors.pop("", None)
    return anchors


def _finding(finding: Finding, number_: int, charts: list[Chart], anchors: dict[str, int]) -> dict[str, Any]:
    where = [finding.where or "the whole model", *finding.also]
    return {
        "id": f"finding-{number_}",
        "finding": finding,
        "places": [{"name": name, "layer": anchors.get(name)} for name in where],
        "chart": picture_of(finding.code, charts),
        "evidence": [(key, _plain(value)) for key, value in finding.evidence.items()],
        "rule": _explained(finding.code),
    }


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(entry) for entry in value)
    return str(value)


def _explained(code: str) -> str:
    from fanin.checks import rules

    return next((rule.explanation() for rule in rules() if rule.code == code), "")


def _layers(rows: list[Place], findings: Any) -> list[dict[str, Any]]:
    signal, gradient = (decades([getattr(row, key) for row in rows]) for key in ("rms", "gradient"))
    listed: list[dict[str, Any]] = []
    for row in fold(rows, MOST_ROWS):
        if isinstance(row, Fold):
            listed.append({"fold": hidden(row)})
            continue
        marks = [(f.code, f"finding-{at}", f.severity) for at, f in enumerate(findings, start=1) if f.code in row.flags]
        listed.append(
            {
                "fold": None,
                "row": row,
                "shape": shape(row.histogram, row.name),
                "signal": track(row.rms, signal, f"signal rms {number(row.rms)}", predicted=row.predicted),
                "gradient": track(row.gradient, gradient, f"gradient rms {number(row.gradient)}"),
                "marks": marks,
            }
        )
    return listed


def _rules(report: Report) -> list[dict[str, str]]:
    from fanin.checks import rules

    titles = {rule.code: rule.title() for rule in rules()}
    return [
        {"code": o.code, "status": o.status, "reason": o.reason, "title": titles.get(o.code, "")}
        for o in report.outcomes
    ]
