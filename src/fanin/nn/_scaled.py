"""Variance scaling under torch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Generator, Tensor

from fanin.errors import InputError
from fanin.initializers import VarianceScaling
from fanin.nn._base import Place, fans_of, write
from fanin.nn._gain import calculate_gain

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_"]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, **place: Unpack[Place]
) -> Tensor:
    """Fill with U(±gain·√(6/(fan_in + fan_out))).

    Args:
        tensor: floating tensor of rank >= 2, (out, in, *window) unless declared otherwise; written in place.
        gain: multiplies the std.
        generator: torch generator the key is drawn from.
        place: ``seed``, ``name``, ``key``; ``fans``, ``slot``, ``groups``, ``transposed``, ``stride``.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> w = xavier_uniform_(torch.empty(30, 20), seed=0)
        >>> bool(w.abs().max() <= (6 / 50) ** 0.5)
        True

    Source: Glorot & Bengio, AISTATS 2010.
    """
    return _scaled(tensor, gain, "fan_avg", "uniform", generator, place)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, **place: Unpack[Place]
) -> Tensor:
    """Fill with N(0, gain²·2/(fan_in + fan_out)).

    Args:
        tensor: as in :func:`xavier_uniform_`.
        gain: multiplies the std.
        generator: torch generator the key is drawn from.
        place: as in :func:`xavier_uniform_`.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> xavier_normal_(torch.empty(30, 20), seed=0).shape
        torch.Size([30, 20])

    Source: Glorot & Bengio, AISTATS 2010.
    """
    return _scaled(tensor, gain, "fan_avg", "untruncated_normal", generator, place)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    **place: Unpack[Place],
) -> Tensor:
    """Fill with U(±gain·√(3/fan)).

    Args:
        tensor: as in :func:`xavier_uniform_`.
        a: negative slope of leaky ReLU; √5 gives U(±1/√fan_in), torch's default for Linear and Conv.
        mode: "fan_in" or "fan_out".
        nonlinearity: what follows; its gain is that of :func:`calculate_gain`.
        generator: torch generator the key is drawn from.
        place: as in :func:`xavier_uniform_`.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> w = kaiming_uniform_(torch.empty(64, 1, 3, 3), mode="fan_out", groups=64, nonlinearity="relu", seed=0)
        >>> bool(abs(w.std() - (2 / 9) ** 0.5) < 0.05)
        True

    Source: He, Zhang, Ren & Sun, ICCV 2015.
    """
    return _scaled(tensor, calculate_gain(nonlinearity, a), _mode(mode), "uniform", generator, place)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    **place: Unpack[Place],
) -> Tensor:
    """Fill with N(0, gain²/fan).

    Args:
        tensor: as in :func:`xavier_uniform_`.
        a: negative slope of leaky ReLU.
        mode: "fan_in" or "fan_out".
        nonlinearity: what follows; its gain is that of :func:`calculate_gain`.
        generator: torch generator the key is drawn from.
        place: as in :func:`xavier_uniform_`.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> kaiming_normal_(torch.empty(8, 4), nonlinearity="relu", seed=0).shape
        torch.Size([8, 4])

    Source: He, Zhang, Ren & Sun, ICCV 2015.
    """
    return _scaled(tensor, calculate_gain(nonlinearity, a), _mode(mode), "untruncated_normal", generator, place)


def _mode(mode: str) -> str:
    lowered = mode.lower() if isinstance(mode, str) else mode
    if lowered not in ("fan_in", "fan_out"):
        raise InputError.of("mode", mode, "'fan_in' or 'fan_out'")
    return lowered


def _scaled(
    tensor: Tensor, gain: float, mode: str, distribution: str, generator: Generator | None, place: Place
) -> Tensor:
    fans = fans_of(tensor, place)
    if tensor.numel() == 0:
        return tensor  # nothing to write; the fan may be 0 here, as in nn.Linear(0, n)
    return write(tensor, VarianceScaling(gain**2, mode, distribution), fans, generator, place)
