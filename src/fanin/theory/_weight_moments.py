"""What theory knows of the weights: mean and second moment of each tensor and of the parts packed in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin import native
from fanin.initializers import Blocks
from fanin.keys import Key
from fanin.recipe import Recipe

if TYPE_CHECKING:  # slots looks at modules and so imports torch
    from fanin.slots import Part, Slots

__all__ = ["array_moments", "weight_moments"]


def weight_moments(recipe: Recipe, slots: Slots | None = None) -> dict[str, tuple[float, float]]:
    """(mean, second moment) of every parameter that a recipe writes, and of the parts packed in it.

    Args:
        recipe: the plan.
        slots: places of the parameters; tells the parts (gates), which follow as "name#part".

    Returns:
        Parameter name → (E W, E W²).

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import Normal
        >>> from fanin.recipe import Line, Recipe
        >>> weight_moments(Recipe([Line("w", Normal(std=0.5), "example", (2, 4), linear((2, 4)))]))
        {'w': (0.0, 0.25)}
    """
    result = {}
    for line in recipe.lines:
        mean = line.initializer.mean(line.fans, line.shape)
        result[line.name] = (mean, line.initializer.std(line.fans, line.shape) ** 2 + mean**2)
        parts = slots[line.name].parts if slots is not None and line.name in slots else ()
        if parts and len(line.shape) == 1:
            # A gate bias is a handful of numbers; one draw says which gate they belong to.
            values = line.initializer.draw(Key(0), line.shape, line.fans)
            result |= _part_moments(line.name, parts, values)
        elif parts and isinstance(line.initializer, Blocks):
            for block in line.initializer.blocks(line.shape, line.fans):
                mean = block.initializer.mean(block.fans, block.shape)
                second = block.initializer.std(block.fans, block.shape) ** 2 + mean**2
                result[f"{line.name}#{block.name}"] = (mean, second)
    return result


def array_moments(arrays: Mapping[str, Any], slots: Slots) -> dict[str, tuple[float, float]]:
    """The same for weights that exist: moments of each array, and of the parts that its slot names.

    Args:
        arrays: parameter name → tensor, NumPy array, or anything NumPy converts. Tensors are read where they are, in
            one pass; those that hold no values (meta, lazy) are left out.
        slots: places of the parameters.

    Returns:
        Parameter name, and "name#part" → (mean, second moment) over the finite values.
    """
    result = {}
    for name, values in arrays.items():
        if not _has_values(values):
            continue
        result[name] = moments_of(values)
        if name in slots and slots[name].parts:
            result |= _part_moments(name, slots[name].parts, values)
    return result


def moments_of(values: Any) -> tuple[float, float]:
    """(mean, second moment) of an array or tensor over its finite values; (0, 0) of an empty one."""
    if not hasattr(values, "detach"):
        x = np.asarray(values, dtype=np.float64)
        return (float(x.mean()), float(np.square(x).mean())) if x.size else (0.0, 0.0)
    x = values.detach()
    dtype = str(x.dtype).removeprefix("torch.")
    plain = type(x).__name__ in ("Tensor", "Parameter")  # a DTensor or FakeTensor has no memory behind its pointer
    if plain and x.device.type == "cpu" and x.is_contiguous() and dtype in _NATIVE and native.available():
        found = native.stats(x.data_ptr(), x.numel(), dtype)
        finite = max(1, found.count - found.nonfinite)
        return found.sum / finite, found.sum_of_squares / finite
    # In pieces: double precision without a second copy of the whole tensor.
    total, square, count = 0.0, 0.0, 0
    for piece in x.reshape(-1).split(_PIECE):
        wide = piece.abs().double() if piece.is_complex() else piece.double()
        finite = wide.isfinite()
        wide = wide.where(finite, 0.0)
        total, square, count = total + float(wide.sum()), square + float(wide.square().sum()), count + int(finite.sum())
    return total / max(1, count), square / max(1, count)


_NATIVE = ("float32", "float64", "float16", "bfloat16")

_PIECE = 1 << 22
"""Values widened at a time: 32 MB."""


def _has_values(values: Any) -> bool:
    lazy = type(values).__name__.startswith("Uninitialized")
    return not (lazy or getattr(values, "is_meta", False) or getattr(values, "is_sparse", False))


def _part_moments(name: str, parts: Iterable[Part], values: Any) -> dict[str, tuple[float, float]]:
    result = {}
    for part in parts:
        whole = values if hasattr(values, "detach") else np.asarray(values, dtype=np.float64)
        block = whole[(slice(None),) * part.axis + (slice(part.start, part.stop),)]
        if math.prod(block.shape):
            result[f"{name}#{part.name}"] = moments_of(block)
    return result
