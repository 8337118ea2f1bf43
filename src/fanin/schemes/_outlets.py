"""Where a residual branch can be changed from outside: the modules whose output is the branch, or enters its maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanin.errors import PlanError
from fanin.graph import residual_adds
from fanin.schemes._calls import Calls, calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fanin.graph import Graph, Node
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Context

__all__ = ["Outlet", "channel_axis", "outlets"]

_LINEAR = ("shape", "cast", "dropout")
"""Ops that a factor passes unchanged; and "scale" without addend, and other factors."""


@dataclass(frozen=True)
class Outlet:
    """A module whose output is a residual branch, or one of the terms of it.

    Args:
        branch: the branch.
        path: path of the module.
        index: entry of the tuple that it returns, or None.
        node: id of the node that made that output.
        via: ids of the ops between it and the sum, from it to the sum.
    """

    branch: Branch
    path: str
    index: int | None
    node: int
    via: tuple[int, ...]


def outlets(scheme: str, context: Context, branches: Iterable[Branch]) -> list[Outlet]:
    """One outlet for each term of each branch, in execution order; one that several branches share comes once.

    A branch that is the sum of several signals (attention and feed-forward side by side) has one for each. Only a
    module that returns nothing but ends of these branches will do: a dropout that is called elsewhere too would change
    what it does there. Branches share an outlet where they share their maps.

    Raises:
        PlanError: if a branch ends in an op that no module stands for; the text names it.
    """
    graph = context.graph
    assert graph is not None
    found = calls(context)
    terms = [(branch, term) for branch in branches for term in _terms(graph, found, branch.add)]
    chains = [(branch, _chain(graph, found, branch, *term)) for branch, term in terms]
    uses: dict[tuple[str, int | None], list[Branch]] = {}
    for branch, (chain, _) in chains:
        for outlet in chain:
            uses.setdefault((outlet.path, outlet.index), []).append(branch)
    chosen: dict[tuple[str, int | None], Outlet] = {}
    for branch, (chain, last) in chains:
        fits = [outlet for outlet in chain if _is_own(outlet, uses[outlet.path, outlet.index], found)]
        if not fits:
            raise _unreachable(scheme, graph, branch, last, chain)
        chosen.setdefault((fits[0].path, fits[0].index), fits[0])
    return list(chosen.values())


def _terms(graph: Graph, found: Calls, add: int) -> Iterator[tuple[int, int]]:
    """(node, its reader) for the branch, or for each of the signals that it is the sum of."""
    skips = {residual.add.id: residual.skip for residual in residual_adds(graph)}
    stack = [(next(i for i in graph.nodes[add].inputs if i != skips[add]), add)]
    while stack:
        current, reader = stack.pop()
        node = graph.nodes[current]
        plain = node.kind == "add" and len(node.inputs) == 2 and not node.params and current not in skips
        if plain and current not in found.returning and _readers(graph, current) == {reader}:
            stack.extend((source, current) for source in reversed(node.inputs))
        else:
            yield current, reader


def _chain(graph: Graph, found: Calls, branch: Branch, current: int, reader: int) -> tuple[list[Outlet], Node]:
    """Calls that returned the branch, nearest to the sum first; and the node at which the search ended."""
    chain: list[Outlet] = []
    via: tuple[int, ...] = ()
    while _readers(graph, current) == {reader}:
        node = graph.nodes[current]
        returned = found.returning.get(current, [])
        plain = [call for call in returned if call.index is None]
        packed = [call for call in returned if call.index is not None]
        # The outermost module that returns the tensor itself speaks for the whole branch.
        chain += [Outlet(branch, call.path, call.index, current, via) for call in (*reversed(plain), *packed)]
        passes = node.kind in _LINEAR or (node.kind == "scale" and not node.attrs.get("addend"))
        if not (passes or node.kind == "mul") or len(node.inputs) != 1:
            break
        current, reader, via = node.inputs[0], current, (current, *via)
    return chain, graph.nodes[current]


def _readers(graph: Graph, node: int) -> set[int]:
    """Who reads a node; -1 stands for the caller of the model."""
    readers = {reader for reader in graph.consumers[node] if "part_of" not in graph.nodes[reader].attrs}
    return readers | ({-1} if node in graph.outputs else set())


def _is_own(outlet: Outlet, users: list[Branch], found: Calls) -> bool:
    same = all(branch.maps == outlet.branch.maps for branch in users)
    return bool(outlet.path) and same and len(users) == found.counts[outlet.path]


def _unreachable(scheme: str, graph: Graph, branch: Branch, last: Node, chain: list[Outlet]) -> PlanError:
    add = graph.nodes[branch.add]
    where = f"{last.op!r} in {last.module or 'the model'!r}"
    if chain:
        other = chain[0].path
        why = f"ends in the module {other!r}, which is called elsewhere too, so that a change would act there as well"
        how = "Give each place a module of its own"
    elif len(_readers(graph, last.id)) > 1:
        why = f"ends in {where}, whose result is read elsewhere too"
        how = "Give the branch a module whose output is only added"
    else:
        why = f"ends in the op {where}, which is not the output of any module"
        how = "Write the branch as a module of its own"
    return PlanError(
        f"scheme {scheme!r}: the residual branch that is added at {add.place!r} {why}; nothing can be put behind it "
        f"from outside. {how} (x + self.branch(x)), or write the change into the forward by hand."
    )


def channel_axis(scheme: str, context: Context, outlet: Outlet, every: Iterable[Outlet]) -> int:
    """Axis of the channels in the output of an outlet (one of ``every``), counted from the front.

    The features of the last map come last, or second after a convolution; from there on ops that move axes are
    followed, up to the sum, where all branches of a stream must agree.

    Raises:
        PlanError: if a view mixes the channels with other axes, or the branches of a stream end on different axes.
    """
    graph = context.graph
    assert graph is not None
    here, there = _axes(graph, outlet)
    stream = [_axes(graph, other)[1] for other in every if other.branch.stream == outlet.branch.stream]
    known = {axis for axis in stream if axis is not None}
    shape = graph.nodes[outlet.node].shape
    if there is None and len(known) == 1 and shape == graph.nodes[outlet.branch.add].shape and not outlet.via:
        return known.pop()  # ops that mix axes (experts) lie before it, but it has the shape of the stream
    if here is None or there is None:
        raise PlanError(
            f"scheme {scheme!r}: the output of {outlet.path!r} has shape {shape}; which axis holds the "
            f"{outlet.branch.width} channels is not known. Write the factor into the forward by hand."
        )
    if known != {there}:
        raise PlanError(
            f"scheme {scheme!r}: the branches of one stream end in maps over different axes {sorted(known)} (such as "
            f"{outlet.path!r}), so that no axis is that of the channels. Write the factor into the forward by hand."
        )
    return here


def _axes(graph: Graph, outlet: Outlet) -> tuple[int | None, int | None]:
    """Axis of the channels where the outlet is, and where its sum is."""
    ends = {node.id for name in outlet.branch.ends for node, _ in graph.uses(name)}
    behind, current = [graph.nodes[outlet.node]], outlet.node
    while current not in ends and graph.nodes[current].inputs:
        size = math.prod(graph.nodes[current].shape)
        same = [i for i in graph.nodes[current].inputs if math.prod(graph.nodes[i].shape) == size]
        if not same:
            return None, None
        current = max(same)
        behind.append(graph.nodes[current])
    first = behind[-1]
    axis: int | None = 1 if "conv" in first.op and first.op != "conv_tbc" else len(first.shape) - 1
    here = _followed(graph, axis, [node.id for node in reversed(behind[:-1])])
    return here, _followed(graph, here, [*reversed(outlet.via)])


def _followed(graph: Graph, axis: int | None, nodes: list[int]) -> int | None:
    """Where an axis lies after the nodes that a signal passes."""
    for id_ in nodes:
        node = graph.nodes[id_]
        if axis is not None and node.kind == "shape":
            axis = _moved(axis, graph.nodes[max(node.inputs)].shape, node)
    return axis


def _moved(axis: int, before: tuple[int, ...], node: Node) -> int | None:
    rank = len(before)
    if node.op in ("transpose", "t", "adjoint") and len(node.shape) == rank:
        swapped = [int(node.attrs.get(name, default)) % rank for name, default in (("dim0", -2), ("dim1", -1))]
        return swapped[1 - swapped.index(axis)] if axis in swapped else axis
    if node.op == "permute" and isinstance(node.attrs.get("dims"), (list, tuple)):
        return [int(dim) % rank for dim in node.attrs["dims"]].index(axis)
    # A view keeps an axis where what lies before it and its own length are the same.
    ahead = math.prod(before[:axis])
    kept = [i for i, size in enumerate(node.shape) if size == before[axis] and math.prod(node.shape[:i]) == ahead]
    return kept[-1] if kept and node.op in _VIEWS else None


_VIEWS = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")
