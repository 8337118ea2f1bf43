"""Which call of which module returned (and read) which node of the graph: one more run, watched from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules import module as hooks

from fanin.errors import FaninError, PlanError, TraceError
from fanin.trace._recorder import Recorder
from fanin.trace._restore import restoring
from fanin.trace._run import _named_arguments
from fanin.trace._validate import validate

if TYPE_CHECKING:
    from torch import nn

    from fanin.graph import Graph, Node
    from fanin.schemes._base import Context

__all__ = ["Call", "Calls", "calls"]


@dataclass(frozen=True)
class Call:
    """One tensor that one call of a module returned.

    Args:
        path: path of the module.
        number: which call of that module.
        node: id of the node that made the tensor.
        index: its place in the returned tuple; None where the tensor itself is returned.
        reads: id of the node that made the first tensor the module was called with, or None.
    """

    path: str
    number: int
    node: int
    index: int | None
    reads: int | None


class Calls:
    """All of one run.

    Args:
        graph: the graph of that run.
        found: its calls, in the order in which they returned: an outer one after its inner ones.
        counts: path → how often the module was called.
    """

    def __init__(self, graph: Graph, found: list[Call], counts: dict[str, int]) -> None:
        self.graph, self.counts = graph, counts
        self.returning: dict[int, list[Call]] = {}
        for call in found:
            self.returning.setdefault(call.node, []).append(call)

    def exact(self, node: Node) -> Call | None:
        """The call that did just what ``node`` did, apart from views, casts and a bias."""
        ways = self._way(node.id, back=False), self._way(node.inputs[0], back=True) if node.inputs else []
        for returned in ways[0]:
            for call in self.returning.get(returned, ()):
                if call.path == node.module and call.index is None and call.reads in ways[1]:
                    return call
        return None

    def _way(self, start: int, *, back: bool) -> list[int]:
        """The node and what is the same signal after it (or before it)."""
        found = [start]
        while True:
            here = self.graph.nodes[found[-1]]
            after = here.inputs if back else self.graph.consumers[here.id]
            passed = here if back else self.graph.nodes[after[0]] if len(after) == 1 else None
            if passed is None or len(after) != 1 or not _passes(passed, bias=not back):
                return found
            found.append(after[0])


def _passes(node: Node, *, bias: bool) -> bool:
    return len(node.inputs) == 1 and (node.kind in ("shape", "cast") or (bias and node.kind == "add"))


def calls(context: Context) -> Calls:
    """The calls of a context's model on its inputs, found once.

    Raises:
        PlanError: if the second run does other ops than the first.
        TraceError: if the model raises.
    """
    if "calls" not in context.memo:
        assert context.graph is not None
        assert context.model is not None
        context.memo["calls"] = _watch(context.model, context.inputs, context.graph)
    return context.memo["calls"]  # type: ignore[no-any-return]


def _watch(model: nn.Module, inputs: Any, graph: Graph) -> Calls:
    arguments, keywords = validate(model, inputs, None, None)
    with restoring(model, 0) as guard, torch.enable_grad():
        recorder = Recorder(model, guard, None, None)
        for name, tensor in _named_arguments(arguments, keywords):
            recorder.add_argument(tensor, name, None)
        watcher = _Watcher(recorder)
        handles = [
            hooks.register_module_forward_pre_hook(recorder.modules.enter),
            hooks.register_module_forward_hook(watcher.leave),
            hooks.register_module_forward_hook(recorder.modules.leave, always_call=True),
            # Of each module and not global, since only these are shown the keyword arguments.
            *(m.register_forward_pre_hook(watcher.enter, prepend=True, with_kwargs=True) for m in model.modules()),
        ]
        try:
            with recorder:
                model(*arguments, **keywords)
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
        finally:
            for handle in handles:
                handle.remove()
    if [(d.module, d.shape) for d in recorder.drafts] != [(n.module, n.shape) for n in graph.nodes]:
        raise PlanError("the model did other ops when it was run again; it cannot be rewired from what one run did.")
    return Calls(graph, watcher.found, watcher.counts)


class _Watcher:
    """Notes what modules read and return, while a recorder knows where the tensors come from."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.reads: list[int | None] = []
        self.found: list[Call] = []
        self.counts: dict[str, int] = {}

    def node(self, value: Any) -> int | None:
        """Id of the node that made a tensor."""
        origin = self.recorder.table.get(value) if isinstance(value, torch.Tensor) else None
        return None if origin is None else origin.node

    def enter(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Before the call, for it may write to what it reads (an in-place ReLU).
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        self.reads.append(self.node(given[0]) if given else None)

    def leave(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        path = self.recorder.modules.paths.get(id(module))
        if path is None:  # made inside the forward pass
            return
        reads = self.reads.pop()
        self.counts[path] = number = self.counts.get(path, 0) + 1
        parts = list(enumerate(output)) if isinstance(output, (tuple, list)) else [(None, output)]
        for index, value in parts:
            made = self.node(value)
            if made is not None:
                self.found.append(Call(path, number, made, index, reads))
