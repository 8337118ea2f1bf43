"""What the schemes that learn scales share: the model as a function of one factor for each weight that was drawn."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from fanin.data import Batch
from fanin.errors import FaninError, InputError, PlanError, TraceError
from fanin.initializers import Initializer, Rescaled
from fanin.materialize._write import canonical_names, fill_all, jobs
from fanin.recipe import Recipe
from fanin.schemes._base import REGISTRY, Choice, Context, Keep, Scheme
from fanin.trace._loss import compute_loss, cotangent, tensors_in
from fanin.trace._restore import restoring
from fanin.trace._validate import validate

if TYPE_CHECKING:
    from fanin.recipe import Line
    from fanin.slots import Slot

__all__ = ["Learned", "Scaled", "learning", "rescaled", "steps"]

Loss = Callable[[Any, Any], torch.Tensor]

_NARROW = (torch.float16, torch.bfloat16)
"""Held in float32 while factors are learned: a second derivative in 8 or 11 bits is mostly rounding."""


class Learned(Scheme):
    """A scheme that keeps the directions another scheme draws and learns how long each tensor is."""

    def __init__(self, base: str | Scheme, loss: Loss | None, progress: bool | None) -> None:
        owner = f"scheme {self.name!r}"
        if isinstance(base, str):
            base = REGISTRY[base]()
        if not isinstance(base, Scheme):
            raise InputError.of("base", base, "the name of a scheme, or a Scheme", owner)
        if loss is not None and not callable(loss):
            raise InputError.of("loss", loss, "loss(output, target) → scalar, or None", owner)
        if progress is not None and not isinstance(progress, bool):
            raise InputError.of("progress", progress, "True, False, or None for a bar on terminals", owner)
        self.base, self.loss, self.progress = base, loss, progress

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run", f"scheme {self.name!r}")
        validate(context.model, context.inputs, context.target, self.loss)
        self.base.fit(context)

    def weight(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        return self.base.weight(slot, context)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        return self.base.choose(slot, context)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        return self.base.notes(context)


class Scaled:
    """The model as a function of factors: its tensors are factor · what a recipe draws for them.

    The model's own tensors are never written; buffers are copies as well.

    Args:
        owner: the scheme, for errors.
        model: the model, in the mode it shall run in.
        recipe: what the tensors start as.
        seed: what they are drawn with.
        tuned: whether a tensor of this shape gets a factor; those of norm 0 get none.
        loss: ``loss(output, target)``, or None for the default.
    """

    def __init__(
        self,
        owner: str,
        model: nn.Module,
        recipe: Recipe,
        seed: int,
        tuned: Callable[[tuple[int, ...]], bool],
        loss: Loss | None,
    ) -> None:
        self.owner, self.model, self.user_loss, self._checked = owner, model, loss, False
        drawn = _drawn(model, recipe, seed)
        self.buffers = {name: _wide(buffer.detach().clone()) for name, buffer in model.named_buffers()}
        self.values, self.free = {}, []
        for name, parameter in model.named_parameters():
            self.values[name] = _wide(drawn.get(name, parameter.detach()))
            if parameter.requires_grad and parameter.is_floating_point() and parameter.numel():
                self.free.append(name)
        planned = {canonical_names(model)[line.name][0] for line in recipe.lines}
        norms = {name: _norm(self.values[name]) for name in self.free if name in planned}
        self.norms = {name: norm for name, norm in norms.items() if norm > 0 and tuned(tuple(self.values[name].shape))}
        for name, norm in norms.items():
            if norm != norm or norm == float("inf"):
                raise PlanError(f"{owner}: {name} as drawn is not finite.")
        if not self.norms:
            raise PlanError(f"{owner}: no tensor to rescale: none of those planned is trainable, of norm > 0 and fit.")

    @property
    def names(self) -> list[str]:
        """The tensors that have a factor."""
        return list(self.norms)

    def weights(self, factors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Trainable parameter → its value, differentiable with respect to the vector of factors and to itself."""
        scaled = dict(zip(self.norms, factors.unbind()))
        return {
            name: scaled[name].to(self.values[name]) * self.values[name]
            if name in scaled
            else self.values[name].clone().requires_grad_()
            for name in self.free
        }

    def loss(
        self, weights: Mapping[str, torch.Tensor], batch: Batch, *, random: torch.Generator | None = None
    ) -> torch.Tensor:
        """The loss at these weights.

        Args:
            weights: as from :meth:`weights`.
            batch: inputs and target; the model gets copies.
            random: draw the targets of the default loss anew, or a direction of the outputs where there is no loss.

        Raises:
            TraceError: if the model raised.
            InputError: if output and target do not fit the loss.
            PlanError: if there is no target, no loss of the model's own and no ``random``.
        """
        inputs, target = tree_map(_copied, (batch.inputs, batch.target))
        arguments = inputs if isinstance(inputs, (tuple, list)) else () if isinstance(inputs, Mapping) else (inputs,)
        keywords = dict(inputs) if isinstance(inputs, Mapping) else {}
        try:
            output = functional_call(
                self.model, ({**self.values, **weights}, self.buffers), tuple(arguments), keywords, strict=False
            )
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
        if random is not None and self.user_loss is None:
            target = _random_target(output, target, random)
        value, _ = compute_loss(output, target, self.user_loss)
        if value is None and random is None:
            raise PlanError(f"{self.owner} needs a loss to reduce; pass a target, or a model that returns its loss.")
        if value is None:
            outputs = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
            directions = cotangent(outputs, random.initial_seed() if random is not None else 0)
            value = torch.stack([(out * way).sum() for out, way in zip(outputs, directions)]).sum()
        return value

    def gradients(
        self, value: torch.Tensor, weights: Mapping[str, torch.Tensor], *, twice: bool = False
    ) -> dict[str, torch.Tensor]:
        """Parameter → gradient, of those that ``value`` depends on; checked to be finite.

        Args:
            value: a scalar.
            weights: as from :meth:`weights`.
            twice: keep what is needed to differentiate the gradient.

        Raises:
            PlanError: if an entry is not finite, or an op has no second derivative.
        """
        if not value.requires_grad:
            raise PlanError(f"{self.owner}: the loss depends on no trainable parameter.")
        found = self.differentiate(value, list(weights.values()), twice)
        grads = {name: grad for name, grad in zip(weights, found) if grad is not None}
        if twice and not self._checked:
            # Autograd would drop such an op in silence, and its curvature with it.
            if any(_once(grad) for grad in grads.values()):
                raise self._refused(" twice", "a custom autograd.Function is marked once_differentiable")
            self._checked = True
        at = float(value.detach())
        for name, grad in grads.items():
            if at != at or not bool(torch.isfinite(grad).all()):
                raise PlanError(
                    f"{self.owner}: the gradient of {name} is not finite (loss {at:.4g}). Start from another base=, or "
                    "check the model with fanin.check."
                )
        return grads

    def slope(self, value: torch.Tensor, factors: torch.Tensor, what: str) -> torch.Tensor:
        """Derivative of ``value`` with respect to each factor, in float64.

        Raises:
            PlanError: naming the first tensor for which it is not finite.
        """
        (found,) = self.differentiate(value, [factors])
        slope = torch.zeros_like(factors) if found is None else found
        for name, entry in zip(self.names, slope.tolist()):
            if not math.isfinite(entry):
                raise PlanError(
                    f"{self.owner}: the derivative of the {what} ({float(value.detach()):.4g}) with respect to the "
                    f"norm of {name} is not finite. Start from another base=, or take smaller steps (lr=)."
                )
        return slope

    def differentiate(
        self, value: torch.Tensor, of: Sequence[torch.Tensor], twice: bool = False
    ) -> tuple[torch.Tensor | None, ...]:
        """``torch.autograd.grad`` that keeps the graph, with an error that says what to do."""
        try:
            return torch.autograd.grad(value, list(of), create_graph=twice, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise self._refused(" twice" if twice or "derivative" in str(error) else "", str(error)) from error

    def _refused(self, times: str, why: str) -> PlanError:
        return PlanError(
            f"{self.owner}: this model cannot be differentiated{times} ({why}). A fused op without a second derivative "
            "must be replaced by its plain form while the scales are learned: "
            "attn_implementation='eager' in transformers, no torch.compile, no custom autograd.Function."
        )


@contextmanager
def learning(model: nn.Module, seed: int, given: Any) -> Iterator[None]:
    """Run the body with the model in eval mode (no dropout) but batch statistics, and ops that differentiate twice."""
    with restoring(model, seed, tensors_in(given)), ExitStack() as stack:
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # Flash and memory-efficient attention have no second derivative; nor have cuDNN's recurrent layers.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()) and torch.cuda.is_available():
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(torch.enable_grad())
        model.eval()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.training = True
        yield


@contextmanager
def steps(total: int, title: str, wanted: bool | None) -> Iterator[Iterator[int]]:
    """0, 1, … with a bar on the terminal; None shows it where standard error is one."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield iter(range(total))
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield iter(bar.track(range(total), description=title))


def rescaled(
    recipe: Recipe, scaled: Scaled, factors: Sequence[float], scheme: str, seed: int, notes: Sequence[str]
) -> Recipe:
    """The recipe with each line times its factor."""
    found = dict(zip(scaled.names, factors, strict=True))
    known = canonical_names(scaled.model)
    lines = []
    for line in recipe.lines:
        name = known[line.name][0]
        lines.append(_rescaled(line, found[name], scaled.norms[name]) if name in found else line)
    told = f"Factors measured for weights drawn with seed {seed}: write with that seed."
    return type(recipe)(lines, kept=recipe.kept, scheme=scheme, notes=[*recipe.notes, told, *notes])


def _rescaled(line: Line, factor: float, norm: float) -> Line:
    reason = f"{line.reason}; norm {norm:.4g} → {norm * factor:.4g} (times {factor:.4g})"
    inner = line.initializer
    law: Initializer
    if isinstance(inner, Rescaled):
        law = Rescaled(inner.inner, factor * inner.config["factor"])
    else:
        law = Rescaled(inner, factor)
    return replace(line, initializer=law, reason=reason)


def _drawn(model: nn.Module, recipe: Recipe, seed: int) -> dict[str, torch.Tensor]:
    """Canonical name → what the recipe draws, in new memory of the parameter's dtype."""
    known = canonical_names(model)
    names = {known[line.name][0]: known[line.name][1] for line in recipe.lines}
    fresh = {name: torch.empty_like(tensor, requires_grad=False) for name, tensor in names.items()}
    fill_all(jobs(model, recipe, seed, replaced=fresh))
    return fresh


def _once(gradient: torch.Tensor) -> bool:
    """Whether a gradient passed an op that was declared to be differentiable once."""
    seen: set[Any] = set()
    stack = [gradient.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::Error":
            return True
        stack.extend(following for following, _ in node.next_functions)
    return False


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in _NARROW else tensor


def _copied(value: Any) -> Any:
    """A tensor of its own, so that a model that writes to its input spoils nothing."""
    return _wide(value.detach().clone()) if isinstance(value, torch.Tensor) else value


def _norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


def _random_target(output: Any, target: Any, generator: torch.Generator) -> Any:
    """Classes or numbers at random in place of ``target``; what the loss ignores stays ignored."""
    from fanin.trace._loss import _IGNORED_CLASS, _class_layout, _prediction

    if not isinstance(target, torch.Tensor):
        return target
    if target.is_floating_point():
        return torch.randn(target.shape, generator=generator, dtype=torch.float64).to(target)
    classes = _class_layout(_prediction(output), target)[1]
    drawn = torch.randint(classes, target.shape, generator=generator).to(target)
    return torch.where(target == _IGNORED_CLASS, target, drawn)
