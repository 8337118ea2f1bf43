"""rewire_."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fanin.errors import FaninError, InputError, PlanError
from fanin.schemes._base import Scheme
from fanin.schemes._changes import Change, apply
from fanin.schemes._rewiring import rewiring
from fanin.slots import find
from fanin.trace import trace as run_trace

__all__ = ["Rewired", "rewire_"]


class Rewired:
    """What was changed in a model, and the way back.

    Args:
        scheme: name of the scheme.
        changes: what was changed, in order.
        undo: takes it back.
    """

    def __init__(self, scheme: str, changes: tuple[Change, ...], undo: Callable[[], object]) -> None:
        self.scheme, self.changes, self._undo = scheme, changes, undo

    def undo(self) -> None:
        """Take all changes back: same modules, same state dict, same outputs; a second call does nothing.

        Parameters that were there before keep the values that they have now.
        """
        self._undo()

    def show(self) -> None:
        """Print what was changed, a line for each module."""
        print(self)

    def __str__(self) -> str:
        if not self.changes:
            return f"{self.scheme}: nothing to change"
        lines = [f"  {change.where}: {change.what}" for change in self.changes]
        return "\n".join([f"{self.scheme}: {len(self.changes)} changes", *lines])

    def __repr__(self) -> str:
        return f"Rewired(scheme={self.scheme!r}, {len(self.changes)} changes)"


def rewire_(model: nn.Module, inputs: Any, target: Any = None, *, scheme: str | Scheme, **options: Any) -> Rewired:
    """Give a model the forward pass that a scheme was published with; the places come from the traced run.

    New parameters start at values that change nothing (factors 1, biases 0); ``fanin.init_`` with the same scheme then
    plans them too. They are registered on existing modules and used by forward hooks, so that names of other
    parameters, deepcopy, pickle, state dicts and wrappers work as before. Create the optimizer afterwards.

    Args:
        model: any ``nn.Module`` with real parameters; changed in place.
        inputs: a batch as in :func:`fanin.check`.
        target: targets of the batch, for schemes that use them.
        scheme: a name of ``fanin.schemes.names()``; those that need no change of the forward change nothing.
        options: arguments of the scheme.

    Returns:
        A Rewired: ``.changes`` with their reasons, ``.show()``, ``.undo()``.

    Raises:
        PlanError: if the scheme does not fit the model or a change cannot be made from outside; the text names the op
            and what to do, and the model is as it was.
        UnknownNameError: if the scheme does not exist.

    Example:
        >>> import torch, fanin
        >>> class Block(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.branch = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
        ...
        ...     def forward(self, x):
        ...         return x + self.branch(x)
        >>> model, x = torch.nn.Sequential(Block(), Block()), torch.randn(4, 8)
        >>> rewired = fanin.rewire_(model, x, scheme="rezero")
        >>> [change.where for change in rewired.changes]
        ['0.branch', '1.branch']
        >>> recipe = fanin.init_(model, x, scheme="rezero")
        >>> bool(torch.equal(model(x), x))
        True
        >>> rewired.undo()
    """
    if not isinstance(model, nn.Module):
        raise InputError.of("model", type(model).__name__, "a torch.nn.Module")
    if inputs is None:
        raise InputError.of("inputs", None, "a batch: the places are found in a run of the model")
    graph = run_trace(model, inputs, target, statistics=False).graph
    slots = find(model, graph)
    changes = rewiring(scheme, slots, graph, model=model, inputs=inputs, target=target, **options)
    undo = apply(model, changes)
    try:
        if changes:
            run_trace(model, inputs, target, statistics=False)
    except FaninError as error:
        undo()
        raise PlanError(f"the rewired model does not run; it is as it was. {error}") from error
    return Rewired(scheme if isinstance(scheme, str) else scheme.name, changes, undo)
