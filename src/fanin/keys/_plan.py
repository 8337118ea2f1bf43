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


@dataclass(frozen=True, slots=True)
class Plan:
    """value = min(max(fma(scale, z, location), low), high), all float32.

    Args:
        kind: as in :class:`Law`.
        location: float32 nearest to the law's.
        scale: float32 nearest to the law's.
        low: smallest value allowed; -inf where nothing is cut.
        high: largest value allowed.
        inside: erf(bound / √2) of a truncated normal, else 1.
        outside: erfc(bound / √2) of a truncated normal, else 0.
        exact: the location in float64, which a constant uses.
    """

    kind: str
    location: np.float32
    scale: np.float32
    low: np.float32
    high: np.float32
    inside: np.float32
    outside: np.float32
    exact: float


@lru_cache(maxsize=4096)
def plan(law: Law) -> Plan:
    """The float32 numbers of ``law``.

    Raises:
        InputError: if the law's values leave the range of float32.
    """
    reach = law.bound if law.kind == "truncated_normal" else {"constant": 0.0, "uniform": 1.0, "normal": 6.8}[law.kind]
    largest = max(abs(law.location), abs(law.location) + law.scale * min(reach, 6.8))
    if law.kind != "constant" and largest > float(np.finfo(np.float32).max):
        raise InputError.of("scale", law.scale, "values within the range of float32", "Law")
    inside, outside = 1.0, 0.0
    low, high = np.float32(-math.inf), np.float32(math.inf)
    with np.errstate(over="ignore", under="ignore"):
        location, scale = np.float32(law.location), np.float32(law.scale)
        if law.kind == "uniform":
            # [low, high): rounding scale · u + location may reach the upper end, which is then cut to the value below
            low = location
            high = max(location, np.nextafter(np.float32(law.location + law.scale), np.float32(-math.inf)))
        elif law.kind == "truncated_normal":
            inside, outside = math.erf(law.bound / math.sqrt(2)), math.erfc(law.bound / math.sqrt(2))
            low = np.float32(law.location - law.scale * law.bound)
            high = np.float32(law.location + law.scale * law.bound)
    return Plan(law.kind, location, scale, low, high, np.float32(inside), np.float32(outside), law.location)
