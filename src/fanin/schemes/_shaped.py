"""The module of a shaped activation: another activation between two affine maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function_unary

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ShapedActivation", "shaped"]

_NARROW = (torch.float16, torch.bfloat16)


def shaped(
    x: torch.Tensor,
    inner: Callable[[torch.Tensor], torch.Tensor],
    *,
    base: str,
    input_scale: float,
    input_shift: float,
    output_shift: float,
    output_scale: float,
) -> torch.Tensor:
    """γ·(inner(αx + β) + δ), one op to whoever watches torch functions, as an activation of torch is.

    In 16 bits the sum inside loses most digits of αx where α is small, so it is computed in 32.
    """
    if has_torch_function_unary(x):
        watched: torch.Tensor = handle_torch_function(
            shaped,
            (x,),
            x,
            inner,
            base=base,
            input_scale=input_scale,
            input_shift=input_shift,
            output_shift=output_shift,
            output_scale=output_scale,
        )
        return watched
    wide = x.float() if x.dtype in _NARROW else x
    y = (inner(wide * input_scale + input_shift) + output_shift) * output_scale
    return y.to(x.dtype)


class ShapedActivation(nn.Module):
    """y = output_scale·(inner(input_scale·x + input_shift) + output_shift).

    Args:
        inner: the activation.
        base: its name and parameters as :func:`fanin.theory.activations.find` reads them; "" where it has no name.
        input_scale: α.
        input_shift: β.
        output_shift: δ.
        output_scale: γ.

    Source: Martens et al., 2021; Zhang et al., 2022.
    """

    def __init__(
        self,
        inner: nn.Module,
        base: str,
        input_scale: float,
        input_shift: float,
        output_shift: float,
        output_scale: float,
    ) -> None:
        super().__init__()
        self.inner, self.base = inner, base
        self.input_scale, self.input_shift = input_scale, input_shift
        self.output_shift, self.output_scale = output_shift, output_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The shaped function, entry by entry."""
        if not self.base:  # without a name to record it by, its ops are seen one by one
            inside: torch.Tensor = self.inner(x * self.input_scale + self.input_shift)
            return self.output_scale * (inside + self.output_shift)
        return shaped(
            x,
            self.inner,
            base=self.base,
            input_scale=self.input_scale,
            input_shift=self.input_shift,
            output_shift=self.output_shift,
            output_scale=self.output_scale,
        )

    def extra_repr(self) -> str:
        """The constants."""
        constants = (self.input_scale, self.input_shift, self.output_shift, self.output_scale)
        return "input_scale={:.6g}, input_shift={:.6g}, output_shift={:.6g}, output_scale={:.6g}".format(*constants)
