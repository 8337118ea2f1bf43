"""Checkpoints of a job that is under way, so that an interruption costs seconds, not the job."""

from __future__ import annotations

import io
import random
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["EVERY", "TABLE", "Checkpoint", "random_states", "set_random_states"]

EVERY = 5.0
"""Seconds between two checkpoints: about what an interruption costs."""

_SHARE = 0.05
"""Share of the time that writing checkpoints may take: those of large models come less often."""

TABLE = "CREATE TABLE IF NOT EXISTS partial (job TEXT PRIMARY KEY, state BLOB NOT NULL)"


@dataclass
class Checkpoint:
    """Where one job puts its state.

    A worker that does not see the file (on another machine) keeps no checkpoints; its job then starts again.

    Args:
        path: of the store.
        job: key of the job: what determines its runs, and which they are.
        resume: whether to go on from a state that is there.
        last: when it was last saved.
        cost: seconds that took.
    """

    path: Path
    job: str
    resume: bool = True
    last: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is none."""
        if not (self.resume and self.path.is_file()):
            return None
        with closing(self._open()) as file:
            row = file.execute("SELECT state FROM partial WHERE job = ?", (self.job,)).fetchone()
        # weights_only: a store may come from somebody else, and unpickling could run code.
        return None if row is None else torch.load(io.BytesIO(row[0]), weights_only=True)

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self.last >= max(EVERY, self.cost / _SHARE) and self.path.is_file()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state of this job."""
        begin = time.monotonic()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with closing(self._open()) as file, file:
            file.execute("INSERT OR REPLACE INTO partial VALUES (?, ?)", (self.job, buffer.getvalue()))
        self.last = time.monotonic()
        self.cost = self.last - begin

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)


def random_states() -> dict[str, Any]:
    """The global generators, as values that :func:`torch.load` reads without running code."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "python": random.getstate(),
        "numpy": [str(kind), [int(key) for key in keys], *map(float, rest)],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Inverse of :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), int(position), int(has_gauss), gauss))
