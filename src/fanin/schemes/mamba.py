"""mamba: selective state-space models, whose rates and steps are spread over the scales of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import MambaStepBias, Normal, VarianceScaling, Zeros
from fanin.initializers._base import number
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Scheme, fan, usual
from fanin.schemes._gains import recurrent
from fanin.schemes._selective import selective
from fanin.schemes._state_space import each, state_space

if TYPE_CHECKING:
    from fanin.schemes._base import Context, Example, Keep
    from fanin.slots import Slot

__all__ = ["Mamba"]

_THIRD = 1 / 3
"""VarianceScaling(⅓, fan_in, uniform) is U(±1/√fan_in), what torch's Linear and Conv draw."""


class Mamba(Scheme):
    """A = −1 … −N in each channel (Mamba-1) or −U(1, 16) in each head (Mamba-2), Δ log-uniform, D = 1.

    A is −exp of its parameter. The bias of the step is softplus⁻¹(Δ); the map before it is U(±1/√dt_rank). Ends of
    the L branches of a residual stream are U(±1/√fan_in)/√L. Every other map and convolution is as torch's own
    constructor draws it, U(±1/√fan_in), as in the authors' code; embeddings are N(0, std²), other biases 0.

    Args:
        step_min: smallest Δ; > 0.
        step_max: largest Δ; >= ``step_min``.
        step_floor: Δ is raised to this; >= 0.
        std: of embeddings.

    Source: Gu & Dao (Mamba), 2023; Dao & Gu (Mamba-2), ICML 2024.
    """

    name = "mamba"
    title = "selective state spaces: A = −1 … −N (or −U(1, 16) per head), Δ log-uniform, D = 1, branch ends ÷ √L"
    source = "Gu & Dao (Mamba), 2023; Dao & Gu (Mamba-2), ICML 2024"
    needs = ("graph",)
    looks_for = "selective state spaces (a rate −exp(parameter) times a step softplus(map + bias))"

    def __init__(
        self, step_min: float = 0.001, step_max: float = 0.1, step_floor: float = 1e-4, std: float = 0.02
    ) -> None:
        where = "scheme 'mamba'"
        self.step_min = number(where, "step_min", step_min, low=0, strict=True)
        self.step_max = number(where, "step_max", step_max, low=0, strict=True)
        if self.step_max < self.step_min:
            raise InputError.of("step_max", step_max, f"a number >= step_min = {self.step_min:g}", where)
        self.step_floor = number(where, "step_floor", step_floor, low=0)
        self.std = number(where, "std", std, low=0)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._selective_example import example

        return example()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        assert context.graph is not None
        if not selective(context).rates:
            steps = sum(node.op == "softplus" for node in context.graph.nodes)
            raise self.missing(f"{steps} softplus, none of which multiplies such a rate" if steps else "no softplus")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        found, blocks = selective(context), architecture(context)
        branch = blocks.branch(slot.name) if blocks is not None else None
        if branch is None or slot.name not in branch.ends or branch.add in found.inside:
            law = VarianceScaling(_THIRD, "fan_in", "uniform")
            return Choice(each(slot, law), f"torch's own U(±1/√fan_in): {fan(slot)}")
        law = VarianceScaling(_THIRD / branch.terms, "fan_in", "uniform")
        reason = f"ends one of {branch.terms} residual branches: U(±1/√fan_in)/√{branch.terms}, {fan(slot)}"
        return Choice(each(slot, law), reason)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        found = selective(context)
        if slot.name in found.own:
            return state_space(slot, found, MambaStepBias(self.step_min, self.step_max, self.step_floor))
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.role == "embedding":
            return Choice(Normal(std=self.std), f"embedding: N(0, {self.std:g}²)")
        if slot.role == "bias":
            return Choice(Zeros(), "bias: 0")
        return usual(slot)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        found = selective(context)
        undecayed = ", ".join(names[0] for names in (list(found.rates), sorted(found.skips)) if names)
        notes = [f"Train rates and skips (such as {undecayed}) without weight decay, as the authors do."]
        bare = sum(bias is None for bias in found.steps.values())
        if bare:
            notes.append(
                f"{bare} of {len(found.steps)} steps have no bias of their own: they start near softplus(0) = 0.69 "
                f"instead of {self.step_min:g} to {self.step_max:g}, and the states forget at once. Add a bias per "
                "channel before the softplus."
            )
        held = sorted(name for name in found.biases if "hold" in context.slots[name].settings)
        if held:
            notes.append(
                f"The model marks the bias of its steps ({held[0]}) to be left alone: it stays as constructed; "
                "overrides= writes it all the same."
            )
        return tuple(notes)
