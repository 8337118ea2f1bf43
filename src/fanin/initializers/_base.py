"""Initializer: a frozen description of what one tensor may start as."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from fanin._registry import Registry
from fanin.errors import InputError
from fanin.fans import Fans
from fanin.keys import Key, Law, sample

__all__ = ["Initializer", "REGISTRY", "number"]


class Initializer(ABC):
    """A frozen value: a class and its arguments; equal when both are.

    A subclass passes its validated arguments to ``super().__init__``; they are what ``repr``, equality and JSON see.
    It defines the exact ``mean``, ``std`` and ``support`` of an entry, and either ``law`` (every entry is drawn
    alone, so any slice can be filled anywhere) or ``draw`` (the tensor is one object, such as an orthogonal matrix).

    Class attributes:
        source: authors and year of the method.
        formula: the distribution in one line of plain text.
        min_rank: smallest rank of tensor it makes sense for.
    """

    source: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    min_rank: ClassVar[int] = 0

    def __init__(self, **config: Any) -> None:
        object.__setattr__(self, "config", MappingProxyType(config))

    config: Mapping[str, Any]

    @abstractmethod
    def mean(self, fans: Fans) -> float:
        """Exact mean of an entry."""

    @abstractmethod
    def std(self, fans: Fans) -> float:
        """Exact standard deviation of an entry (root mean square deviation over the tensor for a matrix law)."""

    @abstractmethod
    def support(self, fans: Fans) -> tuple[float, float]:
        """Smallest and largest value an entry can take; infinities for an unbounded law."""

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
        if len(shape) < self.min_rank:
            raise InputError.of(
                "shape", tuple(shape), f"a tensor of rank >= {self.min_rank}", type(self).__name__
            )

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

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make a new one instead of setting {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.config == other.config  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(sorted(self.config.items(), key=lambda item: item[0]))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={_short(value)}" for key, value in self.config.items())
        return f"{type(self).__name__}({arguments})"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Initializer):
        return value.to_json()
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _restore(value: Any) -> Any:
    if isinstance(value, Mapping) and "name" in value:
        return Initializer.from_json(value)
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
    value = float(value)
    if not math.isfinite(value) or value < low or value > high or (strict and value == low):
        raise InputError.of(name, value, accepted, owner)
    return value


REGISTRY: Registry[type[Initializer]] = Registry("initializer")
