"""calculate_gain: torch's table, and the exact values."""

from __future__ import annotations

import math

from fanin.errors import InputError
from fanin.theory import gain

__all__ = ["calculate_gain"]

# What torch.nn.init.calculate_gain answers. tanh (exact: 1.5925), sigmoid (exact: 1.8462) and selu (exact: 1) are
# rules of thumb; they are kept because the drop-in has torch's distributions.
_TORCH = {
    **dict.fromkeys(
        ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0
    ),
    "sigmoid": 1.0,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None, *, exact: bool = False) -> float:
    """The factor on 1/√fan that suits a nonlinearity.

    Args:
        nonlinearity: torch's names, and any other activation that ``fanin.theory`` knows ("gelu", "silu", …), whose
            exact gain is returned.
        param: negative slope of "leaky_relu"; 0.01 by default.
        exact: True for 1/√E f(z)² in place of torch's rules of thumb (tanh 1.5925 in place of 5/3).

    Returns:
        The gain.

    Raises:
        InputError: if the name is unknown or param is not a number.

    Example:
        >>> round(calculate_gain("tanh"), 4), round(calculate_gain("tanh", exact=True), 4)
        (1.6667, 1.5925)

    Source: the rules of thumb are torch's; exact: E over z ~ N(0, 1), He et al., 2015, for any activation.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise InputError.of("param", param, "a number, the negative slope")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity in _TORCH and not (exact and nonlinearity in ("sigmoid", "tanh", "selu")):
        return _TORCH[nonlinearity]
    return gain(nonlinearity)
