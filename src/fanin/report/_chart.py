"""A line chart of characters: Braille dots in colour, letters where there is no colour or only ASCII."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from fanin.report._glyphs import number

__all__ = ["line_chart"]

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]

COLOURS = ("bright_cyan", "bright_magenta", "bright_yellow", "bright_green", "bright_red", "bright_blue")

# Braille patterns: the bit of each of the 2 × 4 dots in a cell (Unicode 1.1, block U+2800).
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def line_chart(
    series: Series,
    *,
    width: int = 76,
    height: int = 12,
    x_label: str = "",
    y_label: str = "",
    y_range: tuple[float, float] | None = None,
    letters: bool = False,
) -> list[Text]:
    """Curves over a common axis, one line of text per row.

    Args:
        series: name → (xs, ys); NaN and infinite values leave gaps; where curves cross, the later one is on top.
        width: columns in all.
        height: rows of the plotting area.
        x_label: what the horizontal axis counts.
        y_label: what the vertical axis measures.
        y_range: fixed (low, high); by default what the values need.
        letters: draw the first curve with a, the second with b, …: readable without colour and in ASCII.

    Returns:
        The rows, top first, with axes and a legend.
    """
    points = {
        name: [(float(x), float(y)) for x, y in zip(xs, ys) if math.isfinite(x) and math.isfinite(y)]
        for name, (xs, ys) in series.items()
    }
    everything = [point for curve in points.values() for point in curve]
    if not everything:
        return [Text(f"{y_label or 'chart'}: no finite value to draw")]
    x_low, x_high = min(x for x, _ in everything), max(x for x, _ in everything)
    y_low, y_high = y_range or (min(y for _, y in everything), max(y for _, y in everything))
    x_high, y_high = (x_high if x_high > x_low else x_low + 1), (y_high if y_high > y_low else y_low + 1)
    marks = {
        row: number(y_high + (y_low - y_high) * row / max(1, height - 1)) for row in (0, (height - 1) // 2, height - 1)
    }
    margin = max(map(len, marks.values())) + 2
    columns = max(8, width - margin - 1)
    grid: list[list[tuple[str, str]]] = [[(" ", "")] * columns for _ in range(height)]
    across, up = (1, 1) if letters else (2, 4)
    for index, curve in enumerate(points.values()):
        mask: dict[tuple[int, int], int] = {}
        for x, y in _path(curve, columns * across, (x_low, x_high), height * up, (y_low, y_high)):
            cell = (y // up, x // across)
            mask[cell] = mask.get(cell, 0) | _BITS[x % across][y % up]
        for (row, column), bits in mask.items():
            glyph = chr(ord("a") + index) if letters else chr(0x2800 + bits)
            grid[row][column] = (glyph, COLOURS[index % len(COLOURS)])
    return _framed(grid, points, marks, (x_low, x_high), x_label, y_label, letters)


def _path(
    curve: list[tuple[float, float]],
    columns: int,
    x_range: tuple[float, float],
    rows: int,
    y_range: tuple[float, float],
) -> list[tuple[int, int]]:
    """Every dot of the polyline through the points; row 0 is the top."""

    def place(x: float, y: float) -> tuple[int, int]:
        right = (x - x_range[0]) / (x_range[1] - x_range[0]) * (columns - 1)
        down = (1 - (min(max(y, y_range[0]), y_range[1]) - y_range[0]) / (y_range[1] - y_range[0])) * (rows - 1)
        return round(right), round(down)

    dots: list[tuple[int, int]] = []
    last: tuple[int, int] | None = None
    for point in curve:
        here = place(*point)
        if last is None:
            dots.append(here)
        else:
            steps = max(abs(here[0] - last[0]), abs(here[1] - last[1]), 1)
            for step in range(1, steps + 1):
                share = step / steps
                dots.append(
                    (round(last[0] + share * (here[0] - last[0])), round(last[1] + share * (here[1] - last[1])))
                )
        last = here
    return dots


def _framed(
    grid: list[list[tuple[str, str]]],
    points: Mapping[str, list[tuple[float, float]]],
    marks: Mapping[int, str],
    x_range: tuple[float, float],
    x_label: str,
    y_label: str,
    letters: bool,
) -> list[Text]:
    margin = max(map(len, marks.values())) + 2
    lines = [Text(" " * margin + y_label, style="dim")] if y_label else []
    for row, cells in enumerate(grid):
        line = Text(f"{marks.get(row, ''):>{margin - 1}} │", style="dim")
        for glyph, colour in cells:
            line.append(glyph, style=colour)
        lines.append(line)
    columns = len(grid[0])
    left, right = number(x_range[0]), number(x_range[1])
    lines.append(Text(" " * margin + "└" + "─" * columns, style="dim"))
    axis = f"{left}{x_label:^{max(0, columns - len(left) - len(right))}}{right}"
    lines.append(Text(" " * (margin + 1) + axis, style="dim"))
    for index, (name, curve) in enumerate(points.items()):
        legend = Text(" " * (margin + 1))
        glyph = chr(ord("a") + index) if letters else "──"
        legend.append(f"{glyph} ", style=COLOURS[index % len(COLOURS)])
        legend.append(
            f"{name}: {number(curve[0][1])} → {number(curve[-1][1])}" if curve else f"{name}: no finite value"
        )
        lines.append(legend)
    return lines
