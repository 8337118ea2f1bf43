"""write: a recipe into the real tensors of a model, all of it or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanin.errors import InputError, UnknownNameError
from fanin.keys import Key
from fanin.materialize._tensor import check_writable, put
from fanin.recipe import Line, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

__all__ = ["Job", "canonical_names", "fill_all", "jobs", "write"]


@dataclass(frozen=True)
class Job:
    """One tensor to write: its line, its key (by canonical name) and the tensor."""

    line: Line
    key: Key
    tensor: Tensor


def write(model: nn.Module, recipe: Recipe, seed: int = 0, *, progress: bool = False) -> None:
    """Write a recipe into a model's tensors, in place.

    Every line is checked against the model before the first value is written, so an error leaves all untouched. A tied
    tensor is written once, under its canonical name.

    Args:
        model: a module with real parameters.
        recipe: what to write; its names may be parameters or floating-point buffers.
        seed: integer in [0, 2**64).
        progress: show a bar on the terminal.

    Raises:
        InputError: if a line does not fit the model (name, shape, dtype, an initializer that refuses the shape).

    Example:
        >>> from torch import nn
        >>> from fanin.fans import linear
        >>> from fanin.initializers import HeNormal
        >>> from fanin.recipe import Line, Recipe
        >>> model = nn.Linear(8, 4)
        >>> write(model, Recipe([Line("weight", HeNormal(), "relu follows", (4, 8), linear((4, 8)))]), seed=3)
    """
    fill_all(jobs(model, recipe, seed), progress=progress)


def canonical_names(model: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """Every name of every parameter and buffer → (canonical name, tensor)."""
    first: dict[int, str] = {}
    found: dict[str, tuple[str, Tensor]] = {}
    named: Iterable[tuple[str, Tensor]] = (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    )
    for name, tensor in named:
        found[name] = (first.setdefault(id(tensor), name), tensor)
    return found


def jobs(model: nn.Module, recipe: Recipe, seed: int, replaced: Mapping[str, Tensor] | None = None) -> list[Job]:
    """Check every line of ``recipe`` and pair it with its tensor.

    Args:
        model: as in :func:`write`.
        recipe: as in :func:`write`.
        seed: as in :func:`write`.
        replaced: canonical name → the tensor to write instead of the model's (new memory for one on meta).

    Raises:
        InputError: as in :func:`write`.
    """
    Key(seed)
    if not isinstance(recipe, Recipe):
        raise InputError.of("recipe", type(recipe).__name__, "a fanin Recipe")
    known = canonical_names(model)
    found: dict[str, Job] = {}
    for line in recipe.lines:
        if line.name not in known:
            raise UnknownNameError("parameter of the model", line.name, known)
        name, tensor = known[line.name]
        tensor = (replaced or {}).get(name, tensor)
        if tuple(tensor.shape) != line.shape:
            raise InputError.of(
                line.name, f"shape {tuple(tensor.shape)}", f"shape {line.shape}, as the recipe says", "the model"
            )
        check_writable(line.name, tensor)
        line.initializer.validate(line.shape, line.fans)
        if line.zero_rows and not (line.shape and all(0 <= row < line.shape[0] for row in line.zero_rows)):
            raise InputError.of("zero_rows", line.zero_rows, f"rows of shape {line.shape}", line.name)
        if name in found and found[name].line.initializer != line.initializer:
            other = found[name].line
            text = f"{other.name!r} as {other.initializer} and {line.name!r} as {line.initializer}"
            raise InputError.of("recipe", text, "one initializer for a tied tensor")
        found.setdefault(name, Job(line, Key(seed, name), tensor))
    return list(found.values())


def fill_all(todo: list[Job], *, progress: bool = False) -> None:
    """Write the jobs in order."""
    if not progress:
        for job in todo:
            put(job.tensor, job.line.initializer, job.key, job.line.fans, job.line.zero_rows)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("writing weights", total=sum(max(1, math.prod(job.line.shape)) for job in todo))
        for job in todo:
            bar.update(task, description=job.line.name)
            put(job.tensor, job.line.initializer, job.key, job.line.fans, job.line.zero_rows)
            bar.advance(task, max(1, math.prod(job.line.shape)))
