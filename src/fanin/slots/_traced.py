"""Traced: the place of a parameter as the op that used it tells (linear, matmul, einsum, conv, embedding, mul …)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fanin.fans import Fans, elementwise, embedding
from fanin.graph import Graph, Node, ParamUse
from fanin.slots import _context
from fanin.slots._base import Place

__all__ = ["place"]


def place(graph: Graph, names: Sequence[str], shape: tuple[int, ...], module: Place) -> Place | None:
    """What the ops that used a parameter say it is, or None where the module kind's word stands.

    Args:
        graph: the run.
        names: all names of the parameter.
        shape: its stored shape.
        module: what its module kind said; role "unknown" where none did.

    Returns:
        None if no op used it in a telling way, or if what they say agrees with the module kind.
    """
    uses = [found for name in names for found in graph.uses(name)]
    places = [said for node, use in uses if (said := _of_use(graph, node, use, shape)) is not None]
    known = [said for said in places if said.role != "unknown"]
    if module.role == "unknown":
        # A lookup table that is also a head is a lookup table; a linear map outranks what is added or multiplied.
        order = ("embedding", "weight")
        known.sort(key=lambda said: order.index(said.role) if said.role in order else len(order))
        return next(iter(known or places), None)
    if module.role == "weight" and not module.parts:
        for said in known:
            if said.role == "weight" and said.fans and module.fans and said.fans.in_axes != module.fans.in_axes:
                return replace(said, why=f"{said.why}; its module kind would say otherwise")
    return None


def _of_use(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    whole = graph.nodes[node.attrs["part_of"]] if "part_of" in node.attrs else node
    rule = _norm if whole.kind == "norm" else _RULES.get(node.op) or _BY_KIND.get(node.kind)
    if rule is None or not math.prod(shape) or node.attrs.get("parameter_only"):
        return None
    made_by = node.attrs.get("derived", {}).get(use.argument)
    if made_by is not None and any(part.name == use.name for part in graph.nodes[made_by].params):
        return _derived(graph, node, graph.nodes[made_by], shape)
    return rule(graph, node, use, shape)


def _derived(graph: Graph, node: Node, maker: Node, shape: tuple[int, ...]) -> Place:
    """What the op used is a function of the parameter: 1 + w of a zero-centred gain, or exp, softplus, a product."""
    offset = maker.attrs.get("other")
    acts = node.kind in ("mul", "norm")
    if acts and maker.op == "add" and isinstance(offset, (int, float)) and len(maker.params) == 1:
        norm = node.kind == "norm" or any(_context.is_normalizing(graph, source) for source in node.inputs)
        settings: dict[str, Any] = {"offset": float(offset), "norm": norm}
        return Place("gain", elementwise(shape), f"multiplies the signal as {offset:g} + w", settings=settings)
    why = f"passes through {maker.op} before {node.op} uses it"
    fans = elementwise(shape) if _meets_entries(node, shape) else None
    return Place("unknown", fans, why, settings={"through": maker.op})


def _meets_entries(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether no sum runs over the entries of a parameter of this rank: a product, a sum, an einsum that keeps all."""
    if node.op != "einsum":
        return node.kind in ("mul", "add")
    left, _, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
    # Which operand it fills may not be known; one that sums anything does not count.
    mine = [operand for operand in left.split(",") if len(operand) == len(shape)]
    return bool(mine) and all(set(operand) <= set(result) for operand in mine)


# --- linear maps --------------------------------------------------------------------------------------------------


