"""admin: post-norm transformers whose skip paths are weighted by what the branches before have added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fanin.errors import PlanError
from fanin.initializers import Constant, GlorotUniform, Ones
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import TransformerScheme, exact, sides
from fanin.schemes._changes import apply
from fanin.schemes._edits import divisors, factors, is_post_norm, rewire_hint

if TYPE_CHECKING:
    from fanin.recipe import Recipe
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Example
    from fanin.schemes._changes import Change
    from fanin.slots import Slot

__all__ = ["Admin"]


class Admin(TransformerScheme):
    """LN(ω⊙x + f(x)) with ω_1 = 1 and ω_i² = ω²_{i−1} Var(x_{i−1}) + Var f_{i−1}; maps by Glorot.

    The variances are measured in one pass on the batch. Behind a norm Var x = 1, so that ω_i² = 1 + Σ_{j<i} Var f_j:
    the authors' code; their text leaves out the 1.

    ``fanin.rewire_`` writes the sum as LN(x + f(x)/ω), the same function up to the epsilon of the norm as long as the
    entries of ω are equal, as at the start. It learns differently: an entry of ω then scales its channel of f down
    instead of its channel of x up, and the norm sees the two channels against the others with other weights.

    Source: Liu, Liu, Gao, Chen & Han, EMNLP 2020.
    """

    name = "admin"
    title = "post-norm transformers LN(ω⊙x + f(x)): ω from the variances of the branches before, measured in one pass"
    source = "Liu, Liu, Gao, Chen & Han, EMNLP 2020"
    needs = ("graph", "batch")

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer
        from fanin.slots import find
        from fanin.trace import trace

        model, inputs, target = transformer(post=True)
        graph = trace(model, inputs, statistics=False).graph
        apply(model, cls().changes(Context(find(model, graph), graph, target, model, inputs)))
        return model, inputs, target

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        if not divisors(context):
            raise PlanError(
                "scheme 'admin' looked for a learned ω in each residual branch, LN(x + f(x)/ω); found none. "
                f"{rewire_hint(self.name)}"
            )
        return Choice(filled(slot, GlorotUniform()), f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.name in divisors(context):
            return Choice(Ones(), "ω of a residual branch: 1")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def changes(self, context: Context) -> tuple[Change, ...]:
        """LN(ω⊙x + f(x)) as LN(x + f(x)/ω).

        Raises:
            PlanError: if a sum meets no norm, which would undo ω.
        """
        blocks = self.blocks(context)
        streams = sides(blocks)
        there = {branch.add for branch in divisors(context).values()}
        missing = [branch for branch in blocks.branches if branch.stream in streams and branch.add not in there]
        for branch in missing:
            if not is_post_norm(blocks.graph, branch):
                raise PlanError(
                    "scheme 'admin' is for norms after the sum, LN(ω⊙x + f(x)); what reads the sum at "
                    f"{blocks.graph.nodes[branch.add].place!r} is not a norm alone."
                )
        why = "LN(x + f(x)/ω) stands for Admin's LN(ω⊙x + f(x))"
        return factors(self.name, context, missing, why, vector=True, divide=True)

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        from fanin.schemes._profile import profile

        assert context.model is not None
        omegas = divisors(context)
        streams = {name: branch.stream for name, branch in omegas.items()}
        found = profile(context.model, context.inputs, recipe, context.seed, streams)
        lines = []
        for line in recipe.lines:
            if line.name in found and line.initializer == Ones():
                branch, value = omegas[line.name], found[line.name]
                reason = f"ω of residual branch {branch.index + 1} of {branch.count}: {exact(value)}, measured"
                line = replace(line, initializer=Constant(value), reason=reason)
            lines.append(line)
        notes = [*recipe.notes, f"ω measured for weights drawn with seed {context.seed}: write with that seed."]
        return type(recipe)(lines, kept=recipe.kept, scheme=recipe.scheme, notes=notes)
