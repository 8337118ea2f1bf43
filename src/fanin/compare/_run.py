"""Run: one training and what determined it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fanin.compare._curve import Curve

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        scheme: name of the start.
        lr: learning rate.
        seed: of the weights, the order of batches and dropout.
        steps: number of updates it was given.
        curve: how it went.
        together: True where it was trained in one stack with others.
        probes: (updates done, what the probe returned), in order.
    """

    scheme: str
    lr: float
    seed: int
    steps: int
    curve: Curve
    together: bool = False
    probes: tuple[tuple[int, Any], ...] = ()

    @property
    def diverged(self) -> bool:
        """The loss stopped being finite."""
        return self.curve.diverged

    @property
    def window(self) -> int:
        """Updates over which training losses are averaged: a fifth of the budget, at most 20."""
        return min(20, max(1, self.steps // 5))

    @property
    def final_loss(self) -> float:
        """Mean training loss of the last :attr:`window` updates; inf where the run diverged."""
        return math.inf if self.diverged else sum(self.curve.losses[-self.window :]) / self.window

    @property
    def test_loss(self) -> float | None:
        """Test loss at the end; inf where the run diverged, None without a test part."""
        if not self.curve.test_losses:
            return None
        return math.inf if self.diverged else self.curve.test_losses[-1]

    @property
    def test_accuracy(self) -> float | None:
        """Test accuracy at the end; 0 where the run diverged, None without a test part or classes."""
        if not self.curve.test_accuracies:
            return None
        return 0.0 if self.diverged else self.curve.test_accuracies[-1]

    def steps_to(self, target: float, kind: str = "train_loss") -> float:
        """Updates until a target was met for the first time; inf where it never was.

        Args:
            target: the value to reach.
            kind: "train_loss" (running mean of :attr:`window` updates), "test_loss" or "test_accuracy" (as often as was
                tested).
        """
        curve = self.curve
        if kind == "train_loss":
            smooth = zip(curve.steps, curve.smoothed(self.window))
            reached = (step for step, value in smooth if step >= self.window and value <= target)
        elif kind == "test_loss":
            reached = (step for step, value in zip(curve.test_steps, curve.test_losses) if value <= target)
        else:
            reached = (step for step, value in zip(curve.test_steps, curve.test_accuracies) if value >= target)
        return next(map(float, reached), math.inf)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "curve": self.curve.to_json(), "probes": [list(entry) for entry in self.probes]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        """Inverse of :meth:`to_json`."""
        probes = tuple((step, value) for step, value in data.get("probes", ()))
        return cls(**{**data, "curve": Curve.from_json(data["curve"]), "probes": probes})