def _linear_map(
    use: ParamUse,
    shape: tuple[int, ...],
    why: str,
    *,
    out: Sequence[int],
    inner: Sequence[int],
    batch: Sequence[int] = (),
    window: Sequence[int] = (),
    groups: int = 1,
    spread: float = 1.0,
    transposed: bool = False,
) -> Place:
    """Fans of a map, from the class of each axis of the operand that the op saw.

    An axis that a view merged or split takes the stored axes that no other operand axis accounts for, provided that
    all such axes are of one class; stored axes that were indexed away are batch axes.
    """
    classes = {"out": tuple(out), "in": tuple(inner), "batch": tuple(batch), "window": tuple(window)}
    stored: dict[str, list[int]] = {key: [] for key in classes}
    lost = {key for key, axes in classes.items() for axis in axes if use.axes[axis] is None and use.shape[axis] > 1}
    for key, axes in classes.items():
        stored[key] += [use.axes[axis] for axis in axes if use.axes[axis] is not None]  # type: ignore[misc]
    free = [axis for axis in range(len(shape)) if not any(axis in found for found in stored.values())]
    if len(lost) > 1:
        return Place("unknown", None, f"{why}, but a view merged axes of {shape} so that in and out are not apart")
    stored[lost.pop() if lost else "batch"] += free
    size = math.prod(use.shape[axis] for axis in classes["window"])
    fan_in: float = math.prod(use.shape[axis] for axis in classes["in"]) * size / spread
    fan_out: float = math.prod(use.shape[axis] for axis in classes["out"]) * size
    if groups > 1 and transposed:
        fan_in /= groups
    elif groups > 1:
        fan_out /= groups
    fans = Fans(
        fan_in,
        fan_out,
        out_axes=tuple(sorted(stored["out"])),
        in_axes=tuple(sorted(stored["in"])),
        window_axes=tuple(sorted(stored["window"])),
        batch_axes=tuple(sorted(stored["batch"])),
        groups=groups,
    )
    return Place("weight", fans, why)


