"""Initializers of the tensor as one object, under torch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Generator, Tensor

from fanin import fans as fan_arithmetic
from fanin.errors import InputError
from fanin.initializers import Dirac, Identity, Orthogonal, TorchSparse
from fanin.nn._base import Place, Source, fans_of, write

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["dirac_", "eye_", "orthogonal_", "sparse_"]


def _need_rank(tensor: Tensor, ranks: tuple[int, ...], what: str) -> None:
    if tensor.ndim not in ranks:
        raise InputError.of("tensor", f"shape {tuple(tensor.shape)}, rank {tensor.ndim}", what)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity, cut or padded with zeros where it is not square.

    Args:
        tensor: floating tensor of rank 2, written in place.

    Returns:
        The tensor.

    Raises:
        InputError: if the rank is not 2, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    _need_rank(tensor, (2,), "rank 2")
    return write(tensor, Identity(), fan_arithmetic.linear(tensor.shape), None, {"seed": 0})


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution weight so that the layer copies its input channels.

    Args:
        tensor: floating tensor (out, in/groups, *window) of rank 3, 4 or 5, written in place.
        groups: groups of the convolution; each copies its own channels.

    Returns:
        The tensor.

    Raises:
        InputError: if rank or groups do not fit, or the tensor cannot be written.

    Example:
        >>> import torch
        >>> dirac_(torch.empty(1, 1, 3))
        tensor([[[0., 1., 0.]]])
    """
    _need_rank(tensor, (3, 4, 5), "rank 3, 4 or 5")
    return write(tensor, Dirac(), fans_of(tensor, {"groups": groups}), None, {"seed": 0})


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None, **place: Unpack[Place]) -> Tensor:
    """Fill with a random (semi-)orthogonal matrix, uniform in Haar's measure, singular values ``gain``.

    As in torch, axes behind the first are flattened into columns; with ``groups=``, ``transposed=``, ``fans=`` or
    ``slot=`` every group, gate or expert becomes a matrix of its own along its true axes.

    Args:
        tensor: floating tensor of rank >= 2, written in place.
        gain: the singular values.
        generator: torch generator the key is drawn from.
        place: ``seed``, ``name``, ``key``; ``fans``, ``slot``, ``groups``, ``transposed``, ``stride``.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> w = orthogonal_(torch.empty(3, 5), seed=0)
        >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-5)
        True

    Source: Saxe, McClelland & Ganguli, 2013.
    """
    fans = fans_of(tensor, place)
    return tensor if tensor.numel() == 0 else write(tensor, Orthogonal(gain), fans, generator, place)


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None, **source: Unpack[Source]
) -> Tensor:
    """Fill a matrix with N(0, std²), then zero the fraction ``sparsity`` of each column.

    On the weight (out, in) of a Linear layer a column is one input; call it on ``w.t()``, or use
    :class:`fanin.initializers.Sparse`, for a fixed number of incoming weights per output, which is the published rule.

    Args:
        tensor: floating tensor of rank 2, written in place.
        sparsity: fraction of zeros in each column; in [0, 1].
        std: standard deviation of the other entries.
        generator: torch generator the key is drawn from.
        source: ``seed`` and ``name``, or ``key``.

    Returns:
        The tensor.

    Raises:
        InputError: if an argument or the tensor cannot be used; the tensor is untouched.

    Example:
        >>> import torch
        >>> (sparse_(torch.empty(10, 2), 0.5, seed=0) == 0).sum(0)
        tensor([5, 5])

    Source: Martens, ICML 2010, in torch's reading.
    """
    _need_rank(tensor, (2,), "rank 2")
    return write(tensor, TorchSparse(sparsity, std), fan_arithmetic.linear(tensor.shape), generator, source)
