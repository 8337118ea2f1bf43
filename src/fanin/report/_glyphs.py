"""Numbers as short strings: sparklines, positions on a scale, numerals that fit a column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.signals import Histogram

__all__ = ["decades", "dot", "number", "rebin", "sparkline", "spread"]

LEVELS = "▁▂▃▄▅▆▇█"


def number(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits that is never wider than digits + 7.

    Example:
        >>> [number(x) for x in (0.0123, 1.0, 12345.0, 3.2e-9, float("nan"), 0.0, None)]
        ['0.0123', '1', '1.23e4', '3.2e-9', 'nan', '0', '-']
    """
    if value is None:
        return "-"
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"


def rebin(counts: Sequence[float], width: int) -> list[float]:
    """The same mass in ``width`` equal bins; a bin that straddles two is shared in proportion.

    Example:
        >>> rebin([1, 2, 3, 4], 2)
        [3.0, 7.0]
        >>> rebin([3, 3], 3)
        [2.0, 2.0, 2.0]
    """
    result = [0.0] * width
    step = width / len(counts)
    for index, count in enumerate(counts):
        start, stop = index * step, (index + 1) * step
        cell = int(start)
        while cell < stop - 1e-9 and cell < width:
            overlap = min(stop, cell + 1) - max(start, cell)
            result[cell] += count * overlap / step
            cell += 1
    return [round(value, 9) for value in result]


def sparkline(values: Sequence[float], *, top: float | None = None) -> str:
    """One character per value, its height in eighths of the largest; blank where a value is 0 or not finite.

    Example:
        >>> sparkline([0, 1, 4, 8])
        ' ▁▄█'
    """
    finite = [value for value in values if math.isfinite(value)]
    top = max(finite, default=0.0) if top is None else top
    if top <= 0:
        return " " * len(values)

    def level(value: float) -> str:
        if not math.isfinite(value) or value <= 0:
            return " "
        return LEVELS[min(7, max(0, math.ceil(value / top * 8) - 1))]

    return "".join(level(value) for value in values)


def spread(histogram: Histogram, low: float, high: float, width: int) -> list[float]:
    """A histogram laid over a range of its own choice: mass per cell; mass outside goes to the outermost cells."""
    cells = [0.0] * width
    bins = len(histogram.counts)
    step = (histogram.high - histogram.low) / bins
    for index, count in enumerate(histogram.counts):
        if not count:
            continue
        start = histogram.low + index * step
        position = (start - low) / (high - low) * width
        stop = (start + step - low) / (high - low) * width
        first, last = (min(width - 1, max(0, math.floor(edge))) for edge in (position, stop - 1e-9))
        last = max(first, last)
        if first == last:
            cells[first] += count
            continue
        for cell in range(first, last + 1):
            left = position if cell == first else cell
            right = stop if cell == last else cell + 1
            cells[cell] += count * max(0.0, right - left) / (stop - position)
    return cells


def decades(values: Sequence[float | None]) -> tuple[int, int]:
    """Powers of ten that hold all positive finite values, at least four decades wide."""
    logs = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    low = math.floor(min(logs, default=-2.0))
    high = math.ceil(max(logs, default=2.0))
    while high - low < 4:  # so that a healthy model's small differences look small
        low, high = (low - 1, high) if (high - low) % 2 else (low, high + 1)
    return low, high


def dot(value: float | None, scale: tuple[int, int], width: int) -> str:
    """A value as a dot on a logarithmic track; an arrow where it is 0 or infinite, blank where there is none.

    Example:
        >>> dot(1.0, (-2, 2), 9)
        '····●····'
    """
    if value is None or math.isnan(value) or width < 2:
        return " " * width
    track = ["·"] * width
    if value == 0:
        return "◂" + "".join(track[1:])
    if math.isinf(value):
        return "".join(track[1:]) + "▸"
    low, high = scale
    position = round((math.log10(abs(value)) - low) / (high - low) * (width - 1))
    track[min(width - 1, max(0, position))] = "●"
    return "".join(track)
