"""A law in float32: the numbers that a backend needs, computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.keys._law import Law

__all__ = ["Plan", "plan"]

_NARROW_ENDS, _CENTRE_ENDS = 2.0, 2.9  # where the fits of _coefficients.py end; t = 10 is |z| = 2.93


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of a law that a transform reads, in float32.

    Args:
        kind: as in :class:`Law`.
        location: nearest to the law's.
        scale: nearest to the law's.
        low: smallest value allowed; what lies outside is cut. -inf where nothing is.
        high: largest value allowed.
        step: uniform: scale / 2^24. Truncated normal: 2 P / 2^31, with P = P(|Z| < bound).
        inside: truncated normal: scale · P / 2^31.
        outside: truncated normal: 2 (1 - P) + P / 2^31, where 1 - P is computed without cancellation.
        clip: whether cutting to [low, high] can change a value.
        reach: which form of the inverse a truncated normal needs: 0 up to a bound of 2, 1 up to 2.9, 2 beyond.
        exact: the location in float64, which a constant uses.
    """

    kind: str
    location: np.float32
    scale: np.float32
    low: np.float32
    high: np.float32
    step: np.float32
    inside: np.float32
    outside: np.float32
    clip: bool
    reach: int
    exact: float


@lru_cache(maxsize=4096)
def plan(law: Law) -> Plan:
    """The float32 numbers of ``law``.

    Raises:
        InputError: if the law's values leave the range of float32.
    """
    largest = {"constant": 0.0, "uniform": 1.0, "normal": 6.8, "truncated_normal": min(law.bound, 6.8)}[law.kind]
    if law.kind != "constant" and abs(law.location) + law.scale * largest > float(np.finfo(np.float32).max):
        raise InputError.of("scale", law.scale, "values within the range of float32", "Law")
    step = inside = outside = 0.0
    low, high, clip, reach = np.float32(-math.inf), np.float32(math.inf), False, 0
    with np.errstate(over="ignore", under="ignore"):
        location, scale = np.float32(law.location), np.float32(law.scale)
        if law.kind == "uniform":
            # [low, high): rounding location + scale · u may reach the upper end, which is then cut to the value below.
            step = float(scale) / 2**24
            low, above = location, np.float32(law.location + law.scale)
            high = max(location, np.nextafter(above, np.float32(-math.inf)))
            clip = bool(np.float32(float(location) + step * (2**24 - 1)) > high)
        elif law.kind == "truncated_normal":
            probability, rest = math.erf(law.bound / math.sqrt(2)), math.erfc(law.bound / math.sqrt(2))
            step, inside = probability / 2**30, law.scale * probability / 2**31
            outside = 2 * rest + probability / 2**31
            low = np.float32(law.location - law.scale * law.bound)
            high = np.float32(law.location + law.scale * law.bound)
            clip = True
            reach = int(law.bound > _NARROW_ENDS) + int(law.bound > _CENTRE_ENDS)
        return Plan(
            law.kind,
            location,
            scale,
            low,
            high,
            np.float32(step),
            np.float32(inside),
            np.float32(outside),
            clip,
            reach,
            law.location,
        )
