"""trace: one forward and backward of any eager model, recorded and then undone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from fanin.errors import FaninError, TraceError
from fanin.trace._assemble import assemble_graph, assemble_signals
from fanin.trace._judged import Judged, Listener
from fanin.trace._loss import compute_loss, cotangent, tensors_in
from fanin.trace._measure import Gauge
from fanin.trace._record import LossKind, Trace
from fanin.trace._recorder import Recorder
from fanin.trace._restore import Guard, restoring
from fanin.trace._stats import BatchAxis
from fanin.trace._validate import validate

__all__ = ["trace"]

Loss = Callable[[Any, Any], torch.Tensor]


def trace(
    model: nn.Module,
    inputs: Any,
    target: Any = None,
    loss: Loss | None = None,
    *,
    statistics: bool = True,
    seed: int = 0,
) -> Trace:
    """Run a model forward and backward once, record what happened, and put everything back.

    The model runs in the mode (train or eval) it is in, with seeded random generators. Afterwards its parameters,
    buffers, gradients, modes, attributes, hooks and all random states are as before, also where the model raised.

    Args:
        model: any module that runs eagerly; its parameters must hold values (no meta device, no lazy layers).
        inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        target: what the loss compares with; None for no comparison.
        loss: ``loss(output, target)`` → a scalar. Default: cross-entropy for integer targets (classes on the last
            axis or on axis 1), mean squared error for float targets, the ``loss`` of the output where a model
            computes one itself, else a random unit cotangent over all floating outputs.
        statistics: False to record the graph and the gradients alone.
        seed: seeds dropout and the random cotangent.

    Returns:
        The :class:`Trace`: graph, signals (forward, backward), loss, gradients, notes.

    Raises:
        InputError: if model, inputs or target cannot be used; nothing was run, or the loss does not fit.
        TraceError: if the model or the loss raised; ``__cause__`` is their exception.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        >>> record = trace(model, torch.randn(16, 4), torch.randint(3, (16,)))
        >>> [(node.place, node.op) for node in record.graph.nodes]
        [('input', 'argument'), ('0', 'linear'), ('1', 'tanh'), ('2', 'linear')]
        >>> record.loss_kind, sorted(record.gradients)
        ('cross_entropy', ['0.bias', '0.weight', '2.bias', '2.weight'])
    """
    model = _eager(model)
    arguments, keywords = validate(model, inputs, target, loss)
    gauge = Gauge() if statistics else None
    given = [*tensors_in(inputs), *tensors_in(target)]
    with restoring(model, seed, given) as guard, ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # compiled parts run as they were written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        run = _Run(model, guard, gauge, seed)
        return run.finish(inputs, arguments, keywords, target, loss)


def _eager(model: nn.Module) -> nn.Module:
    original = getattr(model, "_orig_mod", None)
    return original if isinstance(original, nn.Module) and type(model).__name__ == "OptimizedModule" else model


class _Run:
    """One run: forward under the recorder, loss, backward, records."""

    def __init__(self, model: nn.Module, guard: Guard, gauge: Gauge | None, seed: int) -> None:
        self.model, self.guard, self.gauge, self.seed = model, guard, gauge, seed
        self.notes: list[str] = []
        self.leaves: list[torch.Tensor] = []
        self.judged: tuple[Judged, ...] = ()

    def finish(
        self, inputs: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], target: Any, loss: Loss | None
    ) -> Trace:
        """Do all of it."""
        batch = _batch_axis(self.model, arguments, keywords, target)
        recorder = Recorder(self.model, self.guard, self.gauge, batch.size if batch else None)
        names = {id(p): name for name, p in reversed(list(self.model.named_parameters(remove_duplicate=False)))}
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        if not trainable:
            arguments, keywords = self._differentiate_inputs(arguments, keywords)
        with torch.enable_grad():
            output = self._forward(recorder, arguments, keywords, batch)
            value, kind = self._loss(output, target, loss)
            outputs = list(tensors_in(output))
            nodes = self._output_nodes(recorder, outputs, value)
            gradients = self._backward(recorder, value, outputs, trainable)
        graph = assemble_graph(recorder.drafts, nodes, _module_names(self.model), batch.size if batch else None)
        return Trace(
            graph=graph,
            signals=assemble_signals(graph, self.gauge or Gauge()),
            loss=None if value is None or kind == "cotangent" else float(value.detach()),
            loss_kind=kind,
            notes=tuple(self.notes),
            inputs=inputs,
            target=target,
            output=_detached(output),
            judged=self.judged,
            gradients={names[id(p)]: _whole(g) for p, g in zip(trainable, gradients) if g is not None},
            sources={graph.nodes[i].place: tensor for i, tensor in recorder.given.items()},
        )

    def _differentiate_inputs(
        self, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """With all parameters frozen the gradient is taken with respect to the floating inputs."""
        leaves: dict[int, torch.Tensor] = {}
        copies: dict[int, torch.Tensor] = {}

        def copy(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                if id(value) not in copies:
                    plain = value.clone() if value.is_inference() else value  # which may require no gradient
                    leaves[id(value)] = plain.detach().requires_grad_()
                    with torch.enable_grad():  # no leaf itself: that may not be written in place
                        copies[id(value)] = leaves[id(value)].clone()
                return copies[id(value)]
            return value

        arguments = tuple(copy(value) for value in arguments)
        keywords = {name: copy(value) for name, value in keywords.items()}
        self.leaves = list(leaves.values())
        what = "the gradient is that of the inputs" if self.leaves else "no gradient"
        self.notes.append(f"{what}: no parameter requires one")
        return arguments, keywords

    def _forward(
        self, recorder: Recorder, arguments: tuple[Any, ...], keywords: dict[str, Any], batch: BatchAxis | None
    ) -> Any:
        named = _named_arguments(arguments, keywords)
        with ExitStack() as stack:
            for name, tensor in named:
                fits = batch is not None and tensor.dim() > batch.axis and tensor.shape[batch.axis] == batch.size
                recorder.add_argument(tensor, name, batch if fits else None)
            enter = hooks.register_module_forward_pre_hook(recorder.modules.enter)
            stack.callback(enter.remove)
            leave = hooks.register_module_forward_hook(recorder.modules.leave, always_call=True)
            stack.callback(leave.remove)
            stack.enter_context(recorder)
            try:
                return self.model(*arguments, **keywords)
            except FaninError:
                raise
            except Exception as error:
                place = recorder.modules.raised_in(error)
                where = f" in {place!r}" if place else ""
                raise TraceError(f"the model raised {type(error).__name__}{where}: {error}") from error

    def _loss(self, output: Any, target: Any, loss: Loss | None) -> tuple[torch.Tensor | None, LossKind]:
        listener = Listener()
        with listener:
            value, kind = compute_loss(output, target, loss)
        outputs = [tensor.detach() for tensor in tensors_in(output) if tensor.is_floating_point()]
        self.judged = listener.of(outputs, list(tensors_in(target)))
        return value, kind

    def _output_nodes(self, recorder: Recorder, outputs: list[torch.Tensor], value: torch.Tensor | None) -> list[int]:
        """Nodes behind the outputs; a loss that the model computed itself is not one where there are others."""
        origins = [(t, recorder.table.get(t)) for t in outputs if t.is_floating_point() or t.is_complex()]
        nodes = []
        for tensor, origin in origins:
            if origin is not None and origin.node is not None:
                if not origin.hooked and tensor.requires_grad:
                    recorder._late_hook(tensor, origin)
                nodes.append(origin.node)
            elif origin is None and tensor.grad_fn is not None:
                made = recorder._outside(tensor)
                if made.node is not None:
                    nodes.append(made.node)
        proper = [node for node in nodes if recorder.drafts[node].kind != "loss"]
        return proper or nodes

    def _backward(
        self,
        recorder: Recorder,
        value: torch.Tensor | None,
        outputs: list[torch.Tensor],
        trainable: list[nn.Parameter],
    ) -> list[torch.Tensor | None]:
        roots = [value] if value is not None else [t for t in outputs if t.is_floating_point()]
        roots = [root for root in roots if root.requires_grad]
        wanted: list[torch.Tensor] = [*trainable] or self.leaves
        if not roots or not wanted:
            if wanted:
                self.notes.append("no gradient: the output does not depend on anything that requires one")
            return [None] * len(trainable)
        directions = None if value is not None else cotangent(roots, self.seed)
        try:
            if recorder.reentrant:
                gradients = self._into_grad(roots, directions, wanted)
            else:
                gradients = list(torch.autograd.grad(roots, wanted, directions, allow_unused=True))
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the backward pass raised {type(error).__name__}: {error}") from error
        return gradients[: len(trainable)]

    def _into_grad(
        self, roots: list[torch.Tensor], directions: list[torch.Tensor] | None, wanted: list[torch.Tensor]
    ) -> list[torch.Tensor | None]:
        """Reentrant checkpoints refuse ``autograd.grad``: use ``backward`` and take the gradients from ``.grad``."""
        kept = []
        for leaf in wanted:
            after = leaf._post_accumulate_grad_hooks
            if after:
                kept.append((after, dict(after)))
                after.clear()
            leaf.grad = None
        try:
            torch.autograd.backward(roots, directions)
            return [leaf.grad for leaf in wanted]
        finally:
            for after, entries in kept:
                after.update(entries)
            for leaf in wanted:
                leaf.grad = None


def _whole(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient that is sharded over processes, gathered."""
    return gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient


