"""Scheme: a rule from slots to initializers; and the rules that nearly all schemes share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from fanin._registry import Registry
from fanin.errors import PlanError
from fanin.initializers import Blocks, Constant, Initializer, Normal, Ones, Zeros
from fanin.theory.activations import of_op

if TYPE_CHECKING:
    from torch import nn

    Example = tuple[nn.Module, Any, Any]
    """A small model, inputs and targets."""

    from fanin.graph import Graph
    from fanin.recipe import Recipe
    from fanin.schemes._changes import Change
    from fanin.slots import Slot, Slots
    from fanin.theory.activations import Activation, Gated

__all__ = ["REGISTRY", "Choice", "Context", "Keep", "Scheme", "activation", "fan", "filled", "usual"]

TOKEN_STD = 0.02
"""Class tokens and learned positions: small against a signal of unit scale (Dosovitskiy et al., 2021)."""

PRELU_SLOPE = 0.25
"""Start of a learned slope (He et al., 2015, §2.1)."""


@dataclass(frozen=True)
class Choice:
    """Start the parameter as ``initializer``, for this reason."""

    initializer: Initializer
    reason: str


@dataclass(frozen=True)
class Keep:
    """Leave the parameter as it is, for this reason."""

    reason: str


@dataclass(frozen=True)
class Context:
    """What a scheme may look at besides the slot.

    Args:
        slots: all slots of the model.
        graph: the traced run, or None.
        target: targets of the batch, or None.
        model: the model itself, for schemes that run it, or None.
        inputs: the batch, for schemes that run the model, or None.
        seed: seed that the weights will be written with; only schemes that draw weights to measure them read it.
        fixed: names of parameters that are decided already: by overrides, keep or only, or frozen.
        memo: results that a scheme wants to compute once for the model.
    """

    slots: Slots
    graph: Graph | None = None
    target: Any = None
    model: nn.Module | None = field(default=None, compare=False)
    inputs: Any = field(default=None, compare=False)
    seed: int = 0
    fixed: frozenset[str] = frozenset()
    memo: dict[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def by_owner(self) -> dict[str, list[Slot]]:
        """Module path → the slots it owns."""
        found: dict[str, list[Slot]] = {}
        for slot in self.slots.values():
            found.setdefault(slot.owner, []).append(slot)
        return found

    def weight_of(self, slot: Slot) -> Slot | None:
        """The weight that the owner of ``slot`` multiplies by, where there is exactly one."""
        weights = [other for other in self.by_owner[slot.owner] if other.role == "weight"]
        return weights[0] if len(weights) == 1 else None


class Scheme(ABC):
    """A rule from slots to initializers.

    A subclass takes its options as keyword arguments of ``__init__`` and validates them there; ``weight`` decides for
    linear maps, and ``choose`` may be overridden to decide for all other roles too.

    Class attributes:
        name: as in ``fanin.plan(scheme=name)``.
        title: one sentence.
        source: authors and year.
        needs: what it cannot plan without: "graph" (inputs, so that the model can be traced), "batch" (inputs that
            are like the training data, on which it is measured), "targets".
        looks_for: what in a model it is made for, in words; "" for any model.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    looks_for: ClassVar[str] = ""

    @classmethod
    def example(cls) -> Example | None:
        """A small model with inputs and targets that the scheme fits; None where it fits any. The tests walk them."""
        return None

    def fit(self, context: Context) -> None:
        """Raise where the scheme does not fit the model; called before anything is planned.

        Raises:
            PlanError: saying what was looked for.
        """
        has = {"graph": context.graph, "batch": context.inputs, "targets": context.target}
        for need in self.needs:
            if has[need] is None:
                what = f"looks for {self.looks_for} in the traced graph" if need == "graph" else f"needs {need}"
                how = {"graph": "inputs", "batch": "inputs like the training data", "targets": "targets"}[need]
                raise PlanError(f"scheme {self.name!r} {what}; pass {how}.")

    def missing(self, found: str) -> PlanError:
        """The error of a model that lacks what the scheme looks for."""
        return PlanError(f"scheme {self.name!r} looked for {self.looks_for}; found {found}.")

    @staticmethod
    def hint(context: Context) -> str:
        """What would tell more, where the model was not traced."""
        return "" if context.graph is not None else " (pass inputs, so that the model can be traced)"

    @abstractmethod
    def weight(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """What a linear map (role "weight") starts as."""

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """What a parameter starts as; None where no rule covers it, which stops the plan."""
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def changes(self, context: Context) -> tuple[Change, ...]:
        """Edits of the forward pass that the published scheme has and the model lacks; ``fanin.rewire_`` makes them.

        Called after ``fit``, on the traced model.

        Raises:
            PlanError: where an edit cannot be made from outside; the text names the op and what to do.
        """
        return ()

    def notes(self, context: Context) -> tuple[str, ...]:
        """Remarks for the user that belong to no single line."""
        return ()

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """The recipe after what only a run of the planned model can tell; a data-driven scheme measures here."""
        return recipe


def usual(slot: Slot) -> Choice | Keep | None:
    """What every role but "weight" starts as in most schemes; None for an unknown one, and where NaN would be kept."""
    chosen = _usual(slot)
    return None if isinstance(chosen, Keep) and slot.settings.get("nonfinite") else chosen


def _usual(slot: Slot) -> Choice | Keep | None:
    if slot.role == "embedding":
        width = slot.shape[-1]
        return Choice(Normal(std=1 / math.sqrt(width)), f"embedding: 1/√{width}, so that a row has length 1")
    if slot.role == "token":
        return Choice(Normal(std=TOKEN_STD), f"data of its own (positions, tokens): N(0, {TOKEN_STD}), as ViT and BERT")
    if slot.role == "bias":
        if slot.nonlinearity == "softplus" and slot.settings.get("gate"):
            # Δ = softplus(bias) of state-space layers; 0 would mean steps of 0.69 where they are 0.001 to 0.1
            # (Gu & Dao, 2023), and the state would forget at once.
            return Keep("softplus of it sets a rate that multiplies the signal: the model's own design")
        return Choice(Zeros(), "bias: 0")
    if slot.role == "gain":
        return _gain(slot)
    if slot.role == "shift":
        return Choice(Zeros(), "shift of a norm: 0")
    if slot.role == "slope":
        start = float(slot.settings.get("init", PRELU_SLOPE))
        return Choice(Constant(start), f"slope of PReLU: {start:g}")
    if "through" in slot.settings:
        return Keep(f"{slot.why}: what it should start as is the model's own design")
    if math.prod(slot.shape) == 1:
        return Keep("a learned scalar of the model's own design")
    return None


def _gain(slot: Slot) -> Choice | Keep:
    if not slot.settings.get("norm"):
        return Keep("a learned multiplier that belongs to no norm (such as LayerScale): the model's own design")
    offset = float(slot.settings.get("offset", 0.0))
    if offset:
        return Choice(Constant(1 - offset), f"gain of a norm that multiplies by {offset:g} + w: {1 - offset:g}")
    return Choice(Ones(), "gain of a norm: 1")


def filled(slot: Slot, initializer: Initializer) -> Initializer:
    """``initializer`` for a tensor that may pack several maps: each block of a matrix law becomes its own matrix.

    A law of independent entries needs no blocks where all have the same fans, since those are the slot's.
    """
    assert slot.fans is not None
    alike = len({part.fans for part in slot.parts}) < 2
    if not slot.parts or (alike and initializer.law(slot.fans) is not None):
        return initializer
    return Blocks(slot.parts[0].axis, [(part.name, part.stop - part.start, initializer) for part in slot.parts])


def fan(slot: Slot, which: str = "fan_in") -> str:
    """ "fan_in 512" for a reason."""
    assert slot.fans is not None
    value = getattr(slot.fans, which)
    packed = f" (of each of {len(slot.parts)} packed maps)" if len(slot.parts) > 1 and which == "fan_in" else ""
    return f"{which} {value:g}{packed}"


def activation(slot: Slot) -> Activation | Gated | None:
    """The registered activation that follows a slot; None where none follows or it is not registered."""
    if slot.nonlinearity is None or slot.nonlinearity == "linear":
        return None
    return of_op(slot.nonlinearity, slot.nonlinearity_args)


REGISTRY: Registry[type[Scheme]] = Registry("scheme")
