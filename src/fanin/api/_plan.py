"""plan: what each parameter should start as."""

from __future__ import annotations

from typing import Any

from torch import nn

from fanin import schemes
from fanin.errors import InputError
from fanin.recipe import Recipe
from fanin.slots import find

__all__ = ["plan"]


def plan(model: nn.Module, inputs: Any = None, target: Any = None, *, scheme: str = "auto", **options: Any) -> Recipe:
    """Decide what each parameter should start as, and say why; nothing is written.

    Args:
        model: any ``nn.Module``.
        inputs: a batch as in :func:`fanin.check`; with it the plan knows which op uses each parameter, which
            nonlinearity follows, where residual branches end and which map is the head. Without it only what module
            kinds tell.
        target: targets of the batch; schemes that set the head by the class frequencies use them.
        scheme: a name of ``fanin.schemes.names()``.
        options: arguments of the scheme; every scheme takes ``overrides={name or pattern: Initializer}``,
            ``keep=[…]`` and ``only=[…]``; those that measure drawn weights ("lsuv") also the ``seed`` that they
            will be written with.

    Returns:
        A Recipe: parameter name → Initializer; ``recipe.lines`` hold the reasons; ``recipe.show()`` prints them.

    Raises:
        PlanError: if a parameter is covered by no rule; the text names it and the ways to go on.
        UnknownNameError: if the scheme does not exist.

    Example:
        >>> import torch, fanin
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
        >>> recipe = fanin.plan(model, torch.randn(4, 8))
        >>> recipe.line("0.weight").reason[:35]
        'He: fan_in 8, relu follows; gain √2'
    """
    if not isinstance(model, nn.Module):
        raise InputError.of("model", type(model).__name__, "a torch.nn.Module")
    graph = None if inputs is None else schemes.observe(scheme, model, inputs, target, **options)
    slots = find(model, graph)
    return schemes.plan(scheme, slots, graph=graph, target=target, model=model, inputs=inputs, **options)
