"""From what a user, a module or a traced op calls an activation to the activation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.theory.activations._base import REGISTRY, Activation, Gated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["find", "of_module", "of_op"]


def find(name: str, **parameters: float) -> Activation | Gated:
    """The activation of a name, an alias or a torch class name, such as ``"gelu"`` or ``"leaky_relu(0.2)"``.

    Args:
        name: registered name or alias; numbers in parentheses are its parameters, in order or by name.
        parameters: parameters by name.

    Raises:
        UnknownNameError: if no activation has that name; the text lists the nearest.
        InputError: if it has no such parameter.

    Example:
        >>> find("LeakyReLU", negative_slope=0.2) == find("leaky_relu(0.2)")
        True
    """
    match = re.fullmatch(r"\s*([^()\s]+)\s*(?:\(([^()]*)\))?\s*", name)
    head, inside = (match.group(1), match.group(2) or "") if match else (name, "")
    kind = REGISTRY[head if head in REGISTRY else head.lower()]
    positional: list[float] = []
    for text in filter(None, (piece.strip() for piece in inside.split(","))):
        key, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise InputError.of("parameter", text, "a number", f"activation {head!r}") from None
        if key:
            parameters[key.strip()] = number
        else:
            positional.append(number)
    try:
        return kind(*positional, **parameters)
    except TypeError:
        accepted = ", ".join(kind.__dataclass_fields__) or "none"
        received = (*positional, *parameters.items())
        raise InputError.of("parameters", received, f"parameters {accepted}", f"activation {kind.name!r}") from None


def of_op(op: str, attrs: Mapping[str, Any] | None = None) -> Activation | Gated | None:
    """The activation of a traced op and its options, or None where the op is not a registered activation.

    Example:
        >>> of_op("gelu", {"approximate": "tanh"}).name
        'gelu_tanh'
    """
    if op not in REGISTRY:
        op = op.rstrip("_")
        if op not in REGISTRY:
            return None
    options = dict(attrs or {})
    kind = REGISTRY[op]
    for other in REGISTRY.values():
        variant = getattr(other, "variant_of", None)
        if variant and variant[0] == kind.name and all(options.get(k) == v for k, v in variant[1].items()):
            kind = other
    return kind.configured(options) if issubclass(kind, Activation) else kind()


def of_module(module: Any) -> Activation | Gated | None:
    """The activation that an ``nn.Module`` of torch itself is, with its parameters; None for any other module."""
    if not type(module).__module__.startswith("torch.nn.modules") or type(module).__name__ not in REGISTRY:
        return None
    kind = REGISTRY[type(module).__name__]
    names = [*kind.__dataclass_fields__, "approximate"]
    options = {name: getattr(module, name) for name in names if hasattr(module, name)}
    for name, value in options.items():
        if hasattr(value, "detach"):
            options[name] = float(value.detach().double().mean())
    return of_op(kind.name, options)
