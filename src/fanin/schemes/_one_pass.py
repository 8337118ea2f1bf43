"""One forward pass that changes each weight as its output appears, so that what follows already sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fanin.errors import FaninError, PlanError, TraceError
from fanin.graph import classify
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.trace import _fused
from fanin.trace._loss import tensors_in
from fanin.trace._restore import Guard, restoring
from fanin.trace._validate import validate

__all__ = ["Hook", "Measured", "Use", "Watch", "one_pass", "run_once", "spread", "written"]

_BIASED = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_ADDING = ("addmm", "baddbmm", "addbmm", "addmv")


@dataclass(frozen=True)
class Use:
    """The first op that multiplied by a weight, before anything else has seen its output.

    Args:
        name: canonical name of the weight.
        parameter: the weight as it is stored.
        weight: the operand: the parameter, a view of it, or what weight norm made of it.
        length: g of a weight norm as it is stored, or None.
        op: canonical op name.
        position: place of the weight among the tensors that the op was given.
        tensors: those tensors.
        args: the op's positional arguments; keywords: its keyword arguments.
        output: what it returned; to be corrected in place.
        bias: what it added, shaped to be subtracted from the output; None where it added nothing or zeros.
        added: the same as it was passed, also where it is zero.
        repeat: the op once more, with the values that weight and bias have by then.
    """

    name: str
    parameter: torch.Tensor
    weight: torch.Tensor
    length: torch.Tensor | None
    op: str
    position: int
    tensors: tuple[torch.Tensor, ...]
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    output: torch.Tensor
    bias: torch.Tensor | None
    added: torch.Tensor | None
    repeat: Callable[[], torch.Tensor]


Hook = Callable[[Use], None]
"""Changes ``use.weight`` (or ``use.length``), and ``use.output`` to what the changed weight gives, all in place."""


def run_once(
    model: nn.Module,
    inputs: Any,
    recipe: Recipe,
    seed: int,
    names: Collection[str],
    hook: Hook,
    done: Callable[[Mapping[str, torch.Tensor]], None] | None = None,
) -> None:
    """Write ``recipe``, run the model once and call ``hook`` at the first use of each weight; restore everything.

    A part of a weight that is used on its own (q of a packed q, k, v; one expert) has a first use of its own.

    Args:
        model: the model, in the mode it shall be measured in.
        inputs: the batch.
        recipe: what the weights start as.
        seed: what they are drawn with.
        names: the weights to call ``hook`` for.
        hook: what to do at a first use.
        done: given all parameters by canonical name after the run, before they are restored.

    Raises:
        PlanError: from the hook.
        TraceError: if the model raised.
    """
    arguments, keywords = validate(model, inputs, None, None)
    with written(model, inputs, recipe, seed), torch.no_grad():
        try:
            with _Watching(Watch(model, names, hook)):
                model(*arguments, **keywords)
        except FaninError:
            raise
        except Exception as error:
            raise TraceError(f"the model raised {type(error).__name__}: {error}") from error
        if done is not None:
            done(dict(model.named_parameters()))


@contextmanager
def written(model: nn.Module, inputs: Any, recipe: Recipe, seed: int) -> Iterator[Guard]:
    """The model with ``recipe`` written, for the body; then everything as it was, the batch too."""
    batch = list(tensors_in(inputs))
    with restoring(model, seed, batch) as guard:
        for tensor in (*model.parameters(), *batch):
            guard.protect(tensor)
        write(model, recipe, seed)
        yield guard


@dataclass(frozen=True)
class Measured:
    """What the pass found for one weight.

    Args:
        factors: one factor for each packed part of the tensor, or a single one.
        stds: standard deviation of the output (of each part) before.
    """

    factors: tuple[float, ...]
    stds: tuple[float, ...]


def one_pass(
    model: nn.Module,
    inputs: Any,
    recipe: Recipe,
    seed: int,
    parts: Mapping[str, Sequence[int]],
    goal: Mapping[str, float],
    run: Callable[[nn.Module, Any, Recipe, int, Collection[str], Hook], None] = run_once,
) -> dict[str, Measured]:
    """Find the factors that give each output its standard deviation, in one run; restore everything.

    A weight is rescaled at its first use, and a later use sees it rescaled. Where the op adds a bias, only the weight
    is rescaled, such that the sum has the goal.

    Args:
        model: the model, in the mode it shall be measured in.
        inputs: the batch.
        recipe: what the weights start as.
        seed: what they are drawn with.
        parts: weight → sizes of the maps packed along its out axis, for those that are rescaled one by one.
        goal: weight → standard deviation that its output shall have; others are left.
        run: the run itself, where more than :func:`run_once` does is made of it.

    Returns:
        Weight → what was found, for each that met an op of its own.

    Raises:
        PlanError: if an output is not finite.
        TraceError: if the model raised.
    """
    found: dict[str, Measured] = {}

    def rescale(use: Use) -> None:
        if use.length is not None:
            return
        sizes = list(parts.get(use.name, ()))
        held = _parts_in(use, sizes)
        if held:  # q of a packed q, k, v may come alone, k and v later
            before = found.get(use.name, Measured((1.0,) * len(sizes), (0.0,) * len(sizes)))
            found[use.name] = _rescale_parts(use, sizes, held, goal[use.name], before)
        elif use.name not in found:
            factor, std = _rescale(use, use.output, use.parameter, use.bias, goal[use.name])
            found[use.name] = Measured((factor,), (std,))

    run(model, inputs, recipe, seed, goal, rescale)
    return found


def _parts_in(use: Use, sizes: list[int]) -> list[int]:
    """Indices of the packed maps that the operand holds; none where it holds no whole ones, or something else."""
    stored, weight = use.parameter, use.weight
    if len(sizes) < 2 or weight.shape[1:] != stored.shape[1:] or weight.stride() != stored.stride():
        return []
    if not stored.stride(0) or use.output.shape[-1] != weight.shape[0]:
        return []
    first = (weight.storage_offset() - stored.storage_offset()) // stored.stride(0)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    held = [i for i, s in enumerate(starts) if first <= s and s + sizes[i] <= first + weight.shape[0]]
    return held if sum(sizes[i] for i in held) == weight.shape[0] else []


def _rescale_parts(use: Use, sizes: list[int], held: list[int], goal: float, before: Measured) -> Measured:
    rows = [sizes[i] for i in held]
    factors, stds = list(before.factors), list(before.stds)
    shifts: Sequence[torch.Tensor | None] = [None] * len(held)
    if use.bias is not None:
        shifts = use.bias.expand_as(use.output).split(rows, -1)
    each = zip(held, use.output.split(rows, -1), use.weight.split(rows, 0), shifts, strict=True)
    for index, values, weight, shift in each:
        factors[index], stds[index] = _rescale(use, values, weight, shift, goal)
    return Measured(tuple(factors), tuple(stds))


def _rescale(
    use: Use, output: torch.Tensor, weight: torch.Tensor, shift: torch.Tensor | None, goal: float
) -> tuple[float, float]:
    factor, std = _factor(use.name, output, shift, goal)
    weight.mul_(factor)
    if shift is not None:
        output.sub_(shift).mul_(factor).add_(shift)
    else:
        output.mul_(factor)
    return factor, std


def _factor(name: str, output: torch.Tensor, bias: torch.Tensor | None, goal: float) -> tuple[float, float]:
    """f with Std(f·(y − b) + b) = goal, and Std y; 1 where the output does not vary or the bias alone varies more."""
    variance = spread(output)
    if variance != variance or variance == float("inf"):
        raise PlanError(f"the output of {name} is not finite on this batch; it cannot be measured.")
    if bias is None:
        return (goal / variance**0.5 if variance > 0 else 1.0), variance**0.5
    wide = output.double() if output.dtype is torch.float64 else output.float()
    shift = bias.expand_as(wide).to(wide.dtype)
    part = wide - shift
    a, b = float(part.var(correction=0)), float(shift.var(correction=0))
    c = (variance - a - b) / 2  # covariance of the two terms
    root = c * c + a * (goal**2 - b)
    factor = (root**0.5 - c) / a if a > 0 and root >= 0 else 1.0
    return (factor if factor > 0 else 1.0), variance**0.5


def spread(output: torch.Tensor) -> float:
    """Variance of all entries, by the compiled kernel where that loses no digits; NaN where one is not finite."""
    if not output.numel():
        return 0.0
    sums = _fused.one_pass(output, None)
    if sums is not None:
        mean = sums.sum / sums.count
        variance = sums.sum_of_squares / sums.count - mean**2
        if sums.nonfinite:
            return float("nan")
        if variance > 1e-6 * mean**2:  # sums in float64: at least 9 of 15 digits are left
            return variance
    wide = output if output.dtype is torch.float64 else output.float()
    return float(wide.var(correction=0))


@dataclass(frozen=True)
class _Target:
    name: str
    parameter: torch.Tensor
    start: int
    stop: int


@dataclass(frozen=True)
class _Made:
    """A weight that weight norm made: kept, so that its memory is not given to another tensor."""

    target: _Target
    weight: torch.Tensor
    length: torch.Tensor


def _targets(model: nn.Module, names: Collection[str]) -> dict[int, list[_Target]]:
    """Storage → the weights that lie in it."""
    found: dict[int, list[_Target]] = {}
    for name, parameter in model.named_parameters():
        if name in names:
            start = parameter.data_ptr()
            target = _Target(name, parameter.data, start, start + parameter.numel() * parameter.element_size())
            found.setdefault(parameter.untyped_storage().data_ptr(), []).append(target)
    return found


@lru_cache(maxsize=1024)
def _classified(name: str, module: str) -> tuple[str, str]:
    return classify(name, module)


class Watch:
    """Calls a hook at the first use of each weight, as seen from the calls of torch functions.

    Args:
        model: the model that runs.
        names: canonical names of the weights.
        hook: what to do at a first use.
    """

    def __init__(self, model: nn.Module, names: Collection[str], hook: Hook) -> None:
        self.targets, self.hook = _targets(model, names), hook
        self.made: dict[int, _Made] = {}
        self.seen: dict[str, list[tuple[int, int]]] = {}

    def saw(self, func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        """Look at one call and what it returned; where it is a first use, both are changed in place."""
        name = getattr(func, "__name__", "")
        if name == "_weight_norm":
            self._remember(args, result)
            return
        op, kind = _classified(name, getattr(func, "__module__", None) or "")
        if kind not in ("linear", "matmul") or not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return
        operands = tuple(_tensors((*args, *keywords.values())))
        for position, tensor in enumerate(operands):
            found = self._target(tensor)
            if found is None or not self._is_first(found, tensor):
                continue
            added = _added(op, args, keywords)
            made = found if isinstance(found, _Made) else None
            target = found.target if isinstance(found, _Made) else found
            with torch.no_grad():
                # ``data``: who records the run must not take the changes for a part of it.
                use = Use(
                    target.name,
                    target.parameter,
                    tensor.data,
                    None if made is None else made.length,
                    op,
                    position,
                    operands,
                    args,
                    keywords,
                    result.data,
                    _shaped(op, added),
                    None if added is None else added.data,
                    lambda: func(*args, **keywords),
                )
                self.hook(use)
            return

    def _remember(self, args: tuple[Any, ...], weight: Any) -> None:
        found = self._target(args[0]) if args and isinstance(args[0], torch.Tensor) else None
        if isinstance(found, _Target) and len(args) > 1 and isinstance(weight, torch.Tensor):
            self.made[weight.untyped_storage().data_ptr()] = _Made(found, weight, args[1].data)

    def _target(self, tensor: torch.Tensor) -> _Target | _Made | None:
        """The weight that a tensor shows, whatever view of it was passed."""
        if tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage().data_ptr()
        for target in self.targets.get(storage, ()):
            if target.start <= tensor.data_ptr() < target.stop:
                return target
        return self.made.get(storage)

    def _is_first(self, found: _Target | _Made, tensor: torch.Tensor) -> bool:
        """Whether no op has used this part of the weight before; remembers it."""
        if isinstance(found, _Made):
            name, first, last = found.target.name, 0, 0
        else:
            name, first = found.name, (tensor.data_ptr() - found.start) // tensor.element_size()
            last = first + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        seen = self.seen.setdefault(name, [])
        if any(first <= stop and start <= last for start, stop in seen):
            return False
        seen.append((first, last))
        return True


class _Watching(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if func is nn.functional.multi_head_attention_forward:
            return self._descend(func, args, keywords)
        result = func(*args, **keywords)
        self.watch.saw(func, args, keywords, result)
        return result

    def _descend(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the Python body of multi-head attention under this mode instead of treating it as one function."""
        functional = nn.functional
        original = functional.has_torch_function  # type: ignore[attr-defined]
        functional.has_torch_function = lambda _: False  # type: ignore[attr-defined]
        try:
            with self:
                return func(*args, **kwargs)
        finally:
            functional.has_torch_function = original  # type: ignore[attr-defined]


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _added(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """What the op adds to its product."""
    bias = None
    if op in _BIASED:
        bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
    elif op == "bilinear":
        bias = kwargs.get("bias", args[3] if len(args) > 3 else None)
    elif op in _ADDING and args:
        bias = args[0]
    return bias if isinstance(bias, torch.Tensor) else None


def _shaped(op: str, bias: torch.Tensor | None) -> torch.Tensor | None:
    """A bias shaped to be subtracted from the output; None where it is zero."""
    if bias is None or not bool(bias.any()):
        return None
    return bias.reshape(-1, *[1] * int(op[-2])) if op.startswith("conv") else bias
