"""Questions about a graph: what follows a weight, where the residual branches are, which weights are heads.

Answers come from the dataflow alone, never from names of attributes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from fanin.graph._graph import Graph, Node

__all__ = [
    "Following",
    "ResidualAdd",
    "activation_after",
    "following",
    "heads",
    "is_normalized",
    "residual_adds",
    "residual_ends",
]

_WEIGHT_KINDS = frozenset(("linear", "embedding", "recurrent"))
_PASSING = frozenset(("add", "norm", "shape", "concat", "reduce", "pool", "dropout", "scale", "cast", "other"))
"""Kinds that let a pre-activation through to the nonlinearity that acts on it."""

_CURVED = frozenset(("activation",))

_NOT_NONLINEARITIES = frozenset(("abs", "sign", "sqrt", "rsqrt", "reciprocal", "log", "log1p", "clamp", "rdiv", "rpow"))
"""Elementwise ops that serve numerics or losses: clamping a logit, taking a log; the walk goes on behind them."""


class Following(NamedTuple):
    """What a weight op's output meets first.

    Args:
        activation: the activation node, or None where the signal reaches the next weight op, product, softmax or the
            output without one ("linear").
        via: ids passed on the way, in order.
        gated: True where the output is multiplied by that activation instead of going through it.
        stops: ids of the nodes at which the ways without an activation ended.
    """

    activation: Node | None
    via: tuple[int, ...] = ()
    gated: bool = False
    stops: tuple[int, ...] = ()


class ResidualAdd(NamedTuple):
    """A sum of a skip path and a branch that computes.

    Args:
        add: the node that adds.
        branch: ids of the nodes of the branch, in execution order.
        skip: id of the operand on the skip path.
        source: id of the node where skip and branch part.
    """

    add: Node
    branch: tuple[int, ...]
    skip: int
    source: int


def following(graph: Graph, node: Node) -> Following:
    """What the output of ``node`` meets first, breadth first over everything that reads it.

    Passes bias adds, residual adds, norms, dropout, pooling, scaling and reshaping; a gate (a product with the output
    of an activation) answers with the gate's activation.
    """
    queue: deque[tuple[int, tuple[int, ...]]] = deque([(node.id, ())])
    seen = {node.id}
    stops: list[int] = []
    gated: Following | None = None
    while queue:
        current, via = queue.popleft()
        for reader in graph.consumers[current]:
            if reader in seen or "part_of" in graph.nodes[reader].attrs:
                continue
            seen.add(reader)
            after = graph.nodes[reader]
            if after.kind in _CURVED and after.op not in _NOT_NONLINEARITIES:
                return Following(after, via)
            gate = _gate(graph, after, current)
            if gate is not None:
                gated = gated or Following(gate, (*via, reader), True)
            elif _passes(after):
                queue.append((reader, (*via, reader)))
            else:
                stops.append(reader)
    return gated or Following(None, (), False, tuple(stops))


def _passes(node: Node) -> bool:
    if node.kind == "mul":
        return len(node.inputs) == 1 or bool(node.params) or "gated_by_condition" in node.attrs
    return node.kind in _PASSING or (node.kind == "activation" and node.op in _NOT_NONLINEARITIES)


def _gate(graph: Graph, product: Node, operand: int) -> Node | None:
    """The activation whose output, as large as ``operand``, multiplies it in ``product``; a scalar gate is none."""
    if product.kind != "mul" or product.params or len(product.inputs) != 2:
        return None
    for other in product.inputs:
        while other != operand:
            source = graph.nodes[other]
            if source.kind == "activation":
                return source if source.shape == graph.nodes[operand].shape else None
            if source.kind not in ("shape", "cast", "dropout", "scale") or len(source.inputs) != 1:
                break
            other = source.inputs[0]
    return None


def activation_after(graph: Graph, node: Node) -> Node | None:
    """The activation that follows a weight op, or None where none does before the next weight op ("linear").

    Its ``op`` is the canonical name and its ``attrs`` the arguments. For both halves of a gated feed-forward layer it
    is the gate's activation; :func:`following` tells them apart.
    """
    return following(graph, node).activation


def is_normalized(graph: Graph, node: Node) -> bool:
    """Whether a norm removes the scale of ``node``'s output on every way, before a nonlinearity, weight op or sum.

    A sum of two signals ends a way without a norm: the scale of one term against the other stays, whatever follows.
    """
    stack, seen, found = [node.id], {node.id}, False
    while stack:
        for reader in graph.consumers[stack.pop()]:
            after = graph.nodes[reader]
            if reader in seen or "part_of" in after.attrs:
                continue
            seen.add(reader)
            if after.kind == "norm":
                found = True
            elif _passes(after) and not (after.kind == "add" and len(_signals(graph, after)) > 1):
                stack.append(reader)
            elif after.kind != "loss":
                return False
    return found


def _signals(graph: Graph, node: Node) -> list[int]:
    return [i for i in node.inputs if not _outside(graph.nodes[i])]


def _back(graph: Graph, start: int, *, through_products: bool = True) -> set[int]:
    """Nodes that reach ``start`` without a weight op in between; a weight op itself is included and ends the way."""
    found: set[int] = set()
    stack = [start]
    while stack:
        current = stack.pop()
        if current in found:
            continue
        found.add(current)
        node = graph.nodes[current]
        blocked = node.kind in _WEIGHT_KINDS or node.kind in ("matmul", "attention")
        product = node.kind == "mul" and (len(_signals(graph, node)) > 1 or _per_channel(node))
        if not blocked and (through_products or not product):
            stack.extend(node.inputs)
    return found


def _per_channel(node: Node) -> bool:
    """Whether a parameter with several entries multiplies: such a path computes rather than skips."""
    return any(max(use.shape, default=1) > 1 for use in node.params)


def residual_adds(graph: Graph) -> tuple[ResidualAdd, ...]:
    """Sums in which one operand skips what the other computes.

    The skip path passes no weight op; or, as in a projection shortcut, weight ops but no activation, while the branch
    has an activation and at least two weight ops.
    """
    known: tuple[ResidualAdd, ...] | None = graph.__dict__.get("_residual_adds")
    if known is None:
        known = graph.__dict__["_residual_adds"] = tuple(_find_residual_adds(graph))
    return known


def _find_residual_adds(graph: Graph) -> Iterator[ResidualAdd]:
    weights = [node.kind in _WEIGHT_KINDS for node in graph.nodes]
    for node in graph.nodes:
        if node.kind != "add" or len(node.inputs) != 2 or "part_of" in node.attrs:
            continue
        left, right = node.inputs
        for skip, branch in ((left, right), (right, left)):
            parting = _parting(graph, skip, branch, weights)
            if parting is not None:
                yield ResidualAdd(node, parting[1], skip, parting[0])
                break
        else:
            projected = _projected(graph, node, weights)
            if projected is not None:
                yield projected


def _parting(graph: Graph, skip: int, branch: int, weights: list[bool]) -> tuple[int, tuple[int, ...]] | None:
    """(where they part, nodes of the branch) if ``branch`` computes from something on the path of ``skip``."""
    line = _back(graph, skip, through_products=False)
    if branch in line or math.prod(graph.nodes[skip].shape) < math.prod(graph.nodes[branch].shape):
        return None  # a smaller operand is a shift that is spread over the signal
    reached = _upstream(graph, branch, line, oldest=branch - _LONGEST_BRANCH)
    meeting = [id_ for id_ in reached if id_ in line and not _outside(graph.nodes[id_])]
    inner = [id_ for id_ in reached if id_ not in line]
    if not meeting or not any(weights[id_] for id_ in inner):
        return None
    for source in sorted(meeting, reverse=True):
        nodes = _between(graph, source, branch, inner)
        if any(weights[id_] for id_ in nodes):
            return source, tuple(sorted(nodes))
    return None


def _outside(node: Node) -> bool:
    """A constant, a buffer or an integer argument: shared by many ops without carrying a signal from one to another."""
    return node.kind == "input" and (
        node.attrs.get("source") != "argument" or not node.dtype.startswith(("float", "bfloat", "complex"))
    )


_LONGEST_BRANCH, _LONGEST_SHORTCUT = 4096, 512
"""Ops of a branch that is searched; keeps unrolled recurrences of thousands of steps affordable."""


def _upstream(graph: Graph, start: int, stop: Collection[int], oldest: int = 0) -> set[int]:
    """All ancestors of ``start`` with itself; the search ends at ``stop`` (included) and before id ``oldest``."""
    found: set[int] = set()
    stack = [start]
    while stack:
        current = stack.pop()
        if current not in found and current >= oldest:
            found.add(current)
            if current not in stop:
                stack.extend(graph.nodes[current].inputs)
    return found


def _between(graph: Graph, source: int, end: int, allowed: Iterable[int]) -> set[int]:
    """Nodes of ``allowed`` on a path from ``source`` to ``end``."""
    reaching = {source}
    for id_ in sorted(allowed):
        if any(i in reaching for i in graph.nodes[id_].inputs):
            reaching.add(id_)
    if end not in reaching:
        return set()
    return _upstream(graph, end, {source}) & (reaching - {source})


def _projected(graph: Graph, node: Node, weights: list[bool]) -> ResidualAdd | None:
    """A shortcut with its own projection, next to a branch that does more."""
    left, right = node.inputs
    oldest = node.id - _LONGEST_SHORTCUT
    above = (_upstream(graph, left, (), oldest), _upstream(graph, right, (), oldest))
    shared = above[0] & above[1]
    if not shared:
        return None
    source = max(shared)
    paths = {operand: _between(graph, source, operand, all_ - shared) for operand, all_ in zip((left, right), above)}

    def works(operand: int) -> tuple[int, bool]:
        path = paths[operand]
        curved = any(graph.nodes[i].kind in ("activation", "softmax", "attention") for i in path)
        return sum(weights[i] for i in path), curved

    if _picks_apart(graph, source, paths[left], paths[right]) or _params(graph, paths[left]) & _params(
        graph, paths[right]
    ):
        return None  # steps of an unrolled recurrence, not two ways for one signal
    for skip, branch in ((left, right), (right, left)):
        (short, bent), (deep, curved) = works(skip), works(branch)
        if short and not bent and deep >= 2 and curved:
            return ResidualAdd(node, tuple(sorted(paths[branch])), skip, source)
    return None


_PICKS = frozenset(("chunk", "split", "tensor_split", "unbind", "getitem", "select", "narrow"))


def _picks_apart(graph: Graph, source: int, *paths: set[int]) -> bool:
    """Whether every path starts with a part of the source's output: parts of a sequence, not the signal itself."""
    starts = [[graph.nodes[i].op for i in path if source in graph.nodes[i].inputs] for path in paths]
    return all(ops and set(ops) <= _PICKS for ops in starts)


