"""What a stored tensor stands for where torch keeps another one than the layer uses (parametrizations, hooks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Stored", "resolve"]

Form = Literal["plain", "direction", "length", "rescaled", "unknown"]

# What each of torch's own parametrizations keeps of its original: the first two replace its scale.
_RESCALING = {"_SpectralNorm": "spectral norm", "_Orthogonal": "orthogonal parametrization"}


@dataclass(frozen=True)
class Stored:
    """Which tensor of which module a stored parameter stands for.

    Args:
        module: the module whose forward uses the tensor; path: its path.
        name: name of that tensor in the module.
        form: "plain", the "direction" or the "length" of a weight norm, "rescaled" where only the direction of the
            stored values matters, "unknown" behind a user's parametrization.
        note: in words, for ``Slot.why``.
        partner: canonical name of the direction, for a "length".
    """

    module: nn.Module
    path: str
    name: str
    form: Form = "plain"
    note: str = ""
    partner: str = ""


def resolve(model: nn.Module, path: str, module: nn.Module, name: str) -> Stored:
    """Find what the parameter ``name`` of ``module`` (at ``path``) stands for."""
    if isinstance(module, parametrize.ParametrizationList):
        return _parametrized(model, path, module, name)
    for hook in module._forward_pre_hooks.values():
        found = _hooked(hook, path, module, name)
        if found is not None:
            return found
    return Stored(module, path, name)


def _parametrized(model: nn.Module, path: str, steps: parametrize.ParametrizationList, name: str) -> Stored:
    parent, _, tensor = f".{path}".rpartition(".parametrizations.")
    parent = parent.removeprefix(".")
    owner = model.get_submodule(parent)
    names = [type(step).__name__ for step in steps]
    if names == ["_WeightNorm"]:
        if name == "original0":
            return Stored(owner, parent, tensor, "length", "length g of a weight norm", f"{path}.original1")
        return Stored(owner, parent, tensor, "direction", "direction v of a weight norm")
    if len(names) == 1 and names[0] in _RESCALING:
        return Stored(owner, parent, tensor, "rescaled", f"original of a {_RESCALING[names[0]]}, which sets the scale")
    return Stored(owner, parent, tensor, "unknown", f"original of the parametrization {' → '.join(names)}")


def _hooked(hook: object, path: str, module: nn.Module, name: str) -> Stored | None:
    kind = type(hook).__name__
    prefix = f"{path}." if path else ""
    if kind == "WeightNorm" and hasattr(hook, "dim"):
        tensor = str(getattr(hook, "name", ""))
        if name == f"{tensor}_g":
            return Stored(module, path, tensor, "length", "length g of a weight norm", f"{prefix}{tensor}_v")
        if name == f"{tensor}_v":
            return Stored(module, path, tensor, "direction", "direction v of a weight norm")
    if kind == "SpectralNorm" and name == f"{getattr(hook, 'name', '')}_orig":
        return Stored(module, path, name.removesuffix("_orig"), "rescaled", "original of a spectral norm")
    if isinstance(hook, BasePruningMethod) and name == f"{getattr(hook, '_tensor_name', '')}_orig":
        return Stored(module, path, name.removesuffix("_orig"), "plain", "kept entries of a pruned weight")
    return None
