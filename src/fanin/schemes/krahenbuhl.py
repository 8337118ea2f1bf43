"""krahenbuhl: filters from the data, each channel to unit spread, then layers to equal rates of change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.initializers import Normal, Rescaled, RescaledChannels, Values
from fanin.initializers._base import choice, number
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.recipe import Line, Recipe
    from fanin.schemes._one_pass import Use
    from fanin.slots import Slot

__all__ = ["Krahenbuhl"]

FILTERS = ("gaussian", "pca", "kmeans")

ROWS = 20_000
"""Patches in which directions are looked for: 20 for each of 1000 dimensions."""


class Krahenbuhl(Scheme):
    """Each channel to mean β and variance 1 on the batch; then all layers to the same relative rate of change.

    Within a layer, W_c /= σ_c and b_c = β − μ_c/σ_c, in one forward pass. Between layers, r = √(mean (∂L/∂W)² / mean
    W²) is made equal by factors √(r/r̄) of the weights, with the factors of the biases that follow from them. The
    factors are those that leave the function as it is, found from the graph: what meets a nonlinearity that is not
    homogeneous, or a sum with something that cannot be multiplied, keeps its scale (notes name it). For chains of
    ReLU layers this is what the repeated rescaling of the paper converges to.

    Args:
        filters: directions of the weights: "gaussian" (random), "pca" or "kmeans" (of the whitened input patches of
            each layer; filters beyond the number of directions found stay random).
        beta: mean β of each channel; 0 as in the paper's text (its code: 0.1).
        between: also equalise the rates; without targets the gradient is that of a random unit cotangent.

    Source: Krähenbühl, Doersch, Donahue & Darrell, ICLR 2016.
    """

    name = "krahenbuhl"
    title = "unit spread of each channel on the batch, then equal relative rates of change of all layers"
    source = "Krähenbühl, Doersch, Donahue & Darrell, ICLR 2016"
    needs = ("batch",)

    def __init__(self, filters: str = "gaussian", beta: float = 0.0, between: bool = True) -> None:
        self.filters = choice("scheme 'krahenbuhl'", "filters", filters, FILTERS)
        self.beta = number("scheme 'krahenbuhl'", "beta", beta)
        if not isinstance(between, bool):
            raise InputError.of("between", between, "True or False", "scheme 'krahenbuhl'")
        self.between = between

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run", "scheme 'krahenbuhl'")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        return Choice(filled(slot, Normal(std=1.0)), "random directions, N(0, 1)")

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        from fanin.schemes._normalised import normalised

        directions = None if self.filters == "gaussian" else _Filters(self.filters, context.seed, recipe, context)
        planned = normalised(recipe, context, beta=self.beta, directions=directions)
        if directions is not None and directions.random:
            note = f"Random directions kept, since {self.filters} needs a plain map with more patches than filters: "
            planned = _noted(planned, note + ", ".join(directions.random) + ".")
        return _between(planned, recipe, context) if self.between else planned


class _Filters:
    """Writes principal directions or cluster centres of the input patches into a weight, at its first use."""

    def __init__(self, filters: str, seed: int, recipe: Recipe, context: Context) -> None:
        import torch

        self.filters, self.recipe = filters, recipe
        self.generator = torch.Generator().manual_seed(seed)
        self.own = {line.name for line in recipe.lines if line.reason.startswith("random directions")}
        self.random: list[str] = []

    def __call__(self, use: Use) -> str:
        from fanin.schemes._patches import kmeans, patches, principal, write_rows

        if use.name not in self.own:  # an override
            return ""
        groups = patches(use, ROWS, self.generator)
        if groups is None:
            self.random.append(use.name)
            return ""
        outs = use.weight.shape[1] if use.op in ("addmm", "matmul", "mm") else use.weight.shape[0]
        each = outs // len(groups)
        if self.filters == "pca":
            found = [principal(rows, each) for rows in groups]
        else:
            found = [kmeans(rows, each, self.generator) for rows in groups]
        if not sum(map(len, found)):
            self.random.append(use.name)
            return ""
        write_rows(use, found)
        what = {"pca": "principal directions", "kmeans": "cluster centres"}[self.filters]
        rest = outs - sum(map(len, found))
        return f"{what} of the input patches" + (f", {rest} random filters" if rest else "")


def _between(recipe: Recipe, before: Recipe, context: Context) -> Recipe:
    """The recipe with the factors that equalise the rates."""
    from fanin.schemes._rates import Symmetry, apart

    graph, rates = _rates(recipe, context)
    slots = context.slots
    lines = {line.name: line for line in recipe.lines}
    weights = [n for n in lines if n in rates and rates[n] > 0 and slots[n].role == "weight"]
    weights = [n for n in weights if slots[n].kind != "recurrent" and lines[n].reason != before.line(n).reason]
    added = [n for n in lines if slots[n].role in ("bias", "token")]
    zeros = [n for n, line in lines.items() if line.initializer.support(line.fans, line.shape) == (0.0, 0.0)]
    symmetry = Symmetry.of(graph, weights, added, zeros)
    factors = symmetry.equalise(rates)
    along = symmetry.along(factors)
    after = {name: rates[name] / factors[name] ** 2 for name in factors}
    written = [_multiplied(line, factors.get(line.name, along.get(line.name, 1.0))) for line in recipe.lines]
    measured = {name: rates[name] for name in weights}
    reached = {**measured, **after}
    note = (
        f"Rates √(mean ∇W²/mean W²) of {len(weights)} weights: largest over smallest {apart(measured):.4g} before, "
        f"{apart(reached):.4g} after, with the function unchanged."
    )
    planned = _noted(type(recipe)(written, kept=recipe.kept, scheme=recipe.scheme, notes=recipe.notes), note)
    mean = sum(after.values()) / len(after) if after else 1.0
    bound = [name for name, rate in after.items() if abs(rate / mean - 1) > 0.01]
    held = [f"{name} ({why})" for name, why in symmetry.because.items()]
    if bound or held:
        text = (
            "Rates left apart, since equal ones would change the function (a nonlinearity that is not homogeneous, a "
        )
        planned = _noted(planned, f"{text}sum, a norm's running statistics): {', '.join([*bound, *held])}.")
    return planned


def _rates(recipe: Recipe, context: Context) -> tuple[Any, dict[str, float]]:
    """The graph, and r of each parameter that has a gradient, with the recipe written; the model is put back."""
    import torch

    from fanin.schemes._one_pass import written
    from fanin.trace import trace

    model = context.model
    assert model is not None
    with written(model, context.inputs, recipe, context.seed):
        run = trace(model, context.inputs, context.target, statistics=False, seed=context.seed)
        rates = {}
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                gradient = run.gradients.get(name)
                if gradient is not None and parameter.numel():
                    square = float(parameter.double().square().mean())
                    change = float(gradient.double().square().mean())
                    if square > 0 and change > 0:
                        rates[name] = (change / square) ** 0.5
    return run.graph, rates


def _multiplied(line: Line, factor: float) -> Line:
    if abs(factor - 1) < 1e-6:
        return line
    law = line.initializer
    new: Initializer
    if isinstance(law, Values):
        new = Values(law.array * factor)
    elif isinstance(law, RescaledChannels):
        new = RescaledChannels(law.inner, law.array * factor)
    else:
        new = Rescaled(law, factor)
    return replace(line, initializer=new, reason=f"{line.reason}; times {factor:.4g} for equal rates")


def _noted(recipe: Recipe, note: str) -> Recipe:
    return type(recipe)(recipe.lines, kept=recipe.kept, scheme=recipe.scheme, notes=[*recipe.notes, note])
