"""Constants and laws of fixed scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Generator, Tensor

from fanin.errors import InputError
from fanin.fans import elementwise
from fanin.initializers import Constant, Normal, TruncatedInterval, TruncatedNormal, Uniform
from fanin.nn._base import Source, write

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["constant_", "normal_", "ones_", "trunc_normal_", "uniform_", "zeros_"]


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None, **source: Unpack[Source]
) -> Tensor:
    """Fill with U(a, b).

    Args:
        tensor: any floating tensor, written in place.
        a: lower bound.
        b: upper bound; >= a.
        generator: torch generator the key is drawn from; the default generator without one.
        source: ``seed`` and ``name``, or ``key``.

    Returns:
        The tensor.

    Raises:
        InputError: if b < a, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> w = uniform_(torch.empty(3, 5), -1, 1, seed=0, name="w")
        >>> bool((w.abs() <= 1).all())
        True
    """
    return write(tensor, Uniform(a, b), elementwise(tensor.shape), generator, source)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None, **source: Unpack[Source]
) -> Tensor:
    """Fill with N(mean, std²).

    Args:
        tensor: any floating tensor, written in place.
        mean: mean of an entry.
        std: standard deviation; >= 0.
        generator: torch generator the key is drawn from; the default generator without one.
        source: ``seed`` and ``name``, or ``key``.

    Returns:
        The tensor.

    Raises:
        InputError: if std is negative or not finite, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> torch.equal(normal_(torch.empty(9), seed=1), normal_(torch.empty(9), seed=1))
        True
    """
    return write(tensor, Normal(mean, std), elementwise(tensor.shape), generator, source)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
    *,
    bounds: str = "absolute",
    **source: Unpack[Source],
) -> Tensor:
    """Fill with N(mean, std²) conditioned on [a, b].

    torch's bounds are absolute numbers: with ``std=0.02`` the default ±2 lies 100 standard deviations out and cuts
    nothing. ``bounds="std"`` reads them as multiples of ``std`` around ``mean``, which is what is usually meant.

    Args:
        tensor: any floating tensor, written in place.
        mean: mean before the cut.
        std: standard deviation before the cut; > 0.
        a: lower cut.
        b: upper cut; > a.
        generator: torch generator the key is drawn from; the default generator without one.
        bounds: "absolute" (as torch) or "std".
        source: ``seed`` and ``name``, or ``key``.

    Returns:
        The tensor.

    Raises:
        InputError: if std <= 0 or b <= a, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> w = trunc_normal_(torch.empty(1000), std=0.02, bounds="std", seed=0)
        >>> bool(w.abs().max() <= 0.04)
        True
    """
    if bounds not in ("absolute", "std"):
        raise InputError.of("bounds", bounds, "'absolute' or 'std'")
    if not (math.isfinite(std) and std > 0):
        raise InputError.of("std", std, "a finite number > 0")
    if not a < b:
        raise InputError.of("a, b", (a, b), "a < b")
    if bounds == "std":
        a, b = mean + a * std, mean + b * std
    below, above = (mean - a) / std, (b - mean) / std
    if below > 0 and abs(below - above) <= 1e-6 * below:
        return write(tensor, TruncatedNormal.of_parent(std, below, mean), elementwise(tensor.shape), generator, source)
    return write(tensor, TruncatedInterval(mean, std, a, b), elementwise(tensor.shape), generator, source)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``.

    Args:
        tensor: any floating tensor, written in place.
        val: a finite number.

    Returns:
        The tensor.

    Raises:
        InputError: if val is not finite, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> constant_(torch.empty(2), 0.5)
        tensor([0.5000, 0.5000])
    """
    return write(tensor, Constant(val), elementwise(tensor.shape), None, {"seed": 0})


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1.

    Args:
        tensor: any floating tensor, written in place.

    Returns:
        The tensor.

    Raises:
        InputError: if the tensor cannot be written.

    Example:
        >>> import torch
        >>> ones_(torch.empty(2))
        tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0.

    Args:
        tensor: any floating tensor, written in place.

    Returns:
        The tensor.

    Raises:
        InputError: if the tensor cannot be written.

    Example:
        >>> import torch
        >>> zeros_(torch.empty(2))
        tensor([0., 0.])
    """
    return constant_(tensor, 0.0)
