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
    "constant",
    "factors",
    "is_post_norm",
    "norms_option",
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


def constant(scheme: str, context: Context, branch: Branch, value: float, why: str) -> tuple[Change, ...]:
    """A constant factor behind one branch, kept in a buffer."""
    return tuple(
        Change(
            outlet.path,
            f"output × {value:.6g}, a constant in the buffer branch_factor: {_ends(context.graph, outlet)}; {why}",
            "multiply",
            {"name": "branch_factor", "value": value, "index": outlet.index, "learned": False},
        )
        for outlet in outlets(scheme, context, [branch])
    )


def skip_factor(graph: Graph, branch: Branch) -> float:
    """α where the sum is α·x + F(x) up to a common factor: constants on the skip path over those on the branch."""
    residual = next(residual for residual in residual_adds(graph) if residual.add.id == branch.add)
    sides = {i == residual.skip: _constants(graph, i) for i in residual.add.inputs}
    return sides[True] / sides[False]


def _constants(graph: Graph, current: int) -> float:
    """Product of the constants that a signal was multiplied by last, before it met anything but views and factors."""
    factor = 1.0
    while True:
        node = graph.nodes[current]
        if node.kind not in ("shape", "cast", "dropout", "scale") or len(node.inputs) != 1:
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
    """The module that reads what a norm reads and returns what it made, up to a gain, a shift and a cast."""
    source = node.inputs[0]
    while graph.nodes[source].kind == "cast" and graph.nodes[source].module == node.module:
        source = graph.nodes[source].inputs[0]
    current = node.id
    while True:
        for call in returning.get(current, ()):
            if call.path and call.index is None and call.reads in (source, node.inputs[0]):
                return call.path
        readers = [graph.nodes[r] for r in graph.consumers[current] if "part_of" not in graph.nodes[r].attrs]
        after = readers[0] if len(readers) == 1 else None
        if after is None or after.kind not in ("mul", "add", "cast") or len(after.inputs) != 1:
            return None
        current = after.id
