"""Curve: how one training went."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Curve"]


@dataclass(frozen=True)
class Curve:
    """How one training went.

    Args:
        steps: number of the step, from 1, for each entry of ``losses``.
        losses: training loss of that step's batch, before the update.
        test_steps: number of updates done at each test; the first is 0, before training.
        test_losses: mean loss over the test part.
        test_accuracies: share of the test part classified correctly; empty for a regression or without a test part.
        diverged: True where the loss stopped being finite; training ended there and nothing was tested after it.
        seed: of the order of batches and of dropout.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    test_steps: tuple[int, ...] = ()
    test_losses: tuple[float, ...] = ()
    test_accuracies: tuple[float, ...] = ()
    diverged: bool = False
    seed: int = 0

    @property
    def test_accuracy(self) -> float | None:
        """The last one; None where there is none, or where training diverged."""
        return None if self.diverged or not self.test_accuracies else self.test_accuracies[-1]

    def smoothed(self, window: int = 20) -> tuple[float, ...]:
        """Training losses as running means over up to ``window`` steps."""
        return tuple(
            sum(self.losses[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(self.losses))
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a loss that is not finite becomes None."""
        return {
            key: [_finite(entry) for entry in value] if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Curve:
        """Inverse of :meth:`to_json` (None becomes NaN)."""
        fields: dict[str, Any] = {
            key: tuple(math.nan if entry is None else entry for entry in value) if isinstance(value, list) else value
            for key, value in data.items()
        }
        return cls(**fields)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
