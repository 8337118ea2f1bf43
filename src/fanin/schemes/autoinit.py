"""autoinit: every pre-activation to unit variance by arithmetic alone, mean and variance followed op by op."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanin.initializers import Constant, VarianceScaling
from fanin.initializers._base import choice
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanin.graph import Graph, Node
    from fanin.recipe import Line, Recipe
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["AutoInit"]

OWN = "autoinit"


class AutoInit(Scheme):
    """Var W = 1/(fan_in (ν + μ²)) with mean μ and variance ν of the weight's input, propagated from the inputs on.

    No batch statistics enter: each op of the traced graph maps the moments of its inputs to those of its output
    (activations by exact Gaussian integrals, sums, dropout, norms, pooling; see ``theory.propagation``). For a chain
    of linear maps and activations it is the exact gain of each activation. Of an op that theory cannot follow exactly,
    notes say so. A tied weight is decided at its first use.

    Args:
        inputs: "unit" for inputs of mean 0 and variance 1, as published; "batch" for the moments of the batch.
        distribution: "truncated_normal" (as published), "normal" or "uniform".

    Source: Bingham & Miikkulainen, AAAI 2023.
    """

    name = "autoinit"
    title = "unit variance of every pre-activation by propagated means and variances; no data needed but the graph"
    source = "Bingham & Miikkulainen, AAAI 2023"
    needs = ("graph",)
    looks_for = "linear maps"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import ResNet, batch

        return ResNet(), batch(4, 3, 8, 8), None

    def __init__(self, inputs: str = "unit", distribution: str = "truncated_normal") -> None:
        self.inputs = choice("scheme 'autoinit'", "inputs", inputs, ("unit", "batch"))
        self.distribution = VarianceScaling(1.0, "fan_in", distribution).config["distribution"]

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        assert context.graph is not None
        if not context.graph.weight_ops():
            raise self.missing("none")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        context.memo.setdefault(OWN, set()).add(slot.name)
        return self._choice(slot, 1.0, "no input reaches it: as for an input of unit second moment")

    def _choice(self, slot: Slot, second: float, why: str) -> Choice:
        assert slot.fans is not None
        law = VarianceScaling(1 / second, "fan_in", self.distribution)
        return Choice(filled(slot, law), f"AutoInit: fan_in {slot.fans.fan_in:g}, {why}")

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        slots = context.slots
        # The first choice stands for "no better known"; what the user overrode or kept is followed, not changed.
        own = {line.name for line in recipe.lines if line.reason.startswith("AutoInit")}
        walk = _Walk(context, recipe, own & context.memo.get(OWN, set()), self.inputs)
        walk.run()
        decided: dict[str, Line] = {}
        for line in recipe.lines:
            if line.name in walk.decided:
                mean, variance = walk.decided[line.name]
                second = variance + mean**2
                why = f"input of mean {mean:.4g} and variance {variance:.4g}: gain (ν + μ²)^-½ = {second**-0.5:.6g}"
                chosen = self._choice(slots[line.name], second, why)
                decided[line.name] = replace(line, initializer=chosen.initializer, reason=chosen.reason)
        lines = [decided.get(line.name) or _length(line, slots[line.name], decided) for line in recipe.lines]
        notes = [*recipe.notes, *walk.notes()]
        missed = sorted(own - set(decided), key=list(recipe).index)
        if missed:
            notes.append(f"As for an input of unit second moment, since none reaches them: {', '.join(missed)}.")
        return type(recipe)(lines, kept=recipe.kept, scheme=recipe.scheme, notes=notes)


def _length(line: Line, slot: Slot, decided: dict[str, Line]) -> Line:
    """Weight norm: g follows the direction's new standard deviation."""
    direction = decided.get(str(slot.settings.get("norm_of")))
    if direction is None or not line.reason.startswith("weight norm"):
        return line
    entries = math.prod(direction.shape) / math.prod(slot.shape)
    return replace(line, initializer=Constant(direction.std * math.sqrt(entries)))


