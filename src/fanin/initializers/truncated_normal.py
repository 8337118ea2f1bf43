"""TruncatedNormal: Gaussian entries without the tails, of exact standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, number, spread
from fanin.initializers._entrywise import Entrywise, spread_law, truncation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.keys import Law

__all__ = ["TruncatedNormal"]


class TruncatedNormal(Entrywise):
    """A Gaussian conditioned on |W − mean| <= bound·σ, with σ chosen so that the std is exactly ``stddev``.

    σ = stddev / √(1 − 2cφ(c)/(2Φ(c) − 1)) with c = bound. Libraries differ here: keras' and jax' TruncatedNormal take
    σ (their realised std is 0.8796·σ at c = 2; use :meth:`of_parent`), torch's bounds are absolute numbers.

    Args:
        mean: mean of an entry.
        stddev: exact standard deviation of an entry; >= 0.
        bound: c, where the parent Gaussian is cut, in its own standard deviations; > 0.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` is negative, ``bound`` not positive, or a number not finite.

    Example:
        >>> from fanin.fans import linear
        >>> cut = TruncatedNormal(stddev=0.02)
        >>> cut.std(linear((4, 8))), round(cut.support(linear((4, 8)))[1], 6)
        (0.02, 0.045474)

    Source: Johnson, Kotz & Balakrishnan, 1994 (moments); practice since TensorFlow.
    """

    source = "Johnson, Kotz & Balakrishnan, 1994 (moments); practice since TensorFlow"
    formula = "W ~ N(mean, σ²) given |W − mean| <= bound·σ, σ set so that std(W) = stddev"

    def __init__(
        self, mean: float = 0.0, stddev: float | None = None, bound: float = 2.0, *, std: float | None = None
    ) -> None:
        super().__init__(
            mean=number("TruncatedNormal", "mean", mean),
            stddev=spread("TruncatedNormal", stddev, std, 0.05),
            bound=number("TruncatedNormal", "bound", bound, low=0, strict=True),
        )

    @classmethod
    def of_parent(cls, stddev: float, bound: float = 2.0, mean: float = 0.0) -> TruncatedNormal:
        """From the standard deviation before the cut, as keras and jax count it.

        Example:
            >>> TruncatedNormal.of_parent(0.02)
            TruncatedNormal(mean=0, stddev=0.0175925, bound=2)
        """
        return cls(mean, number(cls.__name__, "stddev", stddev, low=0) * truncation(bound), bound)

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.1, 0.02), (80, 90), linear((80, 90))
        yield cls(0.0, 1.0, bound=0.5), (80, 90), linear((80, 90))
        yield cls(0.0, 1.0, bound=3.0), (80, 90), linear((80, 90))

    def law(self, fans: Fans) -> Law:
        return spread_law("truncated_normal", self.config["mean"], self.config["stddev"], self.config["bound"])

    def std(self, fans: Fans, shape: object = None) -> float:
        return float(self.config["stddev"])
