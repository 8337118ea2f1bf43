"""The edits that several schemes ask for: a factor behind each residual branch, norms left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

from torch import nn

from fanin.errors import InputError, PlanError
from fanin.graph import residual_adds
from fanin.schemes._architecture import architecture
from fanin.schemes._calls import calls
from fanin.schemes._changes import Change
from fanin.schemes._outlets import Outlet, channel_axis, outlets
from fanin.schemes._surroundings import surroundings
from fanin.theory.activations import of_op

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanin.graph import Graph, Node
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Context
    from fanin.schemes._calls import Call

__all__ = [
    "NoNorm",
    "Norms",
    "bare",
    "biases",
    "constants",
    "divisors",
    "ends_of",
    "factors",
    "first_maps",
    "is_post_norm",
    "norms_option",
    "own_call",
    "rewire_hint",
    "skip_factor",
    "without_norms",
]

Norms = Literal["keep", "remove"]
"""What becomes of the norms of a model whose published form has none."""

_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


def norms_option(scheme: str, value: str) -> Norms:
    """Validate the option ``norms``."""
    if value not in get_args(Norms):
        raise InputError.of("norms", value, '"keep" or "remove"', f"scheme {scheme!r}")
    return value  # type: ignore[return-value]


def rewire_hint(scheme: str) -> str:
    """How to get what the model lacks."""
    return f"fanin.rewire_(model, inputs, scheme={scheme!r}) makes that change."


def bare(context: Context) -> list[Branch]:
    """Residual branches without a learned factor."""
    blocks = architecture(context)
    assert blocks is not None
    return [branch for branch in blocks.branches if not branch.multiplier]


def factors(
    scheme: str, context: Context, branches: Iterable[Branch], why: str, *, vector: bool = False, divide: bool = False
) -> tuple[Change, ...]:
    """A learned factor of 1 behind each branch, which leaves the model's output as it is to the last bit.

    Args:
        scheme: name, for errors.
        context: the traced model.
        branches: those that shall get one.
        why: reason, for the text.
        vector: one entry for each channel instead of one number.
        divide: the branch is divided by it; the parameter is then called ``branch_divisor``.

    Raises:
        PlanError: where no module's output is the branch.
    """
    found = outlets(scheme, context, branches)
    name = "branch_divisor" if divide else "branch_scale"
    changes = []
    for outlet in found:
        given: dict[str, object] = {"name": name, "value": 1.0, "index": outlet.index}
        size = "scalar"
        if vector:
            axis = channel_axis(scheme, context, outlet, found)
            given |= {"shape": (outlet.branch.width,), "axis": axis}
            size = f"vector of {outlet.branch.width} channels"
        sign = "÷" if divide else "×"
        what = f"output {sign} {name}, a learned {size} that is now 1: {_ends(context.graph, outlet)}; {why}"
        changes.append(Change(outlet.path, what, "divide" if divide else "multiply", given))
    return tuple(changes)


def _ends(graph: Graph | None, outlet: Outlet) -> str:
    assert graph is not None
    return f"it ends the residual branch that is added at {graph.nodes[outlet.branch.add].place!r}"


def constants(scheme: str, context: Context, values: Iterable[tuple[Branch, float]], why: str) -> tuple[Change, ...]:
    """A constant factor behind each branch, kept in a buffer; blocks that share their maps have one value."""
    wanted = {branch.add: (branch, value) for branch, value in values}
    return tuple(
        Change(
            outlet.path,
            f"output × {wanted[outlet.branch.add][1]:.6g}, a constant in the buffer branch_factor: "
            f"{_ends(context.graph, outlet)}; {why}",
            "multiply",
            {
                "name": "branch_factor",
                "value": wanted[outlet.branch.add][1],
                "index": outlet.index,
                "learned": False,
            },
        )
        for outlet in outlets(scheme, context, [branch for branch, _ in wanted.values()])
    )


def skip_factor(graph: Graph, branch: Branch) -> float:
    """α where the sum is α·x + F(x) up to a common factor: constants on the skip path over those on the branch."""
    residual = next(residual for residual in residual_adds(graph) if residual.add.id == branch.add)
    sides = {i == residual.skip: _constants(graph, i) for i in residual.add.inputs}
    return sides[True] / sides[False]


def _constants(graph: Graph, current: int) -> float:
    """Product of the constants that a signal was multiplied by last, before it met anything but views and factors,
    which may be learned."""
    factor = 1.0
    while True:
        node = graph.nodes[current]
        if node.kind not in ("shape", "cast", "dropout", "scale", "mul") or len(node.inputs) != 1:
            return factor
        if node.kind == "scale":
            factor *= float(node.attrs.get("factor", 1.0)) or 1.0
        current = node.inputs[0]


def is_post_norm(graph: Graph, branch: Branch) -> bool:
    """Whether a norm alone reads the sum."""
    current = branch.add
    while True:
        readers = [graph.nodes[r] for r in graph.consumers[current] if "part_of" not in graph.nodes[r].attrs]
        if len(readers) != 1:
            return False
        if readers[0].kind == "norm":
            return True
        if readers[0].kind not in ("shape", "cast", "dropout"):
            return False
        current = readers[0].id


class NoNorm(nn.Identity):
    """Stands where a norm was: passes its input on."""

    eps = math.nan
    """nn.TransformerEncoderLayer compares the eps of its two norms before it takes a path that bypasses modules and
    reads their weights; NaN equals nothing, so that it takes the path through its modules."""


def _absent(_old: nn.Module) -> nn.Module:
    return NoNorm()


def without_norms(scheme: str, context: Context) -> tuple[Change, ...]:
    """Each module that is a norm, replaced by one that does nothing; its gain and shift leave the model with it.

    Raises:
        PlanError: if a norm is an op inside a larger module.
    """
    graph = context.graph
    assert graph is not None
    found = calls(context)
    places: dict[str, int] = {}
    for node in graph.nodes:
        if node.op in _NORMS and "part_of" not in node.attrs:
            path = _norm_module(graph, node, found.returning)
            if path is None:
                raise PlanError(
                    f"scheme {scheme!r} has no norms, but {node.place!r} is the op {node.op!r} inside "
                    f"{node.module or 'the model'!r} and no module of its own. Make it one, or take it out by hand."
                )
            places[path] = places.get(path, 0) + 1
    for path, count in places.items():
        if count != found.counts[path]:
            raise PlanError(f"scheme {scheme!r}: {path!r} is a norm in some of its calls and not in others.")
    why = "left out, with its gain and shift: the published network has no norm"
    return tuple(Change(path, why, "replace", {"build": _absent}) for path in places)


def _norm_module(graph: Graph, node: Node, returning: dict[int, list[Call]]) -> str | None:
    """The module that reads what a norm reads and returns what it made, up to views, casts, a gain and a shift."""
    sources = [node.inputs[0]]
    while graph.nodes[sources[-1]].kind in ("cast", "shape") and graph.nodes[sources[-1]].module == node.module:
        sources.append(graph.nodes[sources[-1]].inputs[0])
    current = node.id
    while True:
        for call in returning.get(current, ()):
            alike = call.reads in sources and graph.nodes[call.reads].shape == graph.nodes[current].shape
            if call.path and call.index is None and alike:
                return call.path
        readers = [graph.nodes[r] for r in graph.consumers[current] if "part_of" not in graph.nodes[r].attrs]
        after = readers[0] if len(readers) == 1 else None
        if after is None or after.kind not in ("mul", "add", "cast", "shape") or len(after.inputs) != 1:
            return None
        current = after.id


def divisors(context: Context) -> dict[str, Branch]:
    """Name of each learned divisor at the end of a branch → the branch."""
    graph, blocks = context.graph, architecture(context)
    assert graph is not None
    assert blocks is not None
    found: dict[str, Branch] = {}
    for branch in blocks.branches:
        current, inner = branch.add, next(set(r.branch) for r in residual_adds(graph) if r.add.id == branch.add)
        while (before := next((i for i in graph.nodes[current].inputs if i in inner), None)) is not None:
            node, current = graph.nodes[before], before
            if node.op == "div":
                found |= {use.name: branch for use in node.params if context.slots[use.name].role == "gain"}
            elif node.kind not in ("shape", "cast", "dropout", "scale", "mul"):
                break
    return found


def ends_of(graph: Graph, branch: Branch) -> list[Node]:
    """The nodes of the last maps of a branch."""
    return [node for node in _maps(graph, branch) if any(use.name in branch.ends for use in node.params)]


def first_maps(graph: Graph, branch: Branch) -> list[Node]:
    """The nodes of the maps of a branch that read the stream with no other map of the branch before."""
    maps = _maps(graph, branch)
    ids, found = {node.id for node in maps}, []
    residual = next(residual for residual in residual_adds(graph) if residual.add.id == branch.add)
    inner = set(residual.branch)
    behind: set[int] = set()
    for id_ in sorted(inner):
        before = [i for i in graph.nodes[id_].inputs if i in ids or i in behind]
        if before:
            behind.add(id_)
        elif id_ in ids:
            found.append(graph.nodes[id_])
    return found


def _maps(graph: Graph, branch: Branch) -> list[Node]:
    residual = next(residual for residual in residual_adds(graph) if residual.add.id == branch.add)
    nodes = [graph.nodes[i] for i in residual.branch]
    return [node for node in nodes if node.kind == "linear" and any(use.name in branch.maps for use in node.params)]


def own_call(scheme: str, context: Context, node: Node) -> Call:
    """The call of the module that is just this map.

    Raises:
        PlanError: if the map is an op inside a larger module (such as the packed maps of nn.MultiheadAttention).
    """
    call = calls(context).exact(node)
    if call is None or not call.path:
        weight = next((use.name for use in node.params if context.slots[use.name].role == "weight"), "")
        raise PlanError(
            f"scheme {scheme!r}: the map {weight} is the op {node.op!r} inside "
            f"{node.module or 'the model'!r} and no call of a module of its own, so that nothing can be put before it "
            "from outside. Write it as a module, such as nn.Linear, or change its forward by hand."
        )
    return call


def biases(context: Context) -> tuple[Change, ...]:
    """A learned scalar (0) before each map and each activation, as in Fixup; the first map reads the data as they are.

    Before a map it is added to what its module reads. Before an activation it is added to what the activation's own
    module reads; where there is none, or it is called at several places, to the output of the module that it reads.
    """
    graph = context.graph
    assert graph is not None
    found = calls(context)
    first = surroundings(context).is_first
    changes: dict[tuple[str, str], Change] = {}
    sums = {residual.add.id for residual in residual_adds(graph)}  # the bias behind the branch stands before these
    for node in graph.nodes:
        if "part_of" in node.attrs or (node.inputs and node.inputs[0] in sums and node.kind == "activation"):
            continue
        call = found.exact(node)
        path, name = call.path if call is not None else "", "bias_before"
        if node.kind == "linear" and node.params and not first(node.params[0].name):
            what = f"before the map {node.params[0].name}"
        elif node.kind == "activation" and node.inputs and of_op(node.op, node.attrs) is not None:
            what = f"before {node.op} at {node.place!r}"
            if call is None or found.counts[call.path] > 1:
                source = graph.nodes[node.inputs[0]]
                call = found.exact(source) if graph.consumers[source.id] == (node.id,) else None
                path = call.path if call is not None and found.counts[call.path] == 1 else ""
                name = "bias_after"
        else:
            continue
        changes.setdefault((path or what, name), _bias(path, name, what, node))
    return tuple(changes.values())


def _bias(path: str, name: str, what: str, node: Node) -> Change:
    if not path:
        return Change(node.module, f"no scalar bias {what}, which is no call of a module of its own", "none")
    side, kind = ("input", "add_before") if name == "bias_before" else ("output", "add")
    text = f"{side} + {name}, a learned scalar that is now 0: Fixup has one {what}"
    return Change(path, text, kind, {"name": name, "value": 0.0})
