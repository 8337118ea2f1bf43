"""Convolutions and linear maps with scaled weight standardization, under the names of the parameters they had."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from fanin.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["standardized"]

FLOOR = 1e-4
"""Smallest fan_in · variance that is divided by, as in the authors' code."""


class _Standardized(nn.Module):
    """Mixin: the map uses γ · gain · (W − mean)/√(fan_in · var), each output row by itself."""

    weight: torch.Tensor
    weight_gain: torch.Tensor
    gamma: float
    slot_roles: ClassVar[dict[str, str]] = {"weight_gain": "gain"}

    def standardized(self) -> torch.Tensor:
        """The weight that the map uses."""
        weight = self.weight
        axes, fan_in = tuple(range(1, weight.dim())), weight[0].numel()
        var, mean = torch.var_mean(weight, axes, correction=0, keepdim=True)
        return (weight - mean) * (self.weight_gain * (self.gamma * (var * fan_in).clamp(min=FLOOR).rsqrt()))


class StandardizedLinear(_Standardized, nn.Linear):
    """A linear map with a standardized weight."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name, which callers may use
        """x Ŵᵀ + b."""
        return nn.functional.linear(input, self.standardized(), self.bias)


class _Convolution(_Standardized):
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name, which callers may use
        """Ŵ ∗ x + b."""
        result: torch.Tensor = self._conv_forward(input, self.standardized(), self.bias)  # type: ignore[operator]
        return result


class StandardizedConv1d(_Convolution, nn.Conv1d):
    """A convolution with a standardized weight."""


class StandardizedConv2d(_Convolution, nn.Conv2d):
    """A convolution with a standardized weight."""


class StandardizedConv3d(_Convolution, nn.Conv3d):
    """A convolution with a standardized weight."""


_CLASSES: dict[type[nn.Module], type[_Standardized]] = {
    nn.Linear: StandardizedLinear,
    nn.Conv1d: StandardizedConv1d,
    nn.Conv2d: StandardizedConv2d,
    nn.Conv3d: StandardizedConv3d,
}


def standardized(path: str, module: nn.Module, gamma: float) -> Callable[[nn.Module], nn.Module]:
    """What makes the standardized form of ``module``, with the same parameters and a gain of 1 for each output.

    Raises:
        PlanError: if it is not one of torch's own linear maps and convolutions.
    """
    cls = _CLASSES.get(type(module))
    if cls is None:
        known = ", ".join(f"nn.{known.__name__}" for known in _CLASSES)
        raise PlanError(
            f"scheme 'nfnet' standardizes the weights of {known}; {path!r} is a {type(module).__name__}. Write the "
            "standardization into its forward by hand."
        )

    def build(old: nn.Module) -> nn.Module:
        new = cls.__new__(cls)
        for name, value in vars(old).items():
            # Containers of parameters, children and hooks are copied: what is added here stays out of the old module.
            vars(new)[name] = value.copy() if isinstance(value, dict) else value
        weight = new.weight
        gain = torch.ones(weight.shape[0], *[1] * (weight.dim() - 1), dtype=weight.dtype, device=weight.device)
        new.weight_gain = nn.Parameter(gain)
        new.gamma = gamma
        return new

    return build