def _named_arguments(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    named: list[tuple[str, torch.Tensor]] = []
    for value in arguments:
        named += [("input", tensor) for tensor in tensors_in(value)]
    for name, value in keywords.items():
        named += [(name, tensor) for tensor in tensors_in(value)]
    return named


def _batch_axis(
    model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], target: Any
) -> BatchAxis | None:
    """The first axis of the first tensor with axes, unless the model or a vector of targets says it is the second."""
    named = _named_arguments(arguments, keywords)
    first = next((t for _, t in named if t.dim() > 0 and not t.is_nested), None)
    if first is None:
        return None
    axis = 0
    if first.dim() >= 2:
        samples = target.shape[0] if isinstance(target, torch.Tensor) and target.dim() == 1 else None
        second = samples == first.shape[1] != first.shape[0]
        if second or (getattr(model, "batch_first", None) is False and first.dim() == 3):
            axis = 1
    return BatchAxis(axis, first.shape[axis])


def _module_names(model: nn.Module) -> dict[str, str]:
    return {path: type(module).__name__ for path, module in model.named_modules()}


def _detached(output: Any) -> Any:
    """The same nesting with detached tensors; objects of other kinds are dropped for they may hold the graph."""
    if isinstance(output, torch.Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        return {key: _detached(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [_detached(value) for value in output]
    if isinstance(output, (bool, int, float, str)):
        return output
    tensors = list(tensors_in(output))
    return [tensor.detach() for tensor in tensors] if tensors else None
