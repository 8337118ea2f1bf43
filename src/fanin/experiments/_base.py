"""What an experiment is: a question, a known result, claims that numbers can contradict, a run that measures them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fanin._registry import Registry
from fanin.errors import InputError

if TYPE_CHECKING:
    from fanin.report.figures import Figure

__all__ = ["REGISTRY", "SIZES", "Checked", "Claim", "Experiment", "Measured", "Outcome", "Settings", "Verdict", "judge"]

T = TypeVar("T")

Size = Literal["full", "quick", "tiny"]
SIZES: tuple[Size, ...] = ("full", "quick", "tiny")
"""full: what the claims were made for; quick: about a fifth of it; tiny: it runs, the verdict means nothing."""

Verdict = Literal["reproduced", "partly", "not reproduced"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How an experiment is to be run.

    Args:
        size: "full", "quick" or "tiny".
        seed: of everything random; runs with several seeds count up from it.
        data: "mnist", "fashion-mnist" or "digits", for experiments that train.
        data_dir: folder of the image files; default: the environment variable FANIN_DATA, then ./data.
        jobs: worker processes for training; None for one.

    Raises:
        InputError: if the size is unknown or the seed is no integer in [0, 2^31).
    """

    size: Size = "full"
    seed: int = 0
    data: str = "mnist"
    data_dir: str | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise InputError.of("size", self.size, f"one of {', '.join(SIZES)}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 31:
            raise InputError.of("seed", self.seed, "an integer in [0, 2**31)")

    def pick(self, full: T, quick: T, tiny: T) -> T:
        """The value for this size."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    def seeds(self, count: int) -> tuple[int, ...]:
        """``count`` seeds from this one on."""
        return tuple(range(self.seed, self.seed + count))


@dataclass(frozen=True)
class Claim:
    """One sentence of a known result, as bounds on a number.

    Args:
        text: what is claimed.
        number: the measured number that decides.
        low: it holds where the number is at least this,
        high: and at most this.
        why: where the bounds come from.
    """

    text: str
    number: str
    low: float = -math.inf
    high: float = math.inf
    why: str = ""

    def holds(self, value: float) -> bool:
        """Whether the number is within bounds; NaN is not."""
        return self.low <= value <= self.high

    @property
    def criterion(self) -> str:
        """The bounds as text.

        Example:
            >>> Claim("halves", "factor", 0.45, 0.55).criterion, Claim("keeps", "ratio", low=0.5).criterion
            ('0.45 to 0.55', '≥ 0.5')
        """
        if self.low == self.high:
            return f"= {self.low:g}"
        if self.low == -math.inf:
            return f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Checked:
    """A claim, the number that was measured, and whether it holds."""

    claim: Claim
    value: float
    holds: bool


@dataclass(frozen=True)
class Measured:
    """What a run of an experiment brings home.

    Args:
        rows: the table; plain values, one mapping per row.
        numbers: name → number; all that the claims refer to, and what else is worth telling.
        figures: name → picture.
        data: what it was measured on, in words.
        notes: what the reader should know.
    """

    rows: Sequence[Row]
    numbers: Mapping[str, float]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    data: str = "random inputs"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """An experiment that was run.

    Args:
        experiment: which.
        settings: how.
        measured: rows, numbers, figures.
        checked: each claim beside its number.
        seconds: wall clock.
        cpu_seconds: of this process (not of worker processes).
    """

    experiment: Experiment
    settings: Settings
    measured: Measured
    checked: tuple[Checked, ...]
    seconds: float
    cpu_seconds: float

    @property
    def verdict(self) -> Verdict:
        """ "reproduced" where every claim holds, "not reproduced" where none does, else "partly"."""
        held = [entry.holds for entry in self.checked]
        return "reproduced" if all(held) else "partly" if any(held) else "not reproduced"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without rows and pictures; numbers that are not finite become their names."""
        experiment, settings = self.experiment, self.settings
        return {
            "name": experiment.name,
            "question": experiment.question,
            "known": experiment.known,
            "source": experiment.source,
            "verdict": self.verdict,
            "claims": [
                {
                    "text": entry.claim.text,
                    "number": entry.claim.number,
                    "measured": _plain(entry.value),
                    "criterion": entry.claim.criterion,
                    "why": entry.claim.why,
                    "holds": entry.holds,
                }
                for entry in self.checked
            ],
            "numbers": {name: _plain(value) for name, value in self.measured.numbers.items()},
            "data": self.measured.data,
            "notes": list(self.measured.notes),
            "size": settings.size,
            "seed": settings.seed,
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
        }


def _plain(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def judge(claims: Sequence[Claim], numbers: Mapping[str, float]) -> tuple[Checked, ...]:
    """Put each claim beside its number; nothing but the numbers decides.

    Args:
        claims: what is claimed.
        numbers: name → measured number.

    Raises:
        KeyError: if a claim refers to a number that was not measured.

    Example:
        >>> claims = [Claim("the signal halves at each layer", "factor", 0.45, 0.55)]
        >>> [entry.holds for value in (0.5, 0.9) for entry in judge(claims, {"factor": value})]
        [True, False]
    """
    return tuple(Checked(claim, numbers[claim.number], claim.holds(numbers[claim.number])) for claim in claims)


@dataclass(frozen=True)
class Experiment:
    """One classic result, run again.

    Args:
        name: as in ``fanin experiment NAME``.
        question: what it asks, in one sentence.
        known: the result to be reproduced.
        source: who published it.
        claims: the known result as sentences with numbers.
        measure: settings → what was measured.
    """

    name: str
    question: str
    known: str
    source: str
    claims: tuple[Claim, ...]
    measure: Callable[[Settings], Measured]

    def run(self, settings: Settings | None = None) -> Outcome:
        """Measure, then judge; torch's random state is as before afterwards.

        Args:
            settings: how; full size by default.
        """
        import torch

        settings = Settings() if settings is None else settings
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.random.fork_rng(devices=[]):  # constructors of layers draw from the global generator
            torch.default_generator.manual_seed(settings.seed)
            measured = self.measure(settings)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        return Outcome(self, settings, measured, judge(self.claims, measured.numbers), seconds, cpu_seconds)


REGISTRY: Registry[Experiment] = Registry("experiment")
