"""Samples: several inputs for each sample, such as token ids and their mask, indexed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fanin.errors import InputError

__all__ = ["Samples"]


class Samples:
    """Arrays (or tensors) with one entry for each sample, that a model takes by name or by position.

    Args:
        parts: name → array for keyword arguments, or a tuple of arrays for positional ones; all (samples, …).

    Raises:
        InputError: if there is none, one is no array, or they differ in their number of samples.

    Example:
        >>> import numpy as np
        >>> tokens = Samples({"input_ids": np.zeros((5, 7), "int64"), "attention_mask": np.ones((5, 7), "int64")})
        >>> len(tokens), len(tokens[1:3]), list(tokens.inputs)
        (5, 2, ['input_ids', 'attention_mask'])
    """

    def __init__(self, parts: Mapping[str, Any] | tuple[Any, ...]) -> None:
        self.inputs: dict[str, Any] | tuple[Any, ...]
        """What one call of a model takes."""
        self.inputs = {str(name): part for name, part in parts.items()} if isinstance(parts, Mapping) else tuple(parts)
        sizes: dict[str, int] = {}
        for name, part in self.named():
            if not hasattr(part, "shape") or not hasattr(part, "dtype") or len(part.shape) == 0:
                raise InputError.of(f"input {name}", type(part).__name__, "an array (samples, …)")
            sizes[name] = len(part)
        if len(set(sizes.values())) != 1:
            raise InputError.of("inputs", sizes, "at least one, all of the same number of samples")
        self.size = next(iter(sizes.values()))

    @property
    def shape(self) -> tuple[int]:
        """(samples,): the inputs may have shapes of their own."""
        return (self.size,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name or position → shape of one sample."""
        return {name: tuple(part.shape[1:]) for name, part in self.named()}

    def named(self) -> Iterator[tuple[str, Any]]:
        """(name or position, array) of each input."""
        named = self.inputs.items() if isinstance(self.inputs, dict) else enumerate(self.inputs)
        return ((str(name), part) for name, part in named)

    def map(self, change: Callable[[Any], Any]) -> Samples:
        """The same with each array changed."""
        if isinstance(self.inputs, dict):
            return Samples({name: change(part) for name, part in self.inputs.items()})
        return Samples(tuple(change(part) for part in self.inputs))

    def call(self, model: Callable[..., Any]) -> Any:
        """What ``model`` makes of them."""
        return model(**self.inputs) if isinstance(self.inputs, dict) else model(*self.inputs)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Samples:
        return self.map(lambda part: part[index])
