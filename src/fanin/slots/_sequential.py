"""What the order of an nn.Sequential tells without a run: the nonlinearity after a module, a norm before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["After", "after", "is_last"]


class After(NamedTuple):
    """What follows a map: canonical name and arguments of the nonlinearity, and whether a norm comes first."""

    name: str | None
    args: dict[str, Any]
    normalized: bool


# Canonical names are those of the activations of ``theory``.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.ReLU6: ("relu6", ()),
    nn.ELU: ("elu", ("alpha",)),
    nn.CELU: ("celu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.SiLU: ("silu", ()),
    nn.Mish: ("mish", ()),
    nn.Tanh: ("tanh", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softsign: ("softsign", ()),
    nn.LogSigmoid: ("log_sigmoid", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
}
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
_PASSED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity, nn.Flatten, nn.Unflatten)
_SOFTMAX = (nn.Softmax, nn.LogSoftmax, nn.Softmax2d)


def _flat(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        if type(child) is nn.Sequential:
            yield from _flat(child, f"{path}.")
        else:
            yield path, child


def _chain(model: nn.Module, path: str) -> list[tuple[str, nn.Module]] | None:
    """The longest run of nested nn.Sequential around ``path``, flattened; None where there is none."""
    parts = path.split(".")
    for depth in range(len(parts)):
        prefix = ".".join(parts[:depth])
        if type(model.get_submodule(prefix)) is nn.Sequential and all(
            type(model.get_submodule(".".join(parts[:inner]))) is nn.Sequential for inner in range(depth, len(parts))
        ):
            return list(_flat(model.get_submodule(prefix), f"{prefix}." if prefix else ""))
    return None


def after(model: nn.Module, path: str) -> After | None:
    """The nonlinearity that follows the module at ``path``; None where the order does not tell."""
    chain = _chain(model, path)
    if chain is None:
        return None
    names = [name for name, _ in chain]
    normalized = False
    for _, module in chain[names.index(path) + 1 :]:
        if isinstance(module, _NORMS):
            normalized = True
        elif isinstance(module, nn.GELU):
            return After("gelu", {"approximate": module.approximate}, normalized)
        elif isinstance(module, nn.PReLU):
            return After("leaky_relu", {"negative_slope": float(module.init)}, normalized)
        elif type(module) in _ACTIVATIONS:
            name, wanted = _ACTIVATIONS[type(module)]
            return After(name, {key: getattr(module, key) for key in wanted}, normalized)
        elif isinstance(module, _SOFTMAX) or any(True for _ in module.parameters()):
            return After("linear", {}, normalized)
        elif not isinstance(module, _PASSED):
            return None  # pooling keeps the question open, an unknown module may hold a nonlinearity
    return After("linear", {}, normalized) if type(model) is nn.Sequential else None


def is_last(model: nn.Module, path: str) -> bool:
    """Whether the output of the module at ``path`` leaves a model that is one nn.Sequential."""
    chain = _chain(model, path)
    if chain is None or type(model) is not nn.Sequential:
        return False
    names = [name for name, _ in chain]
    rest = [module for _, module in chain[names.index(path) + 1 :]]
    return all(isinstance(module, (*_PASSED, *_SOFTMAX, *_ACTIVATIONS)) for module in rest)
