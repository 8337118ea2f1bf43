"""Initializers whose entries are independent and share one law: moments follow from the law."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers._base import Initializer, choice
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.fans import Fans

__all__ = ["DISTRIBUTIONS", "Entrywise", "Scaled", "distribution", "spread_law", "truncation"]

DISTRIBUTIONS = ("normal", "truncated_normal", "uniform")

BOUND = 2.0
"""Truncation of variance scaling, in standard deviations of the parent, as in keras and jax."""


def truncation(bound: float) -> float:
    """Standard deviation of z ~ N(0,1) conditioned on |z| <= bound: √(1 − 2cφ(c) / (2Φ(c) − 1)).

    Example:
        >>> round(truncation(2.0), 12)
        0.879625661034

    Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994), §10.1.
    """
    if bound > 1:
        density = math.exp(-bound * bound / 2) / math.sqrt(2 * math.pi)
        return math.sqrt(1 - 2 * bound * density / math.erf(bound / math.sqrt(2)))
    # The closed form cancels for small bounds; both integrals of the Taylor series of exp(−z²/2) do not.
    terms = [(-bound * bound / 2) ** k / math.factorial(k) for k in range(18)]
    second = sum(term / (2 * k + 3) for k, term in enumerate(terms))
    return bound * math.sqrt(second / sum(term / (2 * k + 1) for k, term in enumerate(terms)))


def distribution(owner: str, value: str) -> str:
    """The canonical name of a distribution; keras calls the plain normal "untruncated_normal"."""
    return choice(owner, "distribution", value, DISTRIBUTIONS, {"untruncated_normal": "normal"})


def spread_law(kind: str, mean: float, std: float, bound: float = BOUND) -> Law:
    """The law of the named distribution with exactly this mean and standard deviation."""
    if kind == "uniform":
        return Law("uniform", mean - math.sqrt(3) * std, 2 * math.sqrt(3) * std)
    if kind == "truncated_normal":
        return Law("truncated_normal", mean, std / truncation(bound), bound)
    return Law("normal", mean, std)


class Entrywise(Initializer):
    """Independent entries of one law: a subclass writes ``law`` and gets exact moments and shard-local fills."""

    @abstractmethod
    def law(self, fans: Fans) -> Law:
        """The law of one entry."""

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        law = self.law(fans)
        return law.location + (law.scale / 2 if law.kind == "uniform" else 0.0)

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        law = self.law(fans)
        if law.kind == "truncated_normal":
            return law.scale * truncation(law.bound)
        return law.scale * {"constant": 0.0, "uniform": 1 / math.sqrt(12), "normal": 1.0}[law.kind]

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        law = self.law(fans)
        if law.kind == "constant" or law.scale == 0:
            return law.location, law.location
        if law.kind == "uniform":
            return law.location, law.location + law.scale
        return law.location - law.bound * law.scale, law.location + law.bound * law.scale


class Scaled(Entrywise):
    """Entries of mean 0 whose variance follows from the fans: a subclass writes ``variance``.

    The distribution is the argument ``distribution`` where the subclass has one, else the class attribute ``kind``.
    """

    kind = "normal"

    @abstractmethod
    def variance(self, fans: Fans) -> float:
        """Exact variance of an entry."""

    def law(self, fans: Fans) -> Law:
        return spread_law(str(self.config.get("distribution", self.kind)), 0.0, math.sqrt(self.variance(fans)))

    def over(self, fan: float, name: str) -> float:
        """1 / fan, or an error that names the fan that is zero."""
        if fan <= 0:
            raise InputError.of(name, fan, "a fan > 0 to divide by", type(self).__name__)
        return 1.0 / fan
