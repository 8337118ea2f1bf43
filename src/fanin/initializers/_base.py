"""Initializer: a frozen description of what one tensor may start as."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from fanin._registry import Registry
from fanin.errors import InputError
from fanin.fans import Fans
from fanin.keys import Key, Law, sample

__all__ = ["REGISTRY", "Example", "Initializer", "choice", "number", "spread", "whole"]


class Initializer(ABC):
    """A frozen value: a class and its arguments; equal when both are.

    A subclass passes its validated arguments to ``super().__init__``; they are what ``repr``, equality and JSON see.
    It defines the exact ``mean``, ``std`` and ``support`` of an entry, and either ``law`` (every entry is drawn
    alone, so any slice can be filled anywhere) or ``draw`` (the tensor is one object, such as an orthogonal matrix).
    Where entries share one law, derive from ``Entrywise`` and write ``law`` only; where only the variance depends on
    the fans, from ``Scaled`` and write ``variance`` only.

    Class attributes:
        source: authors and year of the method.
        formula: the distribution in one line of plain text.
        min_rank: smallest rank of tensor it makes sense for.
        max_rank: largest.
    """

    source: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    min_rank: ClassVar[int] = 0
    max_rank: ClassVar[float] = math.inf

    def __init__(self, **config: Any) -> None:
        object.__setattr__(self, "config", MappingProxyType(config))

    config: Mapping[str, Any]

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterator[Example]:
        """Instances, each with a shape and fans that it can fill; the conformance tests and the docs walk them."""

    @abstractmethod
    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        """Exact mean of an entry; for entries of unequal means, their average over the tensor.

        Args:
            fans: the fans and axes of the place.
            shape: shape of the full tensor; only needed where the fans do not determine the answer (such as a
                matrix law of a convolution, whose fans hold the window's size only as a factor).

        Raises:
            InputError: if the answer depends on the shape and none was given.
        """

    @abstractmethod
    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        """Exact standard deviation of an entry: the root of the expected mean square deviation from :meth:`mean`."""

    @abstractmethod
    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        """Bounds that no entry exceeds, the tightest known; infinities for an unbounded law."""

    def law(self, fans: Fans) -> Law | None:
        """The law of one entry where entries are independent, else None."""
        return None

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        """The full tensor as float32, by the readable reference or whatever backend ``keys`` has chosen.

        Args:
            key: the stream to draw from.
            shape: shape of the full tensor.
            fans: the fans and axes of the place.

        Returns:
            A float32 array of that shape.

        Raises:
            InputError: if the shape does not suit this initializer.
        """
        self.validate(shape, fans)
        law = self.law(fans)
        if law is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither law nor draw")
        return sample(law, key, math.prod(shape)).reshape(tuple(shape))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        """Raise an InputError where this initializer cannot fill such a tensor; called before anything is written."""
        if not self.min_rank <= len(shape) <= self.max_rank:
            accepted = f"a tensor of rank >= {self.min_rank}"
            if self.max_rank < math.inf:
                accepted += f" and <= {self.max_rank}"
            raise InputError.of("shape", tuple(shape), accepted, type(self).__name__)

    def to_json(self) -> dict[str, Any]:
        """``{"name": class name, **arguments}`` in plain JSON values."""
        return {"name": type(self).__name__, **{key: _plain(value) for key, value in self.config.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Initializer:
        """Inverse of :meth:`to_json`.

        Raises:
            UnknownNameError: if ``data["name"]`` is not a registered initializer.
            InputError: if an argument is unknown or not acceptable.
        """
        arguments = dict(data)
        cls = REGISTRY[arguments.pop("name", None) or "(no name)"]
        try:
            return cls(**{key: _restore(value) for key, value in arguments.items()})
        except TypeError as error:
            raise InputError(f"{cls.__name__}: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled; arguments can
        return _rebuild, (type(self), dict(self.config))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make a new one instead of setting {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.config == other.config

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(sorted(self.config.items(), key=lambda item: item[0]))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={_short(value)}" for key, value in self.config.items())
        return f"{type(self).__name__}({arguments})"


Example = tuple[Initializer, tuple[int, ...], Fans]
"""An initializer with the shape and the fans of a tensor it can fill."""


def _rebuild(cls: type[Initializer], config: dict[str, Any]) -> Initializer:
    return cls(**config)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Initializer):
        return value.to_json()
    if isinstance(value, Fans):
        return {"fans": value.to_json()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _restore(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" in value:
        return Initializer.from_json(value)
    if isinstance(value, Mapping) and "fans" in value:
        return Fans.from_json(value["fans"])
    if isinstance(value, list):
        return tuple(_restore(entry) for entry in value)
    return value


def number(
    owner: str, name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, strict: bool = False
) -> float:
    """Validate a finite number in [low, high] (open at low where ``strict``) and return it as a float.

    Raises:
        InputError: naming the initializer, the argument, the value and the accepted range.
    """
    accepted = f"a finite number {'>' if strict else '>='} {low:g}" if low > -math.inf else "a finite number"
    if high < math.inf:
        accepted += f" and <= {high:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise InputError.of(name, value, accepted, owner)
    result = float(value)
    if not math.isfinite(result) or result < low or result > high or (strict and result == low):
        raise InputError.of(name, result, accepted, owner)
    return result


def whole(owner: str, name: str, value: Any, *, low: int = 0) -> int:
    """Validate an integer >= ``low`` and return it as an int.

    Raises:
        InputError: naming the initializer, the argument, the value and the accepted range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise InputError.of(name, value, f"an integer >= {low}", owner)
    return int(value)


def choice(owner: str, name: str, value: Any, accepted: Sequence[str], aliases: Mapping[str, str] | None = None) -> str:
    """Validate one of a few words and return the canonical one.

    Raises:
        InputError: naming the initializer, the argument, the value and the accepted words.
    """
    chosen = (aliases or {}).get(value, value) if isinstance(value, str) else value
    if chosen not in accepted:
        raise InputError.of(name, value, "one of " + ", ".join([*accepted, *(aliases or {})]), owner)
    return str(chosen)


def spread(owner: str, stddev: float | None, std: float | None, default: float) -> float:
    """The standard deviation, given as ``stddev`` (keras' name) or ``std`` (torch's).

    Raises:
        InputError: if both are given, or the value is negative or not finite.
    """
    if stddev is not None and std is not None:
        raise InputError(f"{owner}: stddev and std are the same argument; pass one.")
    given = stddev if stddev is not None else std
    return number(owner, "stddev" if std is None else "std", default if given is None else given, low=0)


REGISTRY: Registry[type[Initializer]] = Registry("initializer")
