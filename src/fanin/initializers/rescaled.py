"""Rescaled: another initializer times a factor that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import linear
from fanin.initializers._base import REGISTRY, Example, Initializer, number
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.fans import Fans
    from fanin.keys import Key

__all__ = ["Rescaled"]


class Rescaled(Initializer):
    """factor · W with W drawn by ``initializer`` under the same key: what a data-driven scheme leaves of its pass.

    Args:
        initializer: what is drawn.
        factor: what every entry is multiplied by; > 0.

    Raises:
        InputError: if ``initializer`` is none or ``factor`` not positive.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import LecunNormal
        >>> Rescaled(LecunNormal(), 3.0).std(linear((4, 36)))
        0.5

    Source: Mishkin & Matas (LSUV), ICLR 2016, for one.
    """

    source = "Mishkin & Matas (LSUV), ICLR 2016"
    formula = "factor · W, W by the initializer inside"

    def __init__(self, initializer: Initializer, factor: float) -> None:
        if not isinstance(initializer, Initializer):
            raise InputError.of("initializer", initializer, "an Initializer", "Rescaled")
        super().__init__(initializer=initializer, factor=number("Rescaled", "factor", factor, low=0, strict=True))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(REGISTRY["Orthogonal"](), 1.5), (40, 40), linear((40, 40))
        yield cls(REGISTRY["GlorotUniform"](), 0.25), (40, 160), linear((40, 160))
        yield cls(REGISTRY["TruncatedNormal"](mean=0.1, stddev=0.02), 3.0), (40, 160), linear((40, 160))

    @property
    def inner(self) -> Initializer:
        """What is drawn before it is multiplied."""
        found: Initializer = self.config["initializer"]
        return found

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        self.inner.validate(shape, fans)

    def law(self, fans: Fans) -> Law | None:
        law, factor = self.inner.law(fans), self.config["factor"]
        return None if law is None else Law(law.kind, law.location * factor, law.scale * factor, law.bound)

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        if self.law(fans) is not None:
            return super().draw(key, shape, fans)
        drawn: np.ndarray = self.inner.draw(key, shape, fans) * np.float32(self.config["factor"])
        return drawn

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self.config["factor"]) * self.inner.mean(fans, shape)

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self.config["factor"]) * self.inner.std(fans, shape)

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        low, high = self.inner.support(fans, shape)
        return low * float(self.config["factor"]), high * float(self.config["factor"])
