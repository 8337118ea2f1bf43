"""The hooks of rewired modules: plain objects that hold names alone, so that deepcopy and pickle carry them along.

Each says by ``slot_roles`` what its parameter does, so that the slots of a rewired model know it without a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Add", "AddBefore", "Divide", "Multiply", "MultiplyBefore", "NormBefore", "Through"]


@dataclass(frozen=True)
class _Hook:
    """What all share.

    Args:
        name: attribute of the module that is used.
        index: entry of the returned tuple that is changed; None where a tensor is returned.
    """

    name: str
    index: int | None = None

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Change what the module returned."""
        if self.index is None:
            return self.acted(module, output)
        parts = list(output)
        parts[self.index] = self.acted(module, parts[self.index])
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """The values after the change."""
        raise NotImplementedError


@dataclass(frozen=True)
class Multiply(_Hook):
    """y → y · factor.

    Args:
        axis: axis of the channels, for a factor with one entry for each.
    """

    axis: int | None = None

    @property
    def slot_roles(self) -> dict[str, str]:
        """See :func:`fanin.slots.find`."""
        return {self.name: "gain"}

    def factor(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """The factor, in the dtype of the values (which autocast may have chosen) and along their channels."""
        factor: torch.Tensor = getattr(module, self.name).to(values.dtype)
        if self.axis is None or self.axis in (-1, values.dim() - 1):
            return factor
        return factor.reshape([-1] + [1] * (values.dim() - 1 - self.axis % values.dim()))

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`_Hook`."""
        return values * self.factor(module, values)


@dataclass(frozen=True)
class Divide(Multiply):
    """y → y / factor."""

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`_Hook`."""
        return values / self.factor(module, values)


@dataclass(frozen=True)
class Add(_Hook):
    """y → y + b, for a single number b."""

    @property
    def slot_roles(self) -> dict[str, str]:
        """See :func:`fanin.slots.find`."""
        return {self.name: "bias"}

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`_Hook`."""
        shift: torch.Tensor = getattr(module, self.name).to(values.dtype)
        return values + shift


@dataclass(frozen=True)
class Through:
    """x → child(x) for what the module reads first, by position or by keyword."""

    name: str
    before = True

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Change what the module is called with."""
        if args:
            return (self.acted(module, args[0]), *args[1:]), kwargs
        first = next(name for name, value in kwargs.items() if isinstance(value, torch.Tensor))
        return args, {**kwargs, first: self.acted(module, kwargs[first])}

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """The values after the change."""
        raise NotImplementedError


@dataclass(frozen=True)
class NormBefore(Through):
    """x → norm(x)."""

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`Through`."""
        normalized: torch.Tensor = getattr(module, self.name)(values)
        return normalized


@dataclass(frozen=True)
class AddBefore(Through):
    """x → x + b, for a single number b."""

    @property
    def slot_roles(self) -> dict[str, str]:
        """See :func:`fanin.slots.find`."""
        return {self.name: "bias"}

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`Through`."""
        shift: torch.Tensor = getattr(module, self.name).to(values.dtype)
        return values + shift


@dataclass(frozen=True)
class MultiplyBefore(Through):
    """x → x · factor, for a single number."""

    @property
    def slot_roles(self) -> dict[str, str]:
        """See :func:`fanin.slots.find`."""
        return {self.name: "gain"}

    def acted(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor:
        """See :class:`Through`."""
        factor: torch.Tensor = getattr(module, self.name).to(values.dtype)
        return values * factor
