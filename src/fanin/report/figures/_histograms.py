"""Histograms as rows: exact zeros told apart from the rest, quantiles read off the bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.signals import Histogram, Signal

__all__ = ["outline", "quantile", "summary", "without_zeros"]


def without_zeros(histogram: Histogram, zero_fraction: float) -> list[float]:
    """Counts without the exact zeros: half of a ReLU's output would dwarf the rest of the picture."""
    counts = [float(count) for count in histogram.counts]
    if histogram.low <= 0.0 <= histogram.high and histogram.high > histogram.low:
        width = (histogram.high - histogram.low) / len(counts)
        at = min(len(counts) - 1, int(-histogram.low / width))
        counts[at] = max(0.0, counts[at] - zero_fraction * sum(counts))
    return counts


def outline(histogram: Histogram, heights: Sequence[float]) -> list[dict[str, float]]:
    """Corners of the bars from left to right, for a line of steps: x is the left edge of each bin, the last one closes.

    A constant becomes a bar of a little width, for one of none cannot be seen.
    """
    low, high = histogram.low, histogram.high
    if not high > low:
        low, high = low - 0.01 * max(abs(low), 1e-12), low + 0.01 * max(abs(low), 1e-12)
        heights = [max(heights)]
    width = (high - low) / len(heights)
    steps = [{"x": low + k * width, "height": round(height, 4)} for k, height in enumerate(heights)]
    return [*steps, {"x": high, "height": steps[-1]["height"]}]


def quantile(histogram: Histogram, share: float) -> float:
    """The value below which ``share`` of the mass lies, linear within a bin.

    Example:
        >>> from fanin.signals import Histogram
        >>> quantile(Histogram(0.0, 4.0, (1, 1, 1, 1)), 0.5)
        2.0
    """
    total, seen = sum(histogram.counts), 0.0
    width = (histogram.high - histogram.low) / len(histogram.counts)
    for k, count in enumerate(histogram.counts):
        if count and seen + count >= share * total:
            return histogram.low + width * (k + (share * total - seen) / count)
        seen += count
    return histogram.high


def summary(signal: Signal) -> dict[str, Any]:
    """The row of a table: spread, quantiles and shares."""
    histogram = signal.histogram
    low, middle, high = (None if histogram is None else quantile(histogram, share) for share in (0.05, 0.5, 0.95))
    return {
        "mean": signal.mean,
        "std": signal.std,
        "5 %": low,
        "50 %": middle,
        "95 %": high,
        "zeros": signal.zero_fraction,
        "saturated": signal.saturated_fraction,
    }
