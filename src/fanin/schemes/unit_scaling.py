"""unit_scaling: weights N(0, 1), and every map multiplied by what keeps signals and gradients at unit variance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin import theory
from fanin.errors import InputError
from fanin.graph import heads
from fanin.initializers import Normal
from fanin.initializers._base import choice
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Keep, Scheme, fan
from fanin.schemes._changes import Change
from fanin.theory.activations import Activation, of_op

if TYPE_CHECKING:
    from torch import nn

    from fanin.graph import Node
    from fanin.schemes._base import Context
    from fanin.slots import Slot

__all__ = ["UnitScaling"]

_CONSTRAINTS = ("to_output", "gmean", "none")
_INSIDE = ("linear", "embedding", "add", "shape", "cast", "input")
_FLAT = ("linear", "addmm", "matmul", "mm", "conv1d", "conv2d", "conv3d")


class UnitScaling(Scheme):
    """W ~ N(0, 1); output × fan_in^-½ (readouts × 1/fan_in), input gradient × fan_out^-½, weight gradient × batch^-½.

    A map that reads an activation f also undoes its E f² (forward) and E f′² (backward), whether f is a module or a
    function. Where forward and backward factors of a hidden map differ, gradients that meet at a fork would be weighed
    wrongly, so that a constraint makes them one. Maps that hooks cannot reach (inside nn.MultiheadAttention, recurrent
    calls, bare parameters) start at the std that their factor would be: the same function at the first step.

    Args:
        constraint: "to_output" takes the forward factor for both (u-μP), "gmean" their geometric mean (Blake et al.),
            "none" leaves them.

    Source: Blake, Orr & Luschi, ICML 2023; Blake et al., 2024 (u-μP).
    """

    name = "unit_scaling"
    title = "weights N(0, 1) and scaled ops: unit variance of signals, gradients and weight gradients at start"
    source = "Blake, Orr & Luschi, ICML 2023; u-μP: Blake et al., 2024"

    def __init__(self, constraint: str = "to_output") -> None:
        self.constraint = choice("scheme 'unit_scaling'", "constraint", constraint, _CONSTRAINTS)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        assert slot.fans is not None
        forward, words = self._forward(slot, context, slot.is_head)
        if slot.name in self._scaled(context):
            (factor, _, _), _ = self._factors(slot, context, slot.is_head)
            return Choice(Normal(std=1.0), f"unit scaling: N(0, 1); its op multiplies by {factor:.4g} ({words})")
        return Choice(Normal(std=forward), f"unit scaling: {words}, in the weights, as no hook scales its op")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "embedding":
            return Choice(Normal(std=1.0), "unit scaling: embedding N(0, 1)")
        return super().choose(slot, context)

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        from fanin.schemes._unit_hooks import ScaleInput, ScaleOutput

        assert context.graph is not None
        assert context.model is not None
        outlets = {node.id for node in heads(context.graph)}
        done = self._hooked(context)
        found: dict[str, tuple[Change, ...]] = {}
        for node in context.graph.weight_ops():
            slot = _slot(node, context)
            if slot is None or node.module in (*found, *done) or not _reaches(node, context):
                continue
            if node.kind == "embedding":
                scale = ScaleOutput(1.0, 1.0, math.sqrt(slot.shape[0]), 1)
                what = "embedding: gradient of the table × (rows/lookups)^½"
                found[node.module] = (Change(node.module, what, "hook", {"hook": scale}),)
                continue
            factors, what = self._factors(slot, context, node.id in outlets)
            shape = (*factors, _channels(slot), _stride(context.model.get_submodule(node.module)))
            found[node.module] = (
                Change(node.module, what, "pre_hook", {"hook": ScaleInput(*shape)}),
                Change(node.module, what, "hook", {"hook": ScaleOutput(*shape)}),
            )
        return tuple(change for pair in found.values() for change in pair)

    def _factors(self, slot: Slot, context: Context, outlet: bool) -> tuple[tuple[float, float, float], str]:
        """Factors of output, input gradient and (but for the batch) weight gradient."""
        assert slot.fans is not None
        forward, words = self._forward(slot, context, outlet)
        before = _before(slot, context)
        backward = _fan(slot, "out") ** -0.5
        if before is not None:
            backward *= theory.gain(before, "backward")
        weights = theory.gain(before) if before is not None else 1.0
        if self.constraint != "none" and not outlet:
            backward = forward if self.constraint == "to_output" else math.sqrt(forward * backward)
            forward = backward if self.constraint == "gmean" else forward
        what = (
            f"output × {forward:.4g} ({words}), input gradient × {backward:.4g}, weight gradient × {weights:.4g}/√batch"
        )
        return (forward, backward, weights), what

    def _forward(self, slot: Slot, context: Context, outlet: bool) -> tuple[float, str]:
        """Factor of the output before any constraint, in words too."""
        size = _fan(slot, "in")
        if outlet:
            return 1 / size, f"readout: 1/fan_in, {fan(slot)}"
        before = _before(slot, context)
        if before is None:
            return size**-0.5, f"fan_in^-½, {fan(slot)}"
        gain = theory.gain(before)
        return gain * size**-0.5, f"{gain:.4g}·fan_in^-½, {fan(slot)}, reads {before}"

    def _hooked(self, context: Context) -> set[str]:
        """Paths of modules that are scaled already."""
        from fanin.schemes._unit_hooks import ScaleOutput

        if context.model is None:
            return set()
        return {
            path
            for path, module in context.model.named_modules()
            if any(isinstance(hook, ScaleOutput) for hook in module._forward_hooks.values())
        }

    def _scaled(self, context: Context) -> set[str]:
        """Names of the weights whose ops are scaled."""
        if "unit_scaling" not in context.memo:
            done = self._hooked(context)
            context.memo["unit_scaling"] = {slot.name for slot in context.slots.values() if slot.owner in done}
        return context.memo["unit_scaling"]  # type: ignore[no-any-return]

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        done, found = self._scaled(context), []
        bare = [slot.name for slot in context.slots.values() if slot.role == "weight" and slot.name not in done]
        if bare and not done:
            found.append(
                "The forward pass has no scaled ops: fanin.rewire_(model, inputs, scheme='unit_scaling') adds them; "
                "until then the factors are in the weights, the same function at the first step."
            )
        elif bare:
            few = ", ".join(bare[:3]) + (", …" if len(bare) > 3 else "")
            found.append(f"{len(bare)} weights have their factor in the values, as no hook reaches their op: {few}.")
        blocks = architecture(context)
        if blocks is not None and blocks.branches:
            found.append(
                f"{len(blocks.branches)} residual sums add unit variances; scale skip and branch by √(1 − τ) and √τ in "
                "the forward to keep 1."
            )
        return tuple(found)


def _slot(node: Node, context: Context) -> Slot | None:
    names = [use.name for use in node.params if use.name in context.slots]
    slots = [context.slots[name] for name in names]
    return next((slot for slot in slots if slot.role in ("weight", "embedding") and slot.fans is not None), None)


def _reaches(node: Node, context: Context) -> bool:
    """Whether the op is all that its module does, so that hooks on the module are hooks on the op."""
    assert context.graph is not None
    assert context.model is not None
    if not node.module or (node.kind != "embedding" and node.op not in _FLAT and "conv_transpose" not in node.op):
        return False
    module = context.model.get_submodule(node.module)
    matrices = [p for p in module.parameters(recurse=False) if p.dim() > 1]
    inside = [other for other in context.graph.nodes if other.module == node.module and "part_of" not in other.attrs]
    return (
        not list(module.children())
        and len(matrices) == 1
        and all(other.kind in _INSIDE for other in inside)
        and len(node.inputs) <= 1
    )


def _before(slot: Slot, context: Context) -> Activation | None:
    """The activation whose output a map reads."""
    blocks = architecture(context)
    node = blocks.activation_before(slot) if blocks is not None else None
    if node is None:
        return None
    attrs = {key: value for key, value in node.attrs.items() if isinstance(value, (int, float, str))}
    found = of_op(node.op, attrs)
    try:
        return found if isinstance(found, Activation) and theory.gain(found) > 0 else None
    except InputError:  # constant, or grows too fast: nothing to undo
        return None


def _fan(slot: Slot, side: str) -> float:
    """fan_in or fan_out of the map; of a table that is used as one too, those of the matrix."""
    assert slot.fans is not None
    if slot.role == "embedding":
        return float(slot.shape[1] if side == "in" else slot.shape[0])
    return max(float(getattr(slot.fans, f"fan_{side}")), 1.0)


def _channels(slot: Slot) -> int:
    """Channels of what the map reads."""
    assert slot.fans is not None
    if slot.role == "embedding":
        return int(slot.shape[1])
    groups = slot.fans.groups if 0 not in slot.fans.in_axes else 1
    return max(math.prod(slot.shape[axis] for axis in slot.fans.in_axes) * groups, 1)


def _stride(module: nn.Module) -> int:
    """Input positions for each position that a weight's gradient sums over: those of the output of a convolution."""
    stride = getattr(module, "stride", 1)
    if "Transpose" in type(module).__name__ or not isinstance(stride, (int, tuple)):
        return 1
    return math.prod(stride) if isinstance(stride, tuple) else stride
