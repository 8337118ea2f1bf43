"""pissa and olora: adapters that start from the weight they adapt."""

from __future__ import annotations

from typing import Any

from fanin.errors import InputError
from fanin.initializers._arrays import adopt
from fanin.initializers._base import number, whole

__all__ = ["olora", "pissa"]


def pissa(weight: Any, rank: int, *, scale: float = 1.0) -> tuple[Any, Any, Any]:
    """LoRA factors from the largest singular directions: B = U_r √S_r/√scale, A = √S_r V_rᵀ/√scale.

    The adapter trains the principal part of the weight and the frozen residual keeps the rest:
    residual + scale · BA = weight. Decompose before quantising.

    Args:
        weight: the pretrained matrix (out, in), a NumPy array or torch tensor.
        rank: r, rank of the adapter; 1 … min(out, in).
        scale: α/r, by which the forward pass multiplies BA; > 0.

    Returns:
        A (rank, in), B (out, rank) and the residual (out, in), of the kind, dtype and device of ``weight``.

    Raises:
        InputError: if ``weight`` is no finite matrix, or ``rank`` or ``scale`` out of range.

    Example:
        >>> import numpy as np
        >>> W = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
        >>> A, B, residual = pissa(W, rank=2)
        >>> A.shape, B.shape, bool(abs(residual + B @ A - W).max() < 1e-6)
        ((2, 4), (6, 2), True)

    Source: Meng, Wang & Zhang, NeurIPS 2024.
    """
    import torch

    matrix, back, rank, scale = _matrix("pissa", weight, rank, scale)
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    root = (S[:rank] / scale).sqrt()
    A, B = root[:, None] * Vh[:rank], U[:, :rank] * root
    return back(A), back(B), back(matrix - scale * (B @ A))


def olora(weight: Any, rank: int, *, scale: float = 1.0) -> tuple[Any, Any, Any]:
    """LoRA factors from a QR factorisation: B the first columns of Q (orthonormal), A the first rows of R.

    residual + scale · BA = weight. Unpivoted QR ignores the spectrum: the first columns of the weight decide.

    Args:
        weight: the pretrained matrix (out, in), a NumPy array or torch tensor.
        rank: r, rank of the adapter; 1 … min(out, in).
        scale: α/r, by which the forward pass multiplies BA; > 0.

    Returns:
        A (rank, in), B (out, rank) and the residual (out, in), of the kind, dtype and device of ``weight``.

    Raises:
        InputError: if ``weight`` is no finite matrix, or ``rank`` or ``scale`` out of range.

    Example:
        >>> import numpy as np
        >>> W = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
        >>> A, B, residual = olora(W, rank=2)
        >>> bool(abs(B.T @ B - np.eye(2)).max() < 1e-6), bool(abs(residual + B @ A - W).max() < 1e-6)
        (True, True)

    Source: Büyükakyüz, 2024.
    """
    import torch

    matrix, back, rank, scale = _matrix("olora", weight, rank, scale)
    Q, R = torch.linalg.qr(matrix)
    A, B = R[:rank], Q[:, :rank]
    return back(A), back(B), back(matrix - scale * (B @ A))


def _matrix(owner: str, weight: Any, rank: int, scale: float) -> tuple[Any, Any, int, float]:
    matrix, back = adopt(owner, "weight", weight, rank=2)
    scale = number(owner, "scale", scale, low=0, strict=True)
    if whole(owner, "rank", rank, low=1) > min(matrix.shape):
        raise InputError.of("rank", rank, f"at most min(out, in) = {min(matrix.shape)}", owner)
    return matrix, back, rank, scale
