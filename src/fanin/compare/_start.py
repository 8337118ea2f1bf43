"""Entrants of a race: what each is called and how it gives a model its start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fanin import schemes
from fanin.compare._quiet import seeded
from fanin.compare._task import Task
from fanin.errors import InputError, UnknownNameError
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.slots import find
from fanin.trace import trace

__all__ = ["OWN", "Entrant", "MakeModel", "build", "entrants"]

MakeModel = Callable[[], nn.Module]

OWN = "own"
"""Reserved name: what the factory itself drew, under the same seed for torch's global generator."""

_PLANNING_BATCH = 256
"""Samples that a scheme may look at; the same number as ``fanin init --data`` takes."""


@dataclass(frozen=True)
class Entrant:
    """One start.

    Args:
        name: as the race calls it.
        how: a scheme's name or a Scheme, a Recipe, a callable model → None, or None to keep what the factory drew.
        options: arguments of the scheme.
    """

    name: str
    how: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def start(self, model: nn.Module, task: Task, seed: int) -> None:
        """Write the start into a model that the factory has just made; everything random comes from ``seed``."""
        if self.how is None:
            return
        if isinstance(self.how, Recipe):
            write(model, self.how, seed)
        elif isinstance(self.how, (str, schemes.Scheme)):
            batch = task.data.batch(_PLANNING_BATCH, seed=seed)
            graph = trace(model, batch.inputs, batch.target, task.loss, statistics=False).graph
            given = {"target": batch.target, "model": model, "inputs": batch.inputs, "seed": seed}
            recipe = schemes.plan(self.how, find(model, graph), graph, **{**given, **self.options})
            write(model, recipe, seed)
        else:
            with seeded(seed):
                self.how(model)


def entrants(given: Any) -> tuple[Entrant, ...]:
    """Resolve the argument ``schemes``.

    Args:
        given: a sequence of scheme names ("own" keeps what the factory drew), Schemes, Recipes, callables model → None
            and mappings; or one mapping of name → a dict of options (its entry "scheme", by default the name itself,
            says which scheme), a scheme name, a Scheme, a Recipe, a callable, or None for "own".

    Raises:
        UnknownNameError: if a scheme is not registered.
        InputError: if there is none, two share a name, or one is nothing of the kind.
    """
    if isinstance(given, (str, Recipe, schemes.Scheme)) or callable(given):
        given = [given]
    if not isinstance(given, (Mapping, Sequence)) or not len(given):
        raise InputError.of("schemes", given, "at least one scheme name, Recipe or callable, or name → options")
    found = tuple(_resolved(given))
    names = [entrant.name for entrant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError.of("schemes", twice, "a name of its own for each: pass a mapping name → scheme")
    return found


def _resolved(given: Any) -> Iterator[Entrant]:
    if isinstance(given, Mapping):
        for name, value in given.items():
            if not isinstance(name, str) or not name:
                raise InputError.of("schemes", name, "names that are not empty")
            if isinstance(value, Mapping) and not isinstance(value, Recipe):
                options = dict(value)
                yield Entrant(name, _known(options.pop("scheme", name)), options)
            else:
                yield Entrant(name, _known(value))
        return
    for value in given:
        if isinstance(value, Mapping) and not isinstance(value, Recipe):
            yield from _resolved(value)
        elif isinstance(value, Recipe):
            yield Entrant(value.scheme or "recipe", value)
        elif isinstance(value, str):
            yield Entrant(value, _known(value))
        elif isinstance(value, schemes.Scheme):
            yield Entrant(value.name, value)
        else:
            yield Entrant(getattr(value, "__name__", type(value).__name__), _known(value))


def _known(how: Any) -> Any:
    if isinstance(how, str):
        if how == OWN:
            return None
        if how not in schemes.REGISTRY:
            raise UnknownNameError("scheme", how, [*schemes.names(), OWN])
        return how
    if how is None or isinstance(how, (Recipe, schemes.Scheme)) or callable(how):
        return how
    raise InputError.of("schemes", how, "a scheme name, a dict of options, a Scheme, a Recipe or a callable")


def build(make_model: MakeModel, seed: int) -> nn.Module:
    """Call the factory with every global generator at ``seed``.

    Raises:
        InputError: if it makes something else than a module, or one without trainable parameters.
    """
    with seeded(seed):
        model = make_model()
    if not isinstance(model, nn.Module):
        raise InputError.of("what make_model() returned", type(model).__name__, "a torch.nn.Module")
    if any(tensor.is_meta for tensor in model.parameters()):
        raise InputError.of("what make_model() returned", "parameters on meta", "a model with memory")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError.of("what make_model() returned", "no trainable parameter", "at least one")
    return model
