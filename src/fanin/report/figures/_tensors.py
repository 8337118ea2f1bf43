"""Rows per parameter: what a report, a model or a mapping of arrays holds, beside the plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.report._weights import WeightStats, measure_weights

if TYPE_CHECKING:
    from fanin.recipe import Line, Recipe

__all__ = ["planned_density", "recipe_of", "stats_of"]


def stats_of(records: Any) -> tuple[WeightStats, ...]:
    """Statistics of the weights of a Report, a model, or a mapping of names to tensors or arrays.

    Raises:
        InputError: for anything else.
    """
    if hasattr(records, "weights") and hasattr(records, "signals"):
        return tuple(records.weights)
    if hasattr(records, "named_parameters"):
        return measure_weights(dict(records.named_parameters()))
    if isinstance(records, Mapping):
        return measure_weights(records)
    raise InputError.of("records", type(records).__name__, "a Report, a model, or a mapping of names to tensors")


def recipe_of(records: Any, recipe: Recipe | None) -> Recipe | None:
    """The plan given, or that of the report."""
    return recipe if recipe is not None else getattr(records, "recipe", None)


def planned_density(line: Line, x: float) -> float:
    """Density of one entry under the plan; a normal one of its moments where entries are not independent.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import Uniform
        >>> from fanin.recipe import Line
        >>> planned_density(Line("w", Uniform(-1.0, 1.0), "", (8, 4), linear((8, 4))), 0.5)
        0.5
    """
    law = line.initializer.law(line.fans)
    if law is None or law.kind == "constant":
        mean, std = line.initializer.mean(line.fans, line.shape), line.std
        return _normal((x - mean) / std) / std if std > 0 else 0.0
    z = (x - law.location) / law.scale if law.scale > 0 else math.inf
    if law.kind == "uniform":
        return 1 / law.scale if 0 <= z <= 1 else 0.0
    if law.kind == "truncated_normal":
        inside = math.erf(law.bound / math.sqrt(2))
        return _normal(z) / inside / law.scale if abs(z) <= law.bound else 0.0
    return _normal(z) / law.scale


def _normal(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
