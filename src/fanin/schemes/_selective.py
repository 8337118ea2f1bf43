"""Selective state spaces in a traced run: the parameters that set rates, steps and the skip of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.graph import Graph, Node, ParamUse
    from fanin.schemes._base import Context
    from fanin.slots import Slots

__all__ = ["Selective", "selective"]

_MOVING = ("shape", "cast", "dropout")
_CLAMPS = ("clamp", "relu", "relu6", "hardtanh")
"""What keeps a step, which is positive, inside bounds; a trace names a clamp at 0 alone relu."""

_TURNING = ("t", "transpose", "permute", "swapaxes", "swapdims", "adjoint")


@dataclass
class Selective:
    """What the run showed of h ← exp(Δ·A)·h + Δ·B·x, y = C·h + D·x, with A = −exp(·) and Δ = softplus(·).

    Args:
        rates: parameter behind A → the axis that counts the states of a channel; None where a channel has one rate;
            −1 where the run does not tell.
        biases: what is added last before the softplus that makes Δ.
        maps: weights whose whole output that softplus turns into Δ.
        skips: D.
        steps: softplus ops that make a Δ → name of its bias, or None.
        inside: ids of the ops from Δ to the next map, the recurrence among them.
    """

    rates: dict[str, int | None] = field(default_factory=dict)
    biases: set[str] = field(default_factory=set)
    maps: set[str] = field(default_factory=set)
    skips: set[str] = field(default_factory=set)
    steps: dict[int, str | None] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)

    @property
    def own(self) -> set[str]:
        """All parameters that have a role here."""
        return {*self.rates, *self.biases, *self.maps, *self.skips}


def selective(context: Context) -> Selective:
    """The selective state spaces of a traced model, worked out once."""
    assert context.graph is not None
    if "selective" not in context.memo:
        context.memo["selective"] = _found(context.slots, context.graph)
    found: Selective = context.memo["selective"]
    return found


def _found(slots: Slots, graph: Graph) -> Selective:
    found = Selective()
    for node in graph.nodes:
        if "parameter_only" in node.attrs or node.op not in ("mul", "einsum"):
            continue
        for use in node.params:
            step = _step_of_rate(graph, node, use) if use.name in slots else None
            if step is None:
                continue
            shape = slots[use.name].shape
            axis = _state_axis(graph, node, use, shape, step[0])
            found.rates.setdefault(slots[use.name].name, axis)
            channels = math.prod(size for i, size in enumerate(shape) if i != axis)
            if step[1] not in found.steps:
                found.steps[step[1]] = _origin_of_step(graph, slots, graph.nodes[step[1]], channels, found)
    found.inside = _downstream(graph, slots, found.steps)
    found.skips = {name for node in graph.nodes if (name := _skip(graph, slots, node, found.inside)) is not None}
    return found


# --- the rate -----------------------------------------------------------------------------------------------------


def _makers(graph: Graph, node: Node, use: ParamUse) -> list[Node]:
    """Ops on the parameter alone, from the one whose output ``node`` reads back to the parameter itself."""
    found: list[Node] = []
    maker = node.attrs.get("derived", {}).get(use.argument)
    while maker is not None:
        current = graph.nodes[maker]
        mine = next((other for other in current.params if other.name == use.name), None)
        if mine is None:
            break
        found.append(current)
        maker = current.attrs.get("derived", {}).get(mine.argument)
    return found


def _negates(node: Node) -> bool:
    if node.op in ("neg", "negative"):
        return True
    if node.kind == "scale" and not node.attrs.get("addend"):
        return bool(node.attrs.get("factor") == -1)
    other = node.attrs.get("other")
    return (node.op in ("mul", "div") and other == -1) or (node.op == "rsub" and other == 0)


def _sign(makers: Sequence[Node]) -> int | None:
    """±1 where the ops make ±exp(parameter), else None."""
    sign, risen = 1, False
    for node in reversed(makers):
        if len(node.params) != 1:
            return None
        if node.op == "exp" and not risen:
            risen = True
        elif risen and _negates(node):
            sign = -sign
        elif node.kind not in _MOVING:
            return None
    return sign if risen else None


def _step_of_rate(graph: Graph, node: Node, use: ParamUse) -> tuple[int, int] | None:
    """(input of ``node`` that carries Δ, the softplus that makes it) where the parameter sets a rate of decay."""
    sign = _sign(_makers(graph, node, use))
    if sign is None:
        return None
    for source in node.inputs:
        step, turned = source, sign
        while graph.nodes[step].op != "softplus":
            current = graph.nodes[step]
            if _negates(current):
                turned = -turned
            elif current.kind not in _MOVING and current.op not in _CLAMPS:
                break
            if len(current.inputs) != 1:
                break
            step = current.inputs[0]
        if graph.nodes[step].op == "softplus" and (turned < 0 or _negated_next(graph, node)):
            return source, step
    return None


def _negated_next(graph: Graph, node: Node) -> bool:
    stack = [node.id]
    while stack:
        for reader in (graph.nodes[i] for i in graph.consumers[stack.pop()]):
            if _negates(reader):
                return True
            if reader.kind in _MOVING:
                stack.append(reader.id)
    return False


def _state_axis(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...], source: int) -> int | None:
    """The stored axis along which Δ is the same: it counts the states of a channel."""
    free = _free_axes(graph, node, use, source)
    if free == []:
        return None
    if free is None or len(free) != 1:
        return -1
    axis = free[0]
    if use.axes[axis] is not None:
        return use.axes[axis]
    same = [i for i, size in enumerate(shape) if size == use.shape[axis]]
    if len(same) == 2:  # as many states as channels: views keep the order, transposes change it
        turns = sum(maker.op in _TURNING for maker in _makers(graph, node, use))
        first = all(size == 1 for size in use.shape[:axis])
        return same[0] if first != bool(turns % 2) else same[1]
    return same[0] if len(same) == 1 else -1


def _free_axes(graph: Graph, node: Node, use: ParamUse, source: int) -> list[int] | None:
    """Axes of the operand that ``source`` does not have; None where an equation does not tell."""
    if node.op == "einsum":
        operands = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
        if len(operands) != 2 or "." in "".join(operands):
            return None
        mine, other = operands if use.position == 0 else reversed(operands)
        return [i for i, letter in enumerate(mine) if letter not in other] if len(mine) == len(use.shape) else None
    step = graph.nodes[source].shape
    step = (1,) * (len(use.shape) - len(step)) + step[max(0, len(step) - len(use.shape)) :]
    return [i for i, (size, along) in enumerate(zip(use.shape, step)) if size > 1 and along == 1]


# --- the step -----------------------------------------------------------------------------------------------------


def _origin_of_step(graph: Graph, slots: Slots, step: Node, channels: int, found: Selective) -> str | None:
    """Note the bias and the map behind a softplus; the name of the bias."""
    bias: str | None = None
    current = step
    while len(current.inputs) == 1:
        current = graph.nodes[current.inputs[0]]
        weights = [u for u in current.params if u.name in slots and slots[u.name].role == "weight"]
        added = [u for u in current.params if u not in weights and _plain(graph, current, u, slots, channels)]
        if weights:
            whole = [slots[u.name].name for u in weights if _rows(slots, u.name) == channels]
            found.maps.update(whole)
            bias = bias or next((slots[u.name].name for u in added if whole), None)
            break
        if current.kind == "add" and added:
            bias = bias or slots[added[0].name].name
        elif current.kind not in (*_MOVING, "add") or current.params:
            break
    if bias is not None:
        found.biases.add(bias)
    return bias


def _plain(graph: Graph, node: Node, use: ParamUse, slots: Slots, channels: int) -> bool:
    """Whether an op uses a parameter as it is (cast at most), one entry for each channel."""
    if use.name not in slots or math.prod(slots[use.name].shape) != channels:
        return False
    return all(maker.kind in _MOVING for maker in _makers(graph, node, use))


def _rows(slots: Slots, name: str) -> int:
    """Outputs of a map, over all maps that are stacked in its tensor."""
    slot = slots[name]
    assert slot.fans is not None
    return math.prod(slot.shape[axis] for axis in (*slot.fans.out_axes, *slot.fans.batch_axes))


# --- the skip -----------------------------------------------------------------------------------------------------


def _downstream(graph: Graph, slots: Slots, steps: dict[int, str | None]) -> set[int]:
    """Ops that the steps reach before the next map."""
    found, stack = set(steps), list(steps)
    while stack:
        for reader in graph.consumers[stack.pop()]:
            uses = [use.name for use in graph.nodes[reader].params if use.name in slots]
            if reader not in found and not any(slots[name].role in ("weight", "embedding") for name in uses):
                found.add(reader)
                stack.append(reader)
    return found


def _skip(graph: Graph, slots: Slots, node: Node, inside: set[int]) -> str | None:
    """D, where the op adds D·x to what the states give."""
    if node.kind != "add" or len(node.inputs) != 2 or node.params or node.id not in inside:
        return None
    outside = [i for i in node.inputs if i not in inside]
    if len(outside) != 1:
        return None
    current = graph.nodes[outside[0]]
    while current.kind in _MOVING and len(current.inputs) == 1:
        current = graph.nodes[current.inputs[0]]
    uses = [use for use in current.params if use.name in slots]
    if current.op not in ("mul", "einsum") or len(uses) != 1 or len(current.inputs) != 1:
        return None
    slot = slots[uses[0].name]
    casts = all(maker.kind in _MOVING for maker in _makers(graph, current, uses[0]))
    plain = slot.role == "gain" or (slot.role == "unknown" and slot.fans is not None and casts)
    return slot.name if plain and not slot.settings.get("norm") else None
