"""lsuv: orthogonal weights, each rescaled so that its output has unit variance on a batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanin.errors import FaninError, InputError
from fanin.initializers import Blocks, Initializer, Orthogonal, Rescaled, VarianceScaling
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from fanin.graph import Graph
    from fanin.recipe import Line, Recipe
    from fanin.schemes._one_pass import Measured
    from fanin.slots import Slot, Slots

__all__ = ["LSUV"]


class LSUV(Scheme):
    """Orthogonal, then W/std(output) in order of execution, in one forward pass instead of one (or more) per layer.

    The result is that of the layer-by-layer procedure: when an output appears, all before it are rescaled already. A
    tied or reused weight is rescaled at its first use; q, k and v of one tensor each on their own; where a bias is
    added, the weight alone. Weights inside fused recurrent calls and embeddings are drawn but not rescaled.

    Args:
        head_std: standard deviation of the outputs of heads; 1 as published, less for a first loss near ln C.

    Source: Mishkin & Matas, ICLR 2016.
    """

    name = "lsuv"
    title = "orthogonal weights rescaled to outputs of unit variance on the batch, in one forward pass"
    source = "Mishkin & Matas, ICLR 2016"
    needs = ("batch",)

    def __init__(self, head_std: float = 1.0) -> None:
        self.head_std = number("scheme 'lsuv'", "head_std", head_std, low=0, strict=True)

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run once", "scheme 'lsuv'")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        assert slot.fans is not None
        if not slot.fans.out_axes or not slot.fans.in_axes:
            return Choice(VarianceScaling(1.0, "fan_in", "normal"), "a single output: LeCun's scale")
        return Choice(filled(slot, Orthogonal()), "orthogonal")

    def observe(self, model: nn.Module, inputs: Any, target: Any, asked: Mapping[str, Any]) -> Graph | None:
        """Measure in the run that shows the graph, with what module kinds alone tell of the plan.

        ``finish`` uses what was found where the graph changes nothing of that plan, and measures again where it does.

        Args:
            model: as in ``plan``; inputs, target: the same.
            asked: overrides, keep, only and seed.

        Returns:
            The graph; None where the plan needs it.
        """
        from fanin.schemes._observe import record
        from fanin.schemes._one_pass import Watch, one_pass, written
        from fanin.schemes._plan import plan
        from fanin.slots import find
        from fanin.trace._validate import validate

        arguments, keywords = validate(model, inputs, None, None)
        graphs: list[Graph] = []
        try:
            slots = find(model)
            draft = plan(_Draft(self.head_std), slots, model=model, inputs=inputs, **asked)
        except FaninError:  # the plan itself will say what is wrong, or do with the graph
            return None
        task = self._task(draft, slots)
        seed = int(asked.get("seed", 0))

        def run(model: nn.Module, inputs: Any, recipe: Recipe, seed: int, names: Any, hook: Any) -> None:
            with written(model, inputs, recipe, seed) as guard:
                graphs.append(record(model, guard, arguments, keywords, target, Watch(model, names, hook)))

        found = one_pass(model, inputs, draft, seed, *task, run=run)
        graphs[0].__dict__[_SEEN] = (draft, seed, task, found)
        return graphs[0]

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        from fanin.schemes._one_pass import one_pass

        slots, model = context.slots, context.model
        assert model is not None
        task = self._task(recipe, slots)
        parts, goal = task
        seen = None if context.graph is None else context.graph.__dict__.pop(_SEEN, None)
        if seen is not None and seen[1:3] == (context.seed, task) and _alike(seen[0], recipe):
            found = seen[3]
        else:
            found = one_pass(model, context.inputs, recipe, context.seed, parts, goal)
        scaled = [_scaled(line, found[line.name]) if line.name in found else line for line in recipe.lines]
        notes = [*recipe.notes, f"Factors measured for weights drawn with seed {context.seed}: write with that seed."]
        missed = [name for name in goal if name not in found]
        if missed:
            why = "since no op uses them as they are stored (weight norm, or not reached)"
            notes.append(f"Not rescaled, {why}: {', '.join(missed)}.")
        still = [name for name, measured in found.items() if not min(measured.stds) > 0]
        if still:
            notes.append(f"Not rescaled, since their output does not vary on this batch: {', '.join(still)}.")
        return type(recipe)(scaled, kept=recipe.kept, scheme=recipe.scheme, notes=notes)

    def _task(self, recipe: Recipe, slots: Slots) -> tuple[dict[str, tuple[int, ...]], dict[str, float]]:
        """Sizes of the packed parts and the goal of each weight that is to be rescaled."""
        lines = {line.name: line for line in recipe.lines if slots[line.name].role == "weight"}
        # Zero weights have nothing to rescale; they come from overrides.
        lines = {name: line for name, line in lines.items() if line.std > 0 and slots[name].kind != "recurrent"}
        goal = {name: self.head_std if slots[name].is_head else 1.0 for name in lines}
        return {name: _sizes(line.initializer) for name, line in lines.items()}, goal


class _Draft(LSUV):
    """The plan before anything is measured."""

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        return recipe


_SEEN = "_seen_by_lsuv"
"""Key in a graph's ``__dict__`` of what its run measured; taken out by the plan that follows."""


def _alike(draft: Recipe, recipe: Recipe) -> bool:
    """Whether two plans write the same numbers."""

    def written(each: Recipe) -> list[tuple[Any, ...]]:
        return [(line.name, line.initializer, line.shape, line.fans, line.zero_rows) for line in each.lines]

    return written(draft) == written(recipe)


def _sizes(initializer: Initializer) -> tuple[int, ...]:
    if isinstance(initializer, Blocks) and initializer.axis == 0:
        return tuple(part[1] for part in initializer.config["parts"])
    return ()


def _scaled(line: Line, measured: Measured) -> Line:
    words = ", ".join(f"{std:.4g}" for std in measured.stds)
    factors = ", ".join(f"{factor:.4g}" for factor in measured.factors)
    reason = f"{line.reason}; output of std {words} on the batch: times {factors}"
    if all(math.isclose(factor, 1, rel_tol=1e-12) for factor in measured.factors):
        return replace(line, reason=reason)
    law: Initializer
    if len(measured.factors) > 1:
        parts = line.initializer.config["parts"]
        law = Blocks(
            line.initializer.config["axis"],
            [
                (name, size, Rescaled(inner, factor), *own)
                for (name, size, inner, *own), factor in zip(parts, measured.factors, strict=True)
            ],
        )
    else:
        law = Rescaled(line.initializer, measured.factors[0])
    return replace(line, initializer=law, reason=reason)