def _linear(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if use.argument == "bias":
        return _bias(shape, f"bias of {node.op}")
    if use.argument not in ("weight", "other") and use.position != 1:
        return None
    if len(use.shape) == 1:
        return _linear_map(use, shape, "linear to a single output", out=(), inner=(0,))
    return _linear_map(use, shape, "used as the (out, in) weight of linear", out=(0,), inner=(1,))


def _conv(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if use.argument == "bias":
        return _bias(shape, f"bias of {node.op}")
    if use.argument != "weight" and use.position != 1:
        return None
    groups, window = int(node.attrs.get("groups", 1)), tuple(range(2, len(use.shape)))
    if "transpose" not in node.op:
        return _linear_map(use, shape, f"weight of {node.op}", out=(0,), inner=(1,), window=window, groups=groups)
    stride = node.attrs.get("stride", 1)
    spread = math.prod(stride) if isinstance(stride, (list, tuple)) else stride ** len(window)
    if isinstance(stride, (list, tuple)) and len(stride) == 1:
        spread = stride[0] ** len(window)
    why = f"weight of {node.op}, stride {stride}"
    return _linear_map(
        use, shape, why, out=(1,), inner=(0,), window=window, groups=groups, spread=spread, transposed=True
    )


def _matmul(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if node.op in ("addmm", "baddbmm", "addmv", "addbmm") and use.position == 0:
        return _bias(shape, f"added by {node.op}")
    first = use.position == (1 if node.op.startswith(("add", "badd")) else 0)
    rank = len(use.shape)
    if rank == 1:
        return _linear_map(use, shape, f"vector of {node.op}", out=(), inner=(0,))
    out, inner = (rank - 2, rank - 1) if first else (rank - 1, rank - 2)
    side = "W @ x" if first else "x @ W"
    batch = tuple(range(rank - 2))
    why = f"used as {side}" + (f"; axes {batch} stack independent maps" if batch else "")
    return _linear_map(use, shape, why, out=(out,), inner=(inner,), batch=batch)


def _einsum(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    equation = str(node.attrs.get("equation", "")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    operands = left.split(",")
    # The equation itself may or may not count as the first operand.
    index = next((i for i in (use.position, use.position - 1) if _fits(operands, i, use)), None)
    if not equation or "." in equation or index is None:
        return Place("unknown", None, f"einsum {equation!r} does not tell the axes apart")
    mine = operands[index]
    others = set("".join(operands[:index] + operands[index + 1 :]))
    if not arrow:  # implicit form: letters that occur once are kept
        result = "".join(letter for letter in left if letter != "," and left.count(letter) == 1)
    axes: dict[str, list[int]] = {"out": [], "in": [], "batch": []}
    for axis, letter in enumerate(mine):
        kind = ("batch" if letter in others else "out") if letter in result else "in"
        axes[kind].append(axis)
    why = f"einsum {equation!r}: out {_letters(mine, axes['out'])}, in {_letters(mine, axes['in'])}"
    if not axes["out"] and not axes["in"]:
        return Place("gain", elementwise(shape), f"einsum {equation!r} multiplies entry by entry")
    return _linear_map(use, shape, why, out=axes["out"], inner=axes["in"], batch=axes["batch"])


def _fits(operands: Sequence[str], index: int, use: ParamUse) -> bool:
    return 0 <= index < len(operands) and len(operands[index]) == len(use.shape)


def _letters(operand: str, axes: Sequence[int]) -> str:
    return "".join(operand[axis] for axis in axes) or "none"


def _bilinear(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if use.argument == "bias":
        return _bias(shape, "bias of bilinear")
    return _linear_map(use, shape, "weight of bilinear", out=(0,), inner=(1, 2))


def _embedding(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    padding = node.attrs.get("padding_idx")
    index = int(padding) % shape[0] if isinstance(padding, int) else None
    return Place("embedding", embedding(shape), f"{node.op} picks rows; nothing is summed", padding_index=index)


# --- what acts entry by entry -------------------------------------------------------------------------------------


def _bias(shape: tuple[int, ...], why: str) -> Place:
    return Place("bias", elementwise(shape), why)


def _norm(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if use.argument == "bias":
        return Place("shift", elementwise(shape), f"shift of {node.op}", settings={"norm": True})
    return Place("gain", elementwise(shape), f"gain of {node.op}", settings={"norm": True})


def _mul(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if any(_context.is_normalizing(graph, source) for source in node.inputs):
        return Place("gain", elementwise(shape), "multiplies what a statistic has normalized", settings={"norm": True})
    return Place("gain", elementwise(shape), "multiplies the signal entry by entry")


def _add(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    if not node.inputs:
        return None
    source = graph.nodes[_context.origin(graph, node.inputs[0])]
    if source.kind in ("linear", "matmul", "recurrent"):
        return _bias(shape, f"added to the output of {source.op}")
    if source.kind == "norm" or _context.is_normalizing(graph, source.id):
        return Place("shift", elementwise(shape), "added to what a norm made", settings={"norm": True})
    if sum(size > 1 for size in shape) > 1 or source.kind in ("embedding", "concat"):
        return Place("token", elementwise(shape), "added to the signal as if it were data")
    return _bias(shape, "added to the signal")


def _concat(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    return Place("token", elementwise(shape), "joined to the signal as if it were data")


def _prelu(graph: Graph, node: Node, use: ParamUse, shape: tuple[int, ...]) -> Place | None:
    return Place("slope", elementwise(shape), "slope of prelu for negative values")


Rule = Callable[[Graph, Node, ParamUse, "tuple[int, ...]"], "Place | None"]

_RULES: dict[str, Rule] = {
    "linear": _linear,
    **{f"conv{n}d": _conv for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _conv for n in (1, 2, 3)},
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "addmv", "addbmm", "dot", "grouped_mm"), _matmul),
    "einsum": _einsum,
    "bilinear": _bilinear,
    "prelu": _prelu,
}
_BY_KIND: dict[str, Rule] = {
    "embedding": _embedding,
    "norm": _norm,
    "mul": _mul,
    "add": _add,
    "concat": _concat,
}
