"""find: the slots of a model, from module kinds and, where a graph is given, from the ops that used each parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fanin.errors import InputError
from fanin.fans import elementwise
from fanin.slots import _context, _sequential, _traced
from fanin.slots._added import added
from fanin.slots._base import KINDS, Place
from fanin.slots._slot import Slot, Slots
from fanin.slots._stored import Stored, resolve

if TYPE_CHECKING:
    from fanin.graph import Graph

__all__ = ["find"]


def find(model: nn.Module, graph: Graph | None = None) -> Slots:
    """Find the place of every parameter of a model; nothing is run and nothing is changed.

    Axes come from the kind of module that holds the parameter; for any other module, and where a module's weight was
    used in another way than its kind does, from the op that used it in ``graph``. Where neither tells, the role is
    "unknown".

    Args:
        model: any module; meta parameters are fine.
        graph: the graph of one run of that model, or None.

    Returns:
        Slots: canonical name → Slot in definition order; a tied tensor once.

    Raises:
        InputError: if a lazy parameter has no shape yet.

    Example:
        >>> from torch import nn
        >>> slots = find(nn.Sequential(nn.Conv2d(8, 16, 3, groups=4), nn.ReLU()))
        >>> slots["0.weight"].fans.fan_in, slots["0.weight"].nonlinearity
        (18, 'relu')
    """
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            raise InputError.of(
                name, "an uninitialized lazy parameter", "a shape; run the model on one batch first", "model"
            )
        names.setdefault(parameter, []).append(name)
    slots = [_slot(model, parameter, each, graph) for parameter, each in names.items()]
    return Slots(_context.fill(slots, graph) if graph is not None else [_ordered(model, slot) for slot in slots])


def _slot(model: nn.Module, parameter: nn.Parameter, names: list[str], graph: Graph | None) -> Slot:
    shape = tuple(parameter.shape)
    candidates = [_by_module(model, name, shape) for name in names]
    # A lookup table that is also the head is a lookup table: its fan_in of 1 is the stricter demand.
    _, kind, place, stored = min(candidates, key=lambda c: (c[2].role != "embedding", c[2].role == "unknown"))
    if graph is not None and stored.form in ("plain", "direction"):
        used = _traced.place(graph, names, shape, place)
        if used is not None:
            kind, place = "traced", used
    place = _as_stored(stored, place, shape)
    settings = dict(place.settings)
    if getattr(parameter, "_no_reinit", False):
        settings["hold"] = "the model marks it _no_reinit"
    why = place.why
    if place.role in ("gain", "unknown") and not parameter.is_meta and not _is_finite(parameter.detach()):
        # Schemes keep such parameters where they belong to no norm; they must know that there is nothing to keep.
        settings["nonfinite"] = True
        why = f"{why}; its present values are not finite"
    return Slot(
        name=names[0],
        shape=shape,
        role=place.role,
        kind=kind,
        owner=stored.path,
        owner_type=_class_name(stored.module),
        fans=place.fans,
        parts=place.parts,
        ties=tuple(names[1:]),
        dtype=str(parameter.dtype).removeprefix("torch."),
        trainable=parameter.requires_grad,
        is_head=len({c[2].role for c in candidates} & {"embedding", "weight"}) == 2,
        padding_index=place.padding_index,
        settings=settings,
        why=why,
    )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether all entries are; torch asks types of one byte (float8) only after a cast."""
    return bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all())


def _submodule(model: nn.Module, path: str) -> nn.Module:
    """``get_submodule``, which script modules do not have."""
    for name in path.split(".") if path else ():
        model = getattr(model, name)
    return model


def _class_name(module: nn.Module) -> str:
    cls = type(module)
    if torch.nn.utils.parametrize.is_parametrized(module):
        cls = cls.__mro__[1]
    return cls.__name__


def _by_module(model: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[str, str, Place, Stored]:
    path, _, local = name.rpartition(".")
    stored = resolve(model, path, _submodule(model, path), local)
    if stored.form == "length":  # a scalar or one per output: only the direction is shaped as the layer's tensor
        holder, _, direction = stored.partner.rpartition(".")
        shape = tuple(getattr(_submodule(model, holder), direction).shape)
    place = added(stored.module, stored.name, shape)
    if place is not None:
        return name, "added", place, stored
    for kind in KINDS.values():
        if kind.claims(stored.module):
            place = kind.place(stored.module, stored.name, shape)
            if place is not None:
                return name, kind.name, place, stored
    owner = _class_name(stored.module)
    why = f"{owner} is not a module kind that is known, and no traced op tells how it uses {stored.name!r}"
    return name, "unknown", Place("unknown", None, why), stored


def _as_stored(stored: Stored, place: Place, shape: tuple[int, ...]) -> Place:
    """What the stored tensor is, given what the tensor that the layer uses is."""
    if stored.form == "plain" or place.role == "unknown":
        return replace(place, why=f"{stored.note}; {place.why}") if stored.note else place
    if stored.form == "unknown":
        return Place("unknown", None, f"{stored.note}, whose effect on the scale is not known")
    if stored.form == "length":
        return Place("gain", elementwise(shape), stored.note, settings={"norm_of": stored.partner})
    return replace(place, why=f"{stored.note}; {place.why}", settings={**place.settings, "form": stored.form})


def _ordered(model: nn.Module, slot: Slot) -> Slot:
    """Fill in what the order of an nn.Sequential tells."""
    if slot.role not in ("weight", "embedding", "bias") or slot.kind in ("recurrent", "attention"):
        return slot
    follows = _sequential.after(model, slot.owner) if slot.owner else None
    if follows is None:
        return slot
    return replace(
        slot,
        nonlinearity=follows.name,
        nonlinearity_args=follows.args,
        normalized=follows.normalized,
        is_head=slot.is_head or _sequential.is_last(model, slot.owner),
    )
