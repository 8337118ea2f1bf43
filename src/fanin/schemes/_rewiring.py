"""rewiring: the changes of the forward pass that a scheme asks for on a traced model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.schemes._base import Context, Scheme
from fanin.schemes._plan import _scheme

if TYPE_CHECKING:
    from torch import nn

    from fanin.graph import Graph
    from fanin.schemes._changes import Change
    from fanin.slots import Slots

__all__ = ["rewiring"]


def rewiring(
    name: str | Scheme,
    slots: Slots,
    graph: Graph,
    *,
    model: nn.Module,
    inputs: Any,
    target: Any = None,
    **options: Any,
) -> tuple[Change, ...]:
    """What must change before the model has the published forward; nothing is changed yet.

    Args:
        name: a registered scheme, or a Scheme of your own.
        slots: the places, from ``fanin.slots.find``.
        graph: the traced run.
        model: the model, run once more to see which module returned what.
        inputs: the batch.
        target: targets of the batch, for schemes that use them.
        options: arguments of the scheme.

    Raises:
        PlanError: if the scheme does not fit the model, or a change cannot be made from outside.
    """
    scheme = _scheme(name, options)
    context = Context(slots, graph, target, model, inputs)
    scheme.fit(context)
    return scheme.changes(context)
