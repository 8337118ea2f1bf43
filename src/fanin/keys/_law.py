"""Law: the distribution of one entry, the same for every backend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fanin.errors import InputError

__all__ = ["Law"]

Kind = Literal["constant", "uniform", "normal", "truncated_normal"]


@dataclass(frozen=True)
class Law:
    """Entry = location + scale · z, with z drawn from a standard distribution.

    Args:
        kind: "constant" (z = 0), "uniform" (z in [0, 1)), "normal" (z ~ N(0,1)) or "truncated_normal"
            (z ~ N(0,1) conditioned on |z| <= bound; not rescaled).
        location: float added.
        scale: float that multiplies; >= 0.
        bound: only for "truncated_normal": the bound in units of the parent's standard deviation.
    """

    kind: Kind
    location: float = 0.0
    scale: float = 0.0
    bound: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in ("constant", "uniform", "normal", "truncated_normal"):
            raise InputError.of("kind", self.kind, "constant, uniform, normal or truncated_normal", "Law")
        if not math.isfinite(self.location):
            raise InputError.of("location", self.location, "a finite number", "Law")
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise InputError.of("scale", self.scale, "a finite number >= 0", "Law")
        if self.kind == "truncated_normal" and not (0 < self.bound < math.inf):
            raise InputError.of("bound", self.bound, "a finite number > 0, in standard deviations", "Law")
