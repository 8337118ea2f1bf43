"""materialize: a model on meta becomes a model with memory and a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fanin.errors import InputError
from fanin.materialize import _shards
from fanin.materialize._write import canonical_names, fill_all, jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fanin.recipe import Recipe

__all__ = ["materialize"]


def materialize(
    model: nn.Module,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    buffers: Mapping[str, Tensor] | None = None,
    progress: bool = False,
) -> nn.Module:
    """Allocate the tensors that are on meta, write the recipe, keep ties; works on real and sharded models too.

    Ties (two names of one tensor), requires_grad and parameter classes survive. Running statistics of batch and
    instance norms start at mean 0 and variance 1. Nothing is left unwritten: a parameter or buffer on meta that
    neither the recipe nor ``buffers`` covers is an error, and the model is then as it was.

    Args:
        model: any module, wholly or partly on meta.
        recipe: what to write, from a scheme or a recorder.
        seed: integer in [0, 2**64); the same seed gives the same values on any device and any number of ranks.
        device: where meta tensors become real; None for the CPU. Real tensors are moved there where it is given.
        dtype: floating type of parameters; None keeps each one's own.
        buffers: values of buffers that are on meta (such as rotary frequencies), by name.
        progress: show a bar on the terminal.

    Returns:
        ``model``.

    Raises:
        InputError: if a line does not fit, or a tensor would remain unwritten; the text names it.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import HeNormal
        >>> from fanin.recipe import Line, Recipe
        >>> with torch.device("meta"):
        ...     model = nn.Linear(8, 4, bias=False)
        >>> recipe = Recipe([Line("weight", HeNormal(), "relu follows", (4, 8), linear((4, 8)))])
        >>> materialize(model, recipe).weight.device.type
        'cpu'
    """
    if dtype is not None and not dtype.is_floating_point:
        raise InputError.of("dtype", dtype, "a floating-point dtype such as torch.bfloat16")
    given = {name: (name, value) for name, value in (buffers or {}).items()}
    known = canonical_names(model)
    for name in given:
        if name not in known:
            raise InputError.of("buffers", name, "names of buffers of the model")
    fresh = _fresh(model, recipe, known, device, dtype, buffers or {})
    todo = jobs(model, recipe, seed, replaced=fresh)
    fill_all(todo, progress=progress)
    _replace(model, {id(known[name][1]): tensor for name, tensor in fresh.items()})
    return model


def _fresh(
    model: nn.Module,
    recipe: Recipe,
    known: Mapping[str, tuple[str, Tensor]],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    buffers: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Canonical name → new tensor, for each tensor that is on meta or is to change device or dtype."""
    written = {known[name][0] for name in recipe if name in known}
    statistics = _statistics(model)
    fresh: dict[str, Tensor] = {}
    missing: list[str] = []
    for name, (canonical, old) in known.items():
        if name != canonical:
            continue
        wanted = dtype if dtype is not None and old.is_floating_point() else old.dtype
        if not old.is_meta:
            if device is not None or wanted != old.dtype:
                moved = old.detach().to(device=device, dtype=wanted)
                if moved.data_ptr() != old.data_ptr() or moved.device != old.device:
                    fresh[canonical] = moved
            continue
        new = torch.empty_like(old, device=device or "cpu", dtype=wanted, requires_grad=False)
        value = next(
            (buffers[other] for other, (first, _) in known.items() if first == canonical and other in buffers), None
        )
        if value is not None:
            if tuple(value.shape) != tuple(old.shape):
                raise InputError.of(f"buffers[{name!r}]", tuple(value.shape), f"shape {tuple(old.shape)}")
            new.copy_(value)
        elif canonical in statistics:
            new.fill_(statistics[canonical])
        elif canonical not in written and new.numel():
            missing.append(f"{name} {tuple(old.shape)}")
        fresh[canonical] = new
    if missing:
        raise InputError.of(
            "model",
            f"tensors on meta that nothing writes: {', '.join(missing)}",
            "a recipe line for each parameter and a value in buffers={name: tensor} for each buffer",
        )
    return fresh


def _statistics(model: nn.Module) -> dict[str, float]:
    """Running statistics that torch itself defines the start of: mean 0, variance 1, no batch seen."""
    found: dict[str, float] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            prefix = f"{path}." if path else ""
            found |= {f"{prefix}running_mean": 0.0, f"{prefix}running_var": 1.0, f"{prefix}num_batches_tracked": 0.0}
    return found


def _replace(model: nn.Module, new: Mapping[int, Tensor]) -> None:
    """Put the new tensors in place of the old ones, in every module that holds them."""
    if any(_shards.is_sharded(tensor) for tensor in new.values()):
        _apply(model, lambda tensor: new.get(id(tensor), tensor))
        return
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for local, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in new:
                if id(parameter) not in made:
                    made[id(parameter)] = _as_parameter(parameter, new[id(parameter)])
                module._parameters[local] = made[id(parameter)]  # type: ignore[assignment]
        for local, buffer in module._buffers.items():
            if buffer is not None and id(buffer) in new:
                module._buffers[local] = new[id(buffer)]


def _as_parameter(old: nn.Parameter, value: Tensor) -> nn.Parameter:
    if type(old) is nn.Parameter:
        made = nn.Parameter(value, requires_grad=old.requires_grad)
    else:
        made = torch.Tensor._make_subclass(type(old), value, old.requires_grad)
    made.__dict__.update(old.__dict__)
    return made


def _apply(model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Through ``Module._apply``, which sharding wrappers override to stay in step; ties are then restored."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for local, parameter in module._parameters.items():
            if parameter is not None:
                places.setdefault(id(parameter), []).append((module, local))
    apply: Any = model._apply
    apply(change)
    for (module, local), *others in places.values():
        for other, name in others:
            other._parameters[name] = module._parameters[local]
