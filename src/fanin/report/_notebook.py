"""What a notebook shows: a picture, a page fragment, or text, whichever it can."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from fanin.report._html import figure_fragment, report_fragment
from fanin.report._screen import Screen
from fanin.report._terminal import show_report
from fanin.report.figures._render import available, png

if TYPE_CHECKING:
    from fanin.report._report import Report
    from fanin.report.figures import Figure

__all__ = ["figure_bundle", "report_bundle"]

VEGA_LITE = "application/vnd.vegalite.v5+json"
"""Version 5 is what today's notebooks render; they show nothing for 6."""


def figure_bundle(figure: Figure) -> dict[str, Any]:
    """MIME type → content, richest first."""
    bundle: dict[str, Any] = {VEGA_LITE: figure.spec()}
    if available():
        bundle["image/png"] = base64.b64encode(png(figure.spec(), scale=2.0)).decode("ascii")
    bundle["text/html"] = figure_fragment(figure)
    bundle["text/plain"] = repr(figure)
    return bundle


def report_bundle(report: Report) -> dict[str, Any]:
    """The findings and the network; the charts are one ``report.figure(name)`` away."""
    out = io.StringIO()
    show_report(report, Screen(out, width=100, ascii=False))
    return {"text/html": report_fragment(report), "text/plain": out.getvalue().rstrip("\n")}
