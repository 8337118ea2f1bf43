"""observe: the graph that a plan needs, from a forward pass alone, or from the run that a scheme makes anyway."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from fanin.schemes._base import REGISTRY, Scheme
from fanin.trace._assemble import assemble_graph
from fanin.trace._loss import tensors_in
from fanin.trace._recorder import Recorder
from fanin.trace._restore import Guard, restoring
from fanin.trace._run import _batch_axis, _eager, _module_names, _Run
from fanin.trace._validate import validate

if TYPE_CHECKING:
    from torch import nn

    from fanin.graph import Graph
    from fanin.schemes._one_pass import Watch

__all__ = ["forward_graph", "observe", "record"]

_ASKED = ("overrides", "keep", "only", "seed")
"""Arguments of ``plan`` that are none of the scheme's."""


def observe(scheme: str | Scheme, model: nn.Module, inputs: Any, target: Any = None, **options: Any) -> Graph:
    """The graph of one run of a model, for ``plan``; a scheme that measures a run of its own lends its graph.

    Nothing is differentiated: what a plan reads is known after the forward pass.

    Args:
        scheme: as in ``plan``.
        model: any eager module.
        inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        target: targets of the batch; a vector of them tells which axis of the inputs holds the samples.
        options: as in ``plan``.

    Returns:
        The graph, as ``fanin.trace(model, inputs).graph``.

    Raises:
        InputError: if model or inputs cannot be used; nothing was run.
        TraceError: if the model raised.

    Example:
        >>> from torch import nn
        >>> graph = observe("he", nn.Sequential(nn.Linear(4, 8), nn.Tanh()), torch.ones(2, 4))
        >>> [node.op for node in graph.nodes]
        ['argument', 'linear', 'tanh']
    """
    cls = REGISTRY[scheme] if isinstance(scheme, str) else type(scheme)
    own: Callable[..., Graph | None] | None = getattr(cls, "observe", None)
    if own is not None:
        asked = {name: value for name, value in options.items() if name in _ASKED}
        settings = {name: value for name, value in options.items() if name not in _ASKED}
        made = cls(**settings) if isinstance(scheme, str) and accepts(cls, settings) else scheme
        found = None if isinstance(made, str) else own(made, model, inputs, target, asked)
        if found is not None:
            return found
    return forward_graph(model, inputs, target)


def accepts(cls: type[Scheme], settings: Mapping[str, Any]) -> bool:
    """Whether all options are known; ``plan`` is the one to refuse those that are not."""
    return set(settings) <= set(inspect.signature(cls.__init__).parameters)


def forward_graph(model: nn.Module, inputs: Any, target: Any = None, seed: int = 0) -> Graph:
    """Run forward once, record the graph and put everything back.

    Args:
        model: the model; inputs, target: as in :func:`observe`.
        seed: seeds the random generators.
    """
    model = _eager(model)
    arguments, keywords = validate(model, inputs, None, None)
    batch = list(tensors_in(inputs))
    with restoring(model, seed, batch) as guard:
        for tensor in batch:  # written by an in-place activation that comes first
            guard.protect(tensor)
        return record(model, guard, arguments, keywords, target)


def record(
    model: nn.Module,
    guard: Guard,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    target: Any = None,
    watch: Watch | None = None,
) -> Graph:
    """The graph of one forward pass of a model that is guarded already.

    What requires a gradient tells signals from masks and shows functions that torch does not, so the pass is one that
    could be differentiated; but nothing is kept for that, so that it needs no more memory than any other.

    Args:
        model: the model; arguments, keywords: of the call; target: as in :func:`observe`.
        guard: told of what is about to be written.
        watch: looks at each call before it is recorded.

    Raises:
        TraceError: if the model raised.
    """
    run = _Run(model, guard, None, 0)
    batch = _batch_axis(model, arguments, keywords, target)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        arguments, keywords = run._differentiate_inputs(arguments, keywords)
    recorder = _Forward(model, guard, None, batch.size if batch else None)
    recorder.watch = watch
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # compiled parts run as they were written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(_nothing, _nothing))
        output = run._forward(recorder, arguments, keywords, batch)
        outputs = run._output_nodes(recorder, list(tensors_in(output)), None)
    return assemble_graph(recorder.drafts, outputs, _module_names(model), batch.size if batch else None)


def _nothing(_: Any) -> torch.Tensor:
    return torch.empty(0)


class _Forward(Recorder):
    """A recorder that shows calls to a watch first."""

    watch: Watch | None = None
    calling: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calling = (func, args, kwargs or {})
        return super().__torch_function__(func, types, args, kwargs)

    def _record(self, spec: Any, call: Any, operands: Any, result: Any, changed: Any) -> None:
        if self.watch is not None:
            func, args, keywords = self.calling
            self.watch.saw(func, args, keywords, result)
        super()._record(spec, call, operands, result, changed)
