"""param_groups: the optimizer's parameter groups under μP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.mup._roles import scalings
from fanin.slots import find
from fanin.trace import trace as run_trace

if TYPE_CHECKING:
    from torch import nn

__all__ = ["param_groups"]


def param_groups(
    model: nn.Module,
    *,
    base: Any,
    lr: float,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    inputs: Any = None,
) -> list[dict[str, Any]]:
    """Parameter groups whose learning rates carry one tuned at the base width to this width.

    Adam: lr for inputs (embeddings, first maps, biases, gains), lr · base_fan_in/fan_in for hidden and output maps.
    SGD: lr · fan_out/base_fan_out for inputs, lr for hidden, lr · base_fan_in/fan_in for outputs. The start must
    follow too: ``fanin.init_(model, x, scheme="mup", base=base)``.

    Args:
        model: the model to train.
        base: the same model at the width where ``lr`` was tuned (on meta is enough), or parameter name → shape.
        lr: the learning rate tuned there; > 0.
        optimizer: "adam" (also AdamW, Lion, RMSprop: steps of fixed size) or "sgd".
        weight_decay: decay of maps at the base width; it is divided by the group's factor, so that decoupled decay
            (lr · weight_decay) is the same at all widths. Biases, gains and the rest get none.
        inputs: a batch, which tells the axes of parameters that module kinds do not.

    Returns:
        Groups with "params", "lr", "weight_decay", "names" and "role"; every trainable parameter is in exactly one.

    Raises:
        InputError: if an argument is not acceptable or the base model has other parameters.

    Example:
        >>> import torch
        >>> def net(width):
        ...     layers = [torch.nn.Linear(8, width), torch.nn.Linear(width, width), torch.nn.Linear(width, 3)]
        ...     return torch.nn.Sequential(*layers)
        >>> groups = param_groups(net(256), base=net(64), lr=1e-3)
        >>> [(group["role"], group["lr"]) for group in groups]
        [('input', 0.001), ('hidden', 0.00025), ('output', 0.00025), ('vector', 0.001)]
        >>> optimizer = torch.optim.Adam(groups)

    Source: Yang et al. (Tensor Programs V), 2022, Table 3.
    """
    if optimizer not in ("adam", "sgd"):
        raise InputError.of("optimizer", optimizer, "'adam' or 'sgd'")
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < float("inf"):
        raise InputError.of("lr", lr, "a finite number > 0")
    if isinstance(weight_decay, bool) or not isinstance(weight_decay, (int, float)) or not weight_decay >= 0:
        raise InputError.of("weight_decay", weight_decay, "a number >= 0")
    graph = None if inputs is None else run_trace(model, inputs, statistics=False).graph
    slots = find(model, graph)
    unknown = [slot.name for slot in slots.values() if slot.role == "unknown" and len(slot.shape) > 1]
    if unknown:
        raise InputError.of("model", f"{unknown[0]}, whose use is not known", "inputs=, so that it can be traced")
    parameters = dict(model.named_parameters())
    groups: dict[tuple[str, float], dict[str, Any]] = {}
    for name, scaling in scalings(slots, base).items():
        slot = slots[name]
        if not slot.trainable:
            continue
        is_map = slot.role in ("weight", "embedding")
        role, factor = scaling.role if is_map else "vector", scaling.rate(optimizer)
        decay = weight_decay / factor if is_map else 0.0
        empty = {"params": [], "lr": lr * factor, "weight_decay": decay, "names": [], "role": role}
        group = groups.setdefault((role, factor), empty)
        group["params"].append(parameters[name])
        group["names"].append(name)
    order = ("input", "hidden", "output", "vector")
    return sorted(groups.values(), key=lambda group: order.index(group["role"]))
