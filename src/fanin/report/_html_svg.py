"""Small drawings inside the page, made by hand: shapes of histograms, positions on a scale, lines over depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from fanin.report._glyphs import number, rebin

if TYPE_CHECKING:
    from fanin.signals import Histogram

__all__ = ["depth_lines", "shape", "track"]

CELLS = 48


def _svg(width: int, height: int, label: str, inner: str, kind: str) -> Markup:
    box = f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return Markup(f'{box} aria-label="{escape(label)}"><title>{escape(label)}</title>{inner}</svg>')


def shape(histogram: Histogram | None, place: str) -> Markup:
    """A histogram as a filled outline, zero marked where it lies inside."""
    if histogram is None or not any(histogram.counts):
        return Markup("")
    width, height = 144, 26
    heights = rebin(histogram.counts, CELLS)
    top, cell = max(heights), width / CELLS
    path = f"M0 {height}" + "".join(
        f"V{height - round(22 * h / top, 1):g}H{(k + 1) * cell:g}" for k, h in enumerate(heights)
    )
    zero = ""
    if histogram.low < 0 < histogram.high:
        x = round(-histogram.low / (histogram.high - histogram.low) * width, 1)
        zero = f'<path class="zero" d="M{x:g} 0V{height}"/>'
    label = f"values at {place}: from {number(histogram.low)} to {number(histogram.high)}"
    return _svg(width, height, label, f'<path class="fill" d="{path}V{height}Z"/>{zero}', "shape")


def track(value: float | None, scale: tuple[int, int], label: str, *, predicted: float | None = None) -> Markup:
    """A value as a bar on a logarithmic scale from 10^low to 10^high; a tick where theory expected it."""
    width, height = 120, 14
    low, high = scale

    def at(entry: float) -> float:
        return round(min(1.0, max(0.0, (math.log10(entry) - low) / (high - low))) * width, 1)

    inner = f'<path class="rail" d="M0 7H{width}"/>'
    if low < 0 < high:
        inner += f'<path class="one" d="M{at(1.0):g} 1V13"/>'
    if value is not None and math.isfinite(value) and value > 0:
        inner += f'<rect class="bar" x="0" y="4" width="{max(1.0, at(value)):g}" height="6"/>'
    elif value is not None:
        edge = 0 if value == 0 else width
        inner += f'<circle class="bad" cx="{edge}" cy="7" r="4"/>'
    if predicted is not None and math.isfinite(predicted) and predicted > 0:
        inner += f'<path class="tick" d="M{at(predicted):g} 0V14"/>'
        label += f", predicted {number(predicted)}"
    return _svg(width, height, label, inner, "track")


def depth_lines(rows: Sequence[Mapping[str, Any]], label: str) -> Markup:
    """Lines over the depth, for pages made where charts cannot be drawn; logarithmic where values span decades."""
    width, height = 560, 120
    points = [row for row in rows if row.get("value") is not None]
    positive = [row["value"] for row in points if row["value"] > 0]
    if len(points) < 2 or not positive:
        return Markup("")
    log = max(positive) / min(positive) > 10
    values = [math.log10(row["value"]) if log else row["value"] for row in points if row["value"] > 0 or not log]
    low, high = min(values), max(values)
    deepest = max(2, *(row["layer"] for row in points))
    lines: dict[str, list[str]] = {}
    for row in points:
        if log and row["value"] <= 0:
            continue
        value = math.log10(row["value"]) if log else row["value"]
        y = 8 + (height - 16) * (1 - (value - low) / ((high - low) or 1))
        x = 8 + (width - 16) * (row["layer"] - 1) / (deepest - 1)
        lines.setdefault(str(row["series"]), []).append(f"{x:.1f},{y:.1f}")
    drawn = "".join(
        f'<polyline class="line line-{index % 6}" points="{" ".join(dots)}"/>'
        for index, dots in enumerate(lines.values())
    )
    return _svg(width, height, label, drawn, "lines")
