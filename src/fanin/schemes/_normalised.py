"""Each channel to a mean and to standard deviation 1 on the batch, in one pass: what per-channel schemes share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from fanin.errors import InputError, PlanError
from fanin.initializers import Blocks, Rescaled, RescaledChannels, Values
from fanin.schemes._channels import channels
from fanin.schemes._one_pass import Use, run_once

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.recipe import Line, Recipe
    from fanin.schemes._base import Context
    from fanin.schemes._channels import Channels

__all__ = ["Directions", "normalised"]

SLACK = 1.25
"""Factors between 1/1.25 and 1.25 on a whole output are left out: no start is better for them, and the line stays a
plain formula."""

FLAT = 1e-6
"""A channel that varies by less than this share of its mean does not: float32 rounds sums to about 1e-7."""

Directions = Callable[[Use], str]
"""Writes other directions into ``use.weight`` before it is measured; returns in words what it wrote, or ""."""


def normalised(
    recipe: Recipe,
    context: Context,
    *,
    beta: float = 0.0,
    directions: Directions | None = None,
    goals: Mapping[str, float] | None = None,
    whole: Mapping[str, float] | None = None,
) -> Recipe:
    """Give each channel of each weight's output mean β and standard deviation 1 on the batch, in order of execution.

    Args:
        recipe: what the weights start as before.
        context: the model, the batch and the seed.
        beta: the mean; where the op adds no bias that the recipe writes, the mean is left.
        directions: other directions for a weight, found at its input.
        goals: weight → standard deviation of its channels instead of 1; weights that are not named are left.
        whole: weight → root mean square that its output shall have, by one factor for all channels and with no change
            of the bias; left as they are where they have it within ``SLACK``.

    Returns:
        The recipe with the factors and biases that were found, and notes on what was left.

    Raises:
        PlanError: if an output is not finite.
        TraceError: if the model raised.
    """
    slots, model = context.slots, context.model
    assert model is not None
    lines = {line.name: line for line in recipe.lines}
    names = [n for n, line in lines.items() if slots[n].role == "weight" and slots[n].kind != "recurrent" and line.std]
    if goals is not None:
        names = [name for name in names if name in goals or name in (whole or {})]
    biases = {n: p.data for n, p in model.named_parameters() if n in lines and slots[n].role == "bias"}
    hook = _Normalising(beta, biases, directions, goals or {}, whole or {})
    final: dict[str, Any] = {}

    def keep(parameters: Mapping[str, torch.Tensor]) -> None:
        lengths = (name for name in lines if slots[name].settings.get("norm_of") in hook.found)
        replaced = (name for name, found in hook.found.items() if found.wrote)
        for name in {*hook.moved.values(), *lengths, *replaced}:
            final[name] = parameters[name].detach().to("cpu", torch.float64, copy=True).numpy()

    run_once(model, context.inputs, recipe, context.seed, names, hook, keep)
    written = [_line(line, hook.found.get(line.name), final.get(line.name), beta) for line in recipe.lines]
    if not any(found.changed for found in hook.found.values()):
        return recipe
    notes = [*recipe.notes, *_notes(hook.found, names, context.seed, beta)]
    return type(recipe)(written, kept=recipe.kept, scheme=recipe.scheme, notes=notes)


@dataclass
class _Found:
    """What the pass did to one weight."""

    factors: torch.Tensor | None = None
    low: float = float("inf")
    high: float = 0.0
    flat: int = 0
    pooled: bool = False
    whole: bool = False
    centred: bool = True
    wrote: str = ""
    goal: float = 1.0
    changed: bool = True


@dataclass
class _Normalising:
    """The hook: W_c /= σ_c and b_c = β − μ_c/σ_c with μ_c, σ_c of channel c without its bias."""

    beta: float
    biases: dict[str, torch.Tensor]
    directions: Directions | None = None
    goals: Mapping[str, float] = field(default_factory=dict)
    whole: Mapping[str, float] = field(default_factory=dict)
    found: dict[str, _Found] = field(default_factory=dict)
    moved: dict[int, str] = field(default_factory=dict)

    def __call__(self, use: Use) -> None:
        found = self.found.setdefault(use.name, _Found())
        if self.directions is not None and use.length is None:
            wrote = self.directions(use)
            if wrote:
                found.wrote = wrote
                use.output.copy_(use.repeat())
        if use.name in self.whole:
            self._as_a_whole(use, found)
            return
        where = channels(use)
        over = where.over if where is not None else tuple(range(use.output.dim()))
        wide = use.output if use.output.dtype is torch.float64 else use.output.float()
        if use.bias is not None:
            wide = wide - use.bias.to(wide.dtype)
        variance, mean = torch.var_mean(wide, over, correction=0, keepdim=True)
        if where is None or not _fits(use, where, variance):
            found.pooled, where_weight, variance = True, None, variance.mean()
        else:
            where_weight = where
        if not bool(variance.isfinite().all()):
            raise PlanError(f"the output of {use.name} is not finite on this batch; it cannot be measured.")
        std = variance.sqrt()
        varies = std > FLAT * mean.abs().amax() if std.dim() == 0 else std > FLAT * mean.abs()
        found.goal = self.goals.get(use.name, 1.0)
        factor = torch.where(varies, found.goal / std, torch.ones_like(std)).float().to(wide.dtype)
        _weigh(use, where_weight, factor, found)
        bias = self._bias(use) if where is not None else None
        if bias is not None:
            bias.copy_((self.beta - mean * factor).reshape(bias.shape))
            addend: Any = bias.to(wide.dtype).reshape(mean.shape)
        else:
            found.centred = False
            addend = 0 if use.bias is None else use.bias.to(wide.dtype)
        use.output.copy_(wide * factor + addend)
        found.flat += int((~varies).sum())
        found.low, found.high = min(found.low, float(std.min())), max(found.high, float(std.max()))

    def _as_a_whole(self, use: Use, found: _Found) -> None:
        """One factor for the output as it is, and none where it is near its goal."""
        wide = use.output.double() if use.bias is None else use.output.double() - use.bias.double()
        rms = float(wide.square().mean().sqrt()) if wide.numel() else 0.0
        if not math.isfinite(rms):
            raise PlanError(f"the output of {use.name} is not finite on this batch; it cannot be measured.")
        found.goal, found.low, found.high, found.pooled, found.whole = self.whole[use.name], rms, rms, True, True
        factor = found.goal / rms if rms > 0 else 1.0
        found.flat = int(rms == 0)
        found.changed = not 1 / SLACK < factor < SLACK
        if found.changed:
            _weigh(use, None, torch.tensor(factor, device=use.weight.device), found)
            use.output.copy_(use.repeat())

    def _bias(self, use: Use) -> torch.Tensor | None:
        """The memory of the bias, where the recipe writes it and it was not set before."""
        if use.added is None or use.added.dim() != 1:
            return None
        at = use.added.data_ptr()
        for name, stored in self.biases.items():
            start = stored.data_ptr()
            if start <= at < start + stored.numel() * stored.element_size() and at not in self.moved:
                self.moved[at] = name
                return use.added
        return None


def _fits(use: Use, where: Channels, values: torch.Tensor) -> bool:
    """Whether there is one factor to change per channel: always for a weight, not for each length of a weight norm."""
    return use.length is None or where.spread(values).shape == use.length.shape


def _weigh(use: Use, where: Channels | None, factor: torch.Tensor, found: _Found) -> None:
    """Multiply the weight, or the length of a weight norm, and remember by what."""
    by = where.spread(factor) if where is not None else factor.reshape(())
    if use.length is not None:
        use.length.mul_(by.to(use.length.dtype))
        return
    use.weight.mul_(by.to(use.weight.dtype))
    if found.factors is None:
        found.factors = torch.ones_like(use.parameter, dtype=torch.float32)
    offset = use.weight.storage_offset() - use.parameter.storage_offset()
    torch.as_strided(found.factors, use.weight.shape, use.weight.stride(), offset).mul_(by.float())


def _line(line: Line, found: _Found | None, values: Any, beta: float) -> Line:
    if found is not None and not found.changed:
        return line
    if found is not None:
        spread = f"{found.low:.4g}" if found.low == found.high else f"{found.low:.4g} to {found.high:.4g}"
        which = "the whole" if found.pooled else "each channel"
        times = "" if found.goal == 1 else f", times {found.goal:.4g}"
        reason = f"{found.wrote or line.reason}; output of std {spread} on the batch: {which} divided by it{times}"
        if values is not None:
            return replace(line, initializer=Values(values), reason=reason)
        if found.factors is None:
            return replace(line, reason=f"{reason} by the length of the weight norm")
        return replace(line, initializer=_rescaled(line.initializer, _compact(found.factors)), reason=reason)
    if values is None:
        return line
    if values.ndim > 1:
        return replace(line, initializer=Values(values), reason="weight norm: g = 1/σ of the output on the batch")
    goal = f"β − μ/σ with β = {beta:g}" if beta else "−μ/σ"
    return replace(line, initializer=Values(values), reason=f"{goal}, from the output on the batch")


def _compact(factors: torch.Tensor) -> Any:
    """Axes along which the factors do not change, once."""
    for axis in range(factors.dim()):
        if factors.shape[axis] > 1 and bool((factors == factors.narrow(axis, 0, 1)).all()):
            factors = factors.narrow(axis, 0, 1)
    return factors.cpu().numpy()


def _rescaled(inner: Initializer, factors: Any) -> Initializer:
    if not isinstance(inner, Blocks):
        if hasattr(inner, "blocks"):
            raise InputError.of("initializer", inner, "Blocks in place of it", "a scheme that rescales channels")
        return RescaledChannels(inner, factors) if factors.size > 1 else Rescaled(inner, float(factors.item()))
    axis, parts, start = inner.config["axis"], [], 0
    for name, size, law, *own in inner.config["parts"]:
        index: list[Any] = [slice(None)] * factors.ndim
        if factors.shape[axis] > 1:
            index[axis] = slice(start, start + size)
        parts.append((name, size, RescaledChannels(law, factors[tuple(index)]), *own))
        start += size
    return Blocks(axis, parts)


def _notes(found: Mapping[str, _Found], names: Sequence[str], seed: int, beta: float) -> list[str]:
    met = [name for name in names if name in found]
    lists = {
        "Not measured, since no op uses them as they are stored": [name for name in names if name not in found],
        "One factor for all channels, since the op or the weight norm has no others": [
            name for name in met if found[name].pooled and not found[name].whole
        ],
        f"Means left as they are (asked for: {beta:g}), since the op adds no bias that is free": [
            name for name in met if not found[name].centred
        ],
        "Channels that do not vary on this batch keep their scale": [
            f"{name} ({found[name].flat})" for name in met if found[name].flat
        ],
    }
    first = f"Factors and biases measured for weights drawn with seed {seed}: write with that seed."
    return [first, *(f"{text}: {', '.join(which)}." for text, which in lists.items() if which)]
