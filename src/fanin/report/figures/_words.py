"""Findings in words: the titles of figures that follow a value through the depth of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanin.report._glyphs import number

__all__ = ["Trend", "across", "journey", "trend"]

DECADE = 10.0
"""A total change below one decade reads as "stays": deep healthy networks drift that much by chance."""

STEADY = 0.9
"""Share of the variance of log(value) that a straight line must explain before one factor per layer is quoted."""


@dataclass(frozen=True)
class Trend:
    """How a positive value changes with depth.

    Args:
        first: its first positive finite value.
        last: its last.
        low: its smallest.
        high: its largest.
        factor: factor per layer where the change is geometric, else None.
        layers: number of places.
        zero: index of the first place where it is exactly 0, or None.
        zeros: number of such places.
        broken: index of the first place where it is not finite, or None.
    """

    first: float
    last: float
    low: float
    high: float
    factor: float | None
    layers: int
    zero: int | None
    zeros: int
    broken: int | None


def trend(values: Sequence[float | None]) -> Trend:
    """Measure the trend; None counts as not finite.

    Example:
        >>> t = trend([1.0, 0.5, 0.25, 0.125])
        >>> t.factor, t.last
        (0.5, 0.125)
    """
    usable = [(i, v) for i, v in enumerate(values) if v is not None and math.isfinite(v) and v > 0]
    zeros = [i for i, v in enumerate(values) if v == 0]
    broken = next((i for i, v in enumerate(values) if v is None or not math.isfinite(v)), None)
    numbers = [v for _, v in usable] or [math.nan]
    return Trend(
        numbers[0],
        numbers[-1],
        min(numbers),
        max(numbers),
        _factor(usable),
        len(values),
        zeros[0] if zeros else None,
        len(zeros),
        broken,
    )


def _factor(points: Sequence[tuple[int, float]]) -> float | None:
    """exp of the slope of a least-squares line through log(value), where that line fits."""
    if len(points) < 3:
        return None
    x = [float(i) for i, _ in points]
    y = [math.log(v) for _, v in points]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    sxx = sum((a - mx) ** 2 for a in x)
    sxy = sum((a - mx) * (b - my) for a, b in zip(x, y))
    syy = sum((b - my) ** 2 for b in y)
    slope = sxy / sxx
    if syy == 0:
        return 1.0
    return round(math.exp(slope), 12) if slope * sxy / syy >= STEADY else None


def journey(what: str, values: Sequence[float | None], names: Sequence[str], *, way: str = "over") -> str:
    """One sentence on a value that was followed from place to place.

    Args:
        what: the subject, "The gradient".
        values: in the order of the journey.
        names: of the places.
        way: "over" or "back through".

    Example:
        >>> journey("The signal", [1.0, 0.5, 0.25, 0.125, 0.0625], list("abcde"))
        'The signal halves at each layer: 1 → 0.062 over 5 layers'
    """
    if not values:
        return f"{what}: nothing was measured"
    t = trend(values)
    layers = f"{t.layers} layer{'' if t.layers == 1 else 's'}"
    if t.broken is not None:
        return f"{what} is not finite from layer {t.broken + 1} ({names[t.broken]}) on"
    if t.zeros == t.layers:
        return f"{what} is exactly zero everywhere"
    if t.zero is not None:
        return f"{what} is exactly zero at {t.zeros} of {layers}, first at {names[t.zero]}"
    if t.high / t.low < DECADE:
        return f"{what} stays between {number(t.low, 2)} and {number(t.high, 2)} {way} {layers}"
    if t.factor is not None and max(t.first / t.last, t.last / t.first) >= DECADE:
        return f"{what} {_pace(t.factor)}: {number(t.first, 2)} → {number(t.last, 2)} {way} {layers}"
    worst = values.index(t.low if t.first / t.low > t.high / t.first else t.high)
    verb = "falls" if values[worst] == t.low else "rises"
    return f"{what} {verb} to {number(values[worst], 2)} at {names[worst]}; it starts at {number(t.first, 2)}"


def _pace(factor: float) -> str:
    if 0.45 <= factor <= 0.55:
        return "halves at each layer"
    if 1.9 <= factor <= 2.1:
        return "doubles at each layer"
    return f"{'shrinks' if factor < 1 else 'grows'} ×{number(factor, 2)} a layer"


def across(what: str, ends: dict[str, Any], layers: int) -> str:
    """One sentence that compares where several series end.

    Example:
        >>> across("Gradient at the first layer", {"he": 0.1, "xavier": 1e-9}, 30)
        'Gradient at the first layer of 30: 0.1 with he, 1e-9 with xavier'
    """
    shown = list(ends.items())
    if len(shown) > 3:
        ranked = sorted(shown, key=lambda item: -math.inf if item[1] is None else item[1])
        shown = [ranked[-1], ranked[0]]
    words = ", ".join(f"{'not finite' if end is None else number(end, 2)} with {name}" for name, end in shown)
    return f"{what} of {layers}: {words}"