class _Walk:
    """Moments through the graph, with the variance of each weight decided when its input is known."""

    def __init__(self, context: Context, recipe: Recipe, own: set[str], inputs: str) -> None:
        from fanin.theory import weight_moments

        assert context.graph is not None
        self.graph, self.slots, self.own = context.graph, context.slots, own
        self.weights = {**_kept(context, recipe), **weight_moments(recipe, context.slots)}
        self.given = _given(context.graph, context if inputs == "batch" else None)
        self.decided: dict[str, tuple[float, float]] = {}
        self.estimated: dict[str, list[str]] = {}
        self.assumed: list[str] = []

    def run(self) -> None:
        from fanin.theory._predict import _node_flow
        from fanin.theory.propagation import Call, Flow

        flows: list[Flow] = []
        calls: list[Call | None] = []
        for node in self.graph.nodes:
            call = Call(self.graph, node, tuple(flows[i] for i in node.inputs), self.weights, self.slots)
            self._decide(node, call)
            flow, passed = _node_flow(node, call, self.given, calls)
            if not flow.exact and "float" in node.dtype and all(flows[i].exact for i in node.inputs):
                if node.kind == "input":
                    self.assumed.append(node.place)
                else:
                    self.estimated.setdefault(node.op, []).append(node.place)
            flows.append(flow)
            calls.append(passed)

    def _decide(self, node: Node, call: Any) -> None:
        """Var W = 1/(fan_in E x²) of a weight that meets its first input; the product's where it multiplies two."""
        from fanin.schemes._rates import is_added
        from fanin.theory.propagation.linear import without_addend

        if node.kind != "linear" or "parameter_only" in node.attrs or not call.inputs:
            return
        for use in node.params:
            if is_added(node, use) or use.name not in self.own or use.name in self.decided:
                continue
            factors = without_addend(call).inputs
            mean, second = math.prod(x.mean for x in factors), math.prod(x.second for x in factors)
            fans = self.slots[use.name].fans
            if fans is None or not (second > 0 and math.isfinite(second)):
                continue
            self.decided[use.name] = (mean, max(0.0, second - mean**2))
            self.weights[use.name] = (0.0, 1 / (fans.fan_in * second))

    def notes(self) -> list[str]:
        """What was not followed exactly."""
        notes = []
        if self.estimated:
            each = "; ".join(f"{op} at {_listed(places)}" for op, places in self.estimated.items())
            notes.append(f"Not followed exactly but estimated: {each}.")
        if self.assumed:
            notes.append(f"Taken as of mean 0 and variance 1: {_listed(self.assumed)}.")
        return notes


def _listed(places: Iterable[str], most: int = 4) -> str:
    places = list(places)
    rest = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(places[:most]) + rest


def _kept(context: Context, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Moments of what the recipe does not write: as it is, where the model is at hand; else a gain is 1, all else 0."""
    from fanin.theory import array_moments

    names = [name for name in context.slots if name not in recipe]
    known = {} if context.model is None else dict(context.model.named_parameters())
    found = {name: (1.0, 1.0) if context.slots[name].role in ("gain", "slope") else (0.0, 0.0) for name in names}
    return found | array_moments({name: known[name] for name in names if name in known}, context.slots)


def _given(graph: Graph, context: Context | None) -> dict[str, Any]:
    """Place of an input → (0, 1) for floating arguments, or what the batch holds."""
    places = [node for node in graph.nodes if node.kind == "input"]
    if context is None or context.inputs is None:
        return {n.place: (0.0, 1.0) for n in places if n.attrs.get("source") == "argument" and "float" in n.dtype}
    from fanin.theory._model import _values
    from fanin.trace._run import _named_arguments
    from fanin.trace._validate import validate

    assert context.model is not None
    arguments, keywords = validate(context.model, context.inputs, None, None)
    named = iter(_named_arguments(arguments, keywords))
    found = {}
    for node in places:
        if node.attrs.get("source") == "argument":
            tensor = next((tensor for _, tensor in named if tuple(tensor.shape) == node.shape), None)
            values = None if tensor is None else _values(tensor, node.batch_axis)
            if values is not None:
                found[node.place] = values
    return found
