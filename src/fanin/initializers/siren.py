"""SirenFirst, SirenHidden, FourierFeatures: networks that represent signals over coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.fans import Fans, linear
from fanin.initializers._base import Example, number, spread
from fanin.initializers._entrywise import Entrywise, Scaled
from fanin.keys import Law

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FourierFeatures", "SirenFirst", "SirenHidden"]


class SirenFirst(Scaled):
    """First layer of a SIREN, sin(ω₀(Wx + b)) with inputs in [−1, 1]: W ~ U(±1/fan_in).

    Example:
        >>> from fanin.fans import linear
        >>> round(SirenFirst().support(linear((64, 2)))[1], 12)
        0.5

    Source: Sitzmann et al., NeurIPS 2020.
    """

    source = "Sitzmann et al., NeurIPS 2020"
    formula = "W ~ U(±1/fan_in)"
    min_rank = 1
    kind = "uniform"

    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (400, 3), linear((400, 3))

    def variance(self, fans: Fans) -> float:
        return self.over(fans.fan_in, "fan_in") ** 2 / 3


class SirenHidden(Scaled):
    """Hidden and last layers of a SIREN: W ~ U(±√(6/fan_in)/omega), with the omega of the layer's own sine.

    ω₀·Wx then has variance 2·E sin², whose fixed point is q = 1 − e^(−2q) = 0.7968.

    Args:
        omega: ω₀ of the forward sin(ω₀(Wx + b)); > 0.

    Raises:
        InputError: if ``omega`` is not positive; on use, if fan_in is 0.

    Example:
        >>> from fanin.fans import linear
        >>> round(SirenHidden(30.0).support(linear((64, 6)))[1], 6)
        0.033333

    Source: Sitzmann et al., NeurIPS 2020.
    """

    source = "Sitzmann et al., NeurIPS 2020"
    formula = "W ~ U(±√(6/fan_in)/omega)"
    min_rank = 1
    kind = "uniform"

    def __init__(self, omega: float = 30.0) -> None:
        super().__init__(omega=number("SirenHidden", "omega", omega, low=0, strict=True))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (90, 64), linear((90, 64))

    def variance(self, fans: Fans) -> float:
        return 2 * self.over(fans.fan_in, "fan_in") / float(self.config["omega"]) ** 2


class FourierFeatures(Entrywise):
    """The frozen frequencies B of [cos 2πBx, sin 2πBx]: N(0, stddev²).

    The kernel of the features depends on x − x′ only; a small stddev blurs, a large one is noise, so it is tuned.

    Args:
        stddev: bandwidth, in cycles per unit of the coordinates; >= 0. 10 in the paper's image task.
        std: another name for ``stddev``.

    Raises:
        InputError: if ``stddev`` is negative.

    Example:
        >>> from fanin.fans import linear
        >>> FourierFeatures(10.0).std(linear((256, 2)))
        10.0

    Source: Tancik et al., NeurIPS 2020.
    """

    source = "Tancik et al., NeurIPS 2020"
    formula = "B ~ N(0, stddev²)"

    def __init__(self, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(stddev=spread("FourierFeatures", stddev, std, 10.0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (256, 8), linear((256, 8))

    def law(self, fans: Fans) -> Law:
        return Law("normal", 0.0, self.config["stddev"])