def _params(graph: Graph, path: set[int]) -> set[str]:
    return {use.name for i in path for use in graph.nodes[i].params}


def residual_ends(graph: Graph) -> tuple[Node, ...]:
    """The last weight op of each residual branch, in execution order."""
    found: dict[int, Node] = {}
    for residual in residual_adds(graph):
        operand = next((i for i in residual.add.inputs if i != residual.skip), residual.skip)
        for id_ in _last_weights(graph, operand, set(residual.branch)):
            found[id_] = graph.nodes[id_]
    return tuple(found[id_] for id_ in sorted(found))


def _last_weights(graph: Graph, start: int, allowed: set[int] | None) -> list[int]:
    """Nearest weight ops above ``start``; at a product the smaller operand is a gate and is left out."""
    ends, seen, stack = [], set(), [start]
    while stack:
        current = stack.pop()
        if current in seen or (allowed is not None and current not in allowed):
            continue
        seen.add(current)
        node = graph.nodes[current]
        if node.kind in _WEIGHT_KINDS and node.params:
            ends.append(current)
        elif node.kind == "mul" and len(node.inputs) > 1:
            stack.extend(_larger(graph, node))
        else:
            stack.extend(node.inputs)
    return ends


def _larger(graph: Graph, node: Node) -> list[int]:
    def size(id_: int) -> int:
        entry, total = graph.nodes[id_], 1
        while entry.kind == "shape" and entry.op in ("expand", "unsqueeze", "view", "reshape") and entry.inputs:
            entry = graph.nodes[entry.inputs[0]]
        for length in entry.shape:
            total *= length
        return total

    sizes = {id_: size(id_) for id_ in node.inputs}
    return [id_ for id_, total in sizes.items() if total == max(sizes.values())]


def heads(graph: Graph) -> tuple[Node, ...]:
    """Weight ops whose output reaches the model's outputs without passing another weight op.

    A residual sum ends the search, for its operands feed a stream rather than the output, unless the skip path comes
    straight from the model's input (a network that predicts a correction).
    """
    streams = {}
    for residual in residual_adds(graph):
        line = _back(graph, residual.skip)
        streams[residual.add.id] = any(graph.nodes[i].kind in _WEIGHT_KINDS for i in line)
    found: set[int] = set()
    seen: set[int] = set()
    stack = list(graph.outputs)
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        node = graph.nodes[current]
        if node.kind in _WEIGHT_KINDS and node.params:
            found.add(current)
        elif not streams.get(current, False) and node.kind not in ("matmul", "attention"):
            stack.extend(node.inputs)
    return tuple(graph.nodes[id_] for id_ in sorted(found))
