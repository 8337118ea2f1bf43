"""Colours of the figures: readable in grey, for colour-blind eyes, on paper and on a dark screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fanin.errors import UnknownNameError

__all__ = ["DASHES", "FONT", "SHAPES", "THEMES", "Theme", "ThemeName", "config", "theme"]

ThemeName = Literal["light", "dark"]

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Arial and Liberation Sans have the same widths, so a legend laid out with one does not clip with the other."""

DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [4, 1], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
"""A second and third way to tell series apart, for print in grey."""


@dataclass(frozen=True)
class Theme:
    """The colours of one theme; no two roles share a colour, so that a page can swap them in a finished drawing.

    Args:
        name: "light" or "dark".
        background: behind everything.
        text: titles and labels.
        dim: subtitles, axis labels, sources.
        grid: grid lines.
        rule: reference lines (a target, a critical line).
        good: what is as it should be.
        bad: what is not.
        series: up to six series; from Okabe & Ito, 2008, ordered so that neighbours differ in lightness.
        ramp: low to high; viridis (van der Walt & Smith, 2015) without the end that vanishes into the background.
    """

    name: ThemeName
    background: str
    text: str
    dim: str
    grid: str
    rule: str
    good: str
    bad: str
    series: tuple[str, ...]
    ramp: tuple[str, ...]

    def roles(self) -> dict[str, str]:
        """Role → colour, without the ramp."""
        plain = {key: getattr(self, key) for key in ("background", "text", "dim", "grid", "rule", "good", "bad")}
        return {**plain, **{f"series-{index}": colour for index, colour in enumerate(self.series)}}


THEMES: dict[str, Theme] = {
    "light": Theme(
        name="light",
        background="#ffffff",
        text="#1b1f24",
        dim="#59636e",
        grid="#e3e6ea",
        rule="#6f7782",
        good="#00785a",
        bad="#b3261e",
        series=("#0a5ea8", "#d45500", "#2b2f36", "#2f9e77", "#b4568f", "#6b5000"),
        ramp=("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30"),
    ),
    "dark": Theme(
        name="dark",
        background="#15181d",
        text="#eef1f5",
        dim="#a3adb9",
        grid="#2c323a",
        rule="#8b95a1",
        good="#35c79a",
        bad="#ff8a80",
        series=("#6cb8ff", "#e07020", "#f3f5f7", "#1fa37c", "#ec93c6", "#e9c84a"),
        ramp=("#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"),
    ),
}


def theme(name: str) -> Theme:
    """The theme of that name.

    Raises:
        UnknownNameError: if there is none.

    Example:
        >>> theme("dark").background
        '#15181d'
    """
    if name not in THEMES:
        raise UnknownNameError("theme", name, THEMES)
    return THEMES[name]


def config(colours: Theme) -> dict[str, Any]:
    """The Vega-Lite ``config`` that all figures share."""
    return {
        "background": colours.background,
        "font": FONT,
        "padding": 14,
        "view": {"stroke": None, "continuousWidth": 560, "continuousHeight": 280},
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": colours.text,
            "fontSize": 16,
            "fontWeight": "bold",
            "lineHeight": 20,
            "subtitleColor": colours.dim,
            "subtitleFontSize": 12,
            "subtitleLineHeight": 16,
            "subtitlePadding": 6,
            "offset": 14,
        },
        "axis": {
            "labelColor": colours.dim,
            "labelFontSize": 11,
            "titleColor": colours.text,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "gridColor": colours.grid,
            "domainColor": colours.rule,
            "tickColor": colours.rule,
            "labelOverlap": True,
        },
        "header": {"labelColor": colours.text, "labelFontSize": 11, "titleColor": colours.text, "titleFontSize": 12},
        "legend": {
            "labelColor": colours.text,
            "labelFontSize": 12,
            "labelLimit": 420,
            "titleColor": colours.dim,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "symbolStrokeWidth": 2,
            "symbolSize": 90,
        },
        "range": {"category": list(colours.series), "ramp": list(colours.ramp), "heatmap": list(colours.ramp)},
        "line": {"strokeWidth": 2},
        "text": {"color": colours.text, "fontSize": 11},
        "rule": {"color": colours.rule},
    }
