"""Greedy: train one layer after the other on its own inputs, without labels, and return the weights found."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fanin.errors import InputError, PlanError
from fanin.initializers import Initializer, Values
from fanin.initializers._base import whole
from fanin.keys import Key
from fanin.materialize import write
from fanin.recipe import Line, Recipe
from fanin.schemes._base import REGISTRY, Choice, Context, Keep, Scheme
from fanin.schemes._greedy_chain import Chain, Layer, chain
from fanin.schemes._greedy_inputs import Inputs, Samples, prepare, samples
from fanin.schemes._greedy_learner import Learner, Problem
from fanin.schemes._greedy_state import State
from fanin.schemes._greedy_units import Window, units
from fanin.trace._restore import restoring

if TYPE_CHECKING:
    import os

    from torch import nn

    from fanin.slots import Slot

__all__ = ["Greedy"]

Tick = Callable[[int, str], None]


class Greedy(Scheme):
    """What both unsupervised schemes share: which layers, in which order, on which inputs, with which notes.

    Layers are trained in order of execution. The inputs of each are those it has when the model itself is run up to it
    with the weights found so far, so flattening, pooling and norms in between are the model's own; dropout is off.
    Heads, and what has no nonlinearity of its own (ends of residual branches, recurrent cells, attention), start as in
    another scheme. The model is as before afterwards, also after an error.

    Args:
        data: training inputs: an array or tensor, a Dataset, (x, y), a mapping of keyword arguments, or an iterable of
            batches; None takes the batch.
        epochs: passes over them for each layer.
        batch_size: samples per update.
        base: scheme of all other parameters. Its own measuring pass, if it has one, is not run: it would rescale what
            was found here.
        resume: file in which finished layers and the epochs of the current one are kept, and from which an interrupted
            run goes on; None keeps nothing.
        progress: show a bar; None does where standard error is a terminal.
    """

    errors: dict[str, tuple[float, float]]
    """Weight → reconstruction error before and after, of the last plan."""

    needs = ("graph", "batch")
    looks_for = "linear or convolution maps, each followed by a nonlinearity of its own"
    feature: ClassVar[str]

    def __init__(
        self,
        data: Any,
        epochs: int,
        batch_size: int,
        base: str | Scheme,
        resume: str | os.PathLike[str] | None,
        progress: bool | None,
    ) -> None:
        owner = f"scheme {self.name!r}"
        self.data, self.resume, self.progress, self.errors = data, resume, progress, {}
        self.epochs = whole(owner, "epochs", epochs, low=1)
        self.batch_size = whole(owner, "batch_size", batch_size, low=1)
        self.base = base if isinstance(base, Scheme) else REGISTRY[base]()
        if isinstance(self.base, Greedy):
            raise InputError.of("base", self.base.name, "a scheme without pre-training", owner)

    @abstractmethod
    def start(self, layer: Layer) -> Initializer:
        """What a layer's training starts from."""

    @abstractmethod
    def refusal(self, layer: Layer) -> str:
        """Why a layer cannot be trained so, and what fits; "" where it can."""

    @abstractmethod
    def learner(self, problem: Problem, slope: torch.Tensor | None) -> Learner:
        """What trains the layer."""

    @abstractmethod
    def words(self, problem: Problem) -> str:
        """What it is trained as, for the reason."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Options that the result depends on."""

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run", f"scheme {self.name!r}")
        found = chain(context)
        if not found.layers:
            raise self.missing(_listed(found.left) if found.left else "no such map besides heads")
        self.base.fit(context)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        mine = context.memo.setdefault("greedy", set())
        layer = next((entry for entry in chain(context).layers if slot.name in (entry.name, entry.bias)), None)
        if layer is not None and slot.name == layer.name:
            mine.add(slot.name)
            return Choice(self.start(layer), "start of the pre-training")
        chosen = self.base.choose(slot, context)
        if layer is not None and isinstance(chosen, Choice):
            mine.add(slot.name)
        return chosen

    def weight(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        return self.choose(slot, context)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        return ()

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        found, mine = chain(context), context.memo.get("greedy", set())
        layers = [layer for layer in found.layers if layer.name in mine and layer.name in recipe]
        if not layers:
            raise self.missing("only some that shall be left as they are")
        refused = {layer.name: words for layer in layers if (words := self.refusal(layer))}
        if refused:
            raise PlanError(f"scheme {self.name!r} cannot train {_listed(refused)}.")
        assert context.model is not None
        given = samples(context.model, context.inputs, self.data, f"scheme {self.name!r}")
        self.errors = {}
        run = _Run(self, context.model, recipe, context.seed, given, mine)
        with restoring(context.model, context.seed) as guard, torch.no_grad():
            for parameter in context.model.parameters():
                guard.protect(parameter)
            lines, notes = run.train(layers)
        notes += self._remarks(found, layers, context)
        whole_lines = [lines.get(line.name, line) for line in recipe.lines]
        return Recipe(whole_lines, kept=recipe.kept, scheme=recipe.scheme, notes=[*recipe.notes, *notes])

    def _remarks(self, found: Chain, layers: list[Layer], context: Context) -> list[str]:
        others = dict(found.left)
        names = {layer.name for layer in layers}
        others.update({layer.name: "left as asked" for layer in found.layers if layer.name not in names})
        notes = [f"Not pre-trained: {_listed(others)}."] if others else []
        if found.left:
            notes.append(f"Weights left out were drawn with seed {context.seed} meanwhile: write with that seed.")
        if type(self.base).finish is not Scheme.finish:
            notes.append(f"All else starts as in {self.base.name!r}, without its measuring pass.")
        between = [layer.name for layer in layers if layer.normalized]
        if between:
            notes.append(f"A norm rescales what was trained before it meets its nonlinearity: {', '.join(between)}.")
        return notes


def _listed(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in reasons.items())


@dataclass
class _Run:
    """One pre-training, from the first layer to the last."""

    scheme: Greedy
    model: nn.Module
    recipe: Recipe
    seed: int
    given: Samples
    mine: set[str]

    def train(self, layers: list[Layer]) -> tuple[dict[str, Line], list[str]]:
        """Lines and notes; the model holds what was found and is in eval mode afterwards."""
        write(self.model, self.recipe, self.seed)
        prepare(self.model)
        state = State.open(self.scheme.resume, self._identity(layers), f"scheme {self.scheme.name!r}")
        updates = -(-self.given.count // self.scheme.batch_size) * self.scheme.epochs
        lines: dict[str, Line] = {}
        notes = []
        with _bar(updates * len(layers), self.scheme.progress) as tick:
            for layer in layers:
                if layer.name in state.done:
                    tick(updates, layer.name)
                else:
                    state.done[layer.name] = self._layer(layer, state, tick)
                    state.current = None
                    state.save()
                kept = state.done[layer.name]
                lines.update(self._lines(layer, kept))
                notes.append(kept["note"])
                self.scheme.errors[layer.name] = tuple(kept["errors"])
                write(self.model, Recipe([lines[n] for n in (layer.name, layer.bias) if n in lines]), self.seed)
        return lines, notes

    def _lines(self, layer: Layer, kept: dict[str, Any]) -> dict[str, Line]:
        weight = kept["weight"].T if layer.transposed else kept["weight"]
        found = {layer.name: replace(self.recipe.line(layer.name), initializer=Values(weight), reason=kept["words"])}
        if kept["bias"] is not None and layer.bias is not None:
            reason = f"{self.scheme.feature} found with {layer.name}"
            found[layer.bias] = replace(self.recipe.line(layer.bias), initializer=Values(kept["bias"]), reason=reason)
        return found

    def _layer(self, layer: Layer, state: State, tick: Tick) -> dict[str, Any]:
        problem = self._problem(layer)
        slope = None if layer.slope is None else self._tensor(layer.slope, problem.weight.dtype)
        learner = self.scheme.learner(problem, slope)
        before, done, epochs = learner.error(), 0, self.scheme.epochs
        updates = -(-self.given.count // self.scheme.batch_size)
        if state.current is not None and state.current["name"] == layer.name:
            learner.load(state.current["state"])
            before, done = state.current["before"], state.current["epochs"]
            tick(updates * done, layer.name)
        for number in range(done, epochs):
            learner.epoch(number, lambda at=number: tick(1, f"{layer.name}, epoch {at + 1} of {epochs}"))  # type: ignore[misc]
            if not learner.finite():
                raise PlanError(
                    f"{layer.name}: its weights are not finite after epoch {number + 1} of {epochs}; pass a smaller lr."
                )
            state.current = {"name": layer.name, "epochs": number + 1, "state": learner.state(), "before": before}
            state.save()
        weight, bias = learner.found()
        after, remark = learner.error(), learner.remark()
        words = f"{self.scheme.words(problem)}: {epochs} epochs on {self.given.count:,} samples; {problem.units.words}"
        rose = " (it rose: pass a smaller lr)" if after > before else ""
        note = f"{layer.name}: reconstruction error {before:.4g} → {after:.4g}{rose}" + (
            f"; {remark}" if remark else ""
        )
        return {
            "weight": weight.cpu(),
            "bias": None if bias is None else bias.cpu(),
            "words": words,
            "note": f"{note}.",
            "errors": [before, after],
        }

    def _problem(self, layer: Layer) -> Problem:
        parameter = self._named(layer.name)
        dtype = torch.float64 if parameter.dtype is torch.float64 else torch.float32
        weight = self._tensor(layer.name, dtype)
        weight = weight.T.contiguous() if layer.transposed else weight
        inputs = Inputs(self.model, layer, parameter, self.given, dtype)
        bias: torch.Tensor | None = None
        if layer.bias is None:
            bias = torch.zeros_like(weight.flatten(1)[:, 0])
        elif layer.bias not in self.mine:
            bias = self._tensor(layer.bias, dtype)
        return Problem(
            layer,
            inputs,
            units(layer, inputs, self.scheme.settings().get("visible", "auto")),
            Window.of(layer, weight.shape) if layer.window else None,
            weight,
            bias,
            Key(self.seed, layer.name).child(self.scheme.name),
            self.scheme.batch_size,
        )

    def _named(self, name: str) -> torch.Tensor:
        return dict(self.model.named_parameters(remove_duplicate=False))[name]

    def _tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        return self._named(name).detach().to(dtype).clone()

    def _identity(self, layers: list[Layer]) -> dict[str, str]:
        """All that the result depends on, in words short enough to be compared in an error."""
        state = [*self.model.named_parameters(), *self.model.named_buffers()]
        shapes = {name: tuple(tensor.shape) for name, tensor in state}
        values = Samples((), {name: tensor.detach() for name, tensor in state}, -1)
        options = {**self.scheme.settings(), "epochs": self.scheme.epochs, "batch_size": self.scheme.batch_size}
        return {
            "scheme": self.scheme.name,
            "layers": ", ".join(f"{layer.name} {shapes[layer.name]}" for layer in layers),
            **{f"option {name}": repr(value) for name, value in sorted(options.items())},
            "seed": str(self.seed),
            "data": f"{self.given.count:,} samples, hash {self.given.digest}",
            "start of all parameters": f"hash {values.digest}",
        }


@contextmanager
def _bar(total: int, wanted: bool | None) -> Iterator[Tick]:
    """A function that counts updates and says what is being done."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda updates, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("pre-training {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda updates, text: bar.update(task, advance=updates, description=text)
