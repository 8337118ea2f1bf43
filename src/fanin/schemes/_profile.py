"""One forward pass that sets the divisor of each residual branch from what it has met so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fanin.errors import FaninError, PlanError, TraceError
from fanin.graph import classify
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.trace._restore import restoring
from fanin.trace._validate import validate

__all__ = ["profile"]

_CARRYING = ("shape", "cast", "dropout", "scale")


def profile(model: nn.Module, inputs: Any, recipe: Recipe, seed: int, streams: Mapping[str, int]) -> dict[str, float]:
    """Write ``recipe``, run the model once and find ω of each branch; restore everything.

    On each stream ω = 1 for the first branch, and ω²_next = Var(ω x) + Var f where ω·x + f is the sum: what follows
    already sees the ω that was set.

    Args:
        model: the model, in the mode it shall be measured in; its branches end in y / ω.
        inputs: the batch.
        recipe: what the weights start as.
        seed: what they are drawn with.
        streams: name of each ω → the stream of its branch.

    Returns:
        Name of ω → value, in order of execution.

    Raises:
        PlanError: if a signal is not finite.
        TraceError: if the model raised.
    """
    arguments, keywords = validate(model, inputs, None, None)
    with restoring(model, seed) as guard, torch.no_grad():
        for parameter in model.parameters():
            guard.protect(parameter)
        write(model, recipe, seed)
        mode = _Profiling({id(p): (name, p) for name, p in model.named_parameters() if name in streams}, streams)
        try:
            with mode:
                model(*arguments, **keywords)
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
    return mode.found


class _Profiling(TorchFunctionMode):
    """Recognizes y / ω by the parameter, follows the quotient to its sum, and measures both terms there."""

    def __init__(self, divisors: dict[int, tuple[str, torch.Tensor]], streams: Mapping[str, int]) -> None:
        super().__init__()
        self.divisors, self.streams = divisors, streams
        self.found: dict[str, float] = {}
        self.next: dict[int, float] = {}
        self.views: dict[int, tuple[str, torch.Tensor]] = {}
        self.quotients: dict[int, tuple[str, torch.Tensor, float]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        op, kind = classify(getattr(func, "__name__", ""), getattr(func, "__module__", None) or "")
        operands = list(_tensors((*args, *keywords.values())))
        divided = next((self._divisor(t) for t in operands if self._divisor(t)), None)
        spread = 0.0
        if divided and op == "div":
            name, parameter = divided
            spread = _variance(name, operands[0])
            self.found.setdefault(name, self.next.get(self.streams[name], 1.0))
            parameter.fill_(self.found[name])
        quotient = next((self.quotients[id(t)] for t in operands if id(t) in self.quotients), None)
        if quotient and kind == "add" and len(operands) == 2:
            self._summed(quotient[0], quotient[2], next(t for t in operands if id(t) not in self.quotients))
        result = func(*args, **keywords)
        if isinstance(result, torch.Tensor):
            # The tensors are held, so that no other one takes their identity.
            if divided and op == "div":
                self.quotients[id(result)] = (divided[0], result, spread)
            elif divided and kind in _CARRYING:
                self.views[id(result)] = (divided[0], result)
            elif quotient and kind in _CARRYING:
                self.quotients[id(result)] = (quotient[0], result, quotient[2])
        return result

    def _divisor(self, tensor: torch.Tensor) -> tuple[str, torch.Tensor] | None:
        """The ω that a tensor is, or is a view or cast of."""
        if id(tensor) in self.views:
            name = self.views[id(tensor)][0]
            return next(entry for entry in self.divisors.values() if entry[0] == name)
        return self.divisors.get(id(tensor))

    def _summed(self, name: str, spread: float, skip: torch.Tensor) -> None:
        omega = self.found[name]
        self.next[self.streams[name]] = (omega**2 * _variance(name, skip) + spread) ** 0.5


def _tensors(values: tuple[Any, ...]) -> Iterator[torch.Tensor]:
    return (value for value in values if isinstance(value, torch.Tensor))


def _variance(name: str, values: torch.Tensor) -> float:
    variance = float(values.double().var(correction=0))
    if variance != variance or variance == float("inf"):
        raise PlanError(f"the signals at {name} are not finite on this batch; they cannot be measured.")
    return variance
