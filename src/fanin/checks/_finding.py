"""The records that checking leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding", "Outcome", "Severity"]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where, and what to do.

    Args:
        code: rule code, such as "F101".
        category: the kind of fault in one word ("vanishing").
        severity: "error" (training will fail or be badly slowed), "warning" (likely harm), "info".
        where: module path or parameter name of the first place; "" for the whole model, "input", "output".
        message: what was found, with numbers and units.
        fix: what to do.
        evidence: the numbers behind it, plain JSON values.
        also: further places with the same fault.
    """

    code: str
    category: str
    severity: Severity
    where: str
    message: str
    fix: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "code": self.code,
            "category": self.category,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "fix": self.fix,
            "evidence": {key: _plain(value) for key, value in self.evidence.items()},
            "also": list(self.also),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """Inverse of :meth:`to_json`."""
        return cls(**{**data, "also": tuple(data["also"])})


@dataclass(frozen=True)
class Outcome:
    """What one rule said: "passed", "failed" or "skipped" with the evidence that was lacking."""

    code: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value
