"""Which module is running."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

__all__ = ["ModuleStack", "ignoring"]


def ignoring() -> bool:
    """Whether calls are not part of the forward pass.

    True inside a backward pass (a checkpoint that recomputes, a hook) and inside a function transform (vmap).
    """
    return bool(torch._C._current_graph_task_id() != -1 or torch._C._functorch.peek_interpreter_stack() is not None)


class ModuleStack:
    """Follows the calls of modules through global hooks."""

    def __init__(self, model: nn.Module) -> None:
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.calls: dict[str, int] = {}
        self.stack: list[tuple[int, str, int]] = []
        self._error, self._raised_in = 0, ""

    def enter(self, module: nn.Module, _args: Any) -> None:
        """Forward pre-hook of every module."""
        if ignoring():
            return
        path = self.paths.get(id(module))
        if path is None:  # made inside forward: named after its class, below whatever runs
            path = f"{self.current[0]}.{type(module).__name__}".lstrip(".")
        self.calls[path] = self.calls.get(path, 0) + 1
        self.stack.append((id(module), path, self.calls[path]))

    def leave(self, module: nn.Module, _args: Any, _output: Any) -> None:
        """Forward hook of every module, also of one that raises."""
        if ignoring():
            return
        error = sys.exc_info()[1]
        if error is not None and self._error != id(error):  # the innermost module leaves first
            self._error, self._raised_in = id(error), self.current[0]
        while self.stack:
            if self.stack.pop()[0] == id(module):
                break

    def raised_in(self, error: BaseException) -> str:
        """Path of the innermost module that ``error`` left."""
        return self._raised_in if self._error == id(error) else self.current[0]

    @property
    def current(self) -> tuple[str, int]:
        """(path, number of the call) of the innermost module that is running."""
        return self.stack[-1][1:] if self.stack else ("", 1)
