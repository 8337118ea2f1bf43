"""The same statistics by the compiled kernel: one pass for moments, extremes, zeros and saturation together."""

from __future__ import annotations

import math

import torch

from fanin import native
from fanin.graph import Saturation

__all__ = ["bins", "dead_share", "one_pass"]

_DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


def _usable(x: torch.Tensor) -> bool:
    """Dense memory of the processor; fake, distributed and mapped tensors may have none behind their pointer."""
    plain = type(x) in (torch.Tensor, torch.nn.Parameter)
    if not (plain and x.device.type == "cpu" and x.dtype in _DTYPES and x.is_contiguous() and native.available()):
        return False
    try:
        return x.data_ptr() != 0
    except RuntimeError:  # inside torch.func.vmap
        return False


def one_pass(flat: torch.Tensor, saturation: Saturation | None) -> native.Stats | None:
    """Sums and extremes over all finite values; None where the kernel cannot read the tensor."""
    if not _usable(flat):
        return None
    low, high = (-math.inf, math.inf) if saturation is None else (saturation.low, saturation.high)
    return native.stats(flat.data_ptr(), flat.numel(), _DTYPES[flat.dtype], low, high, threads=torch.get_num_threads())


def bins(flat: torch.Tensor, low: float, high: float, limit: int) -> tuple[int, ...]:
    """64 bins between ``low`` < ``high`` of at most ``limit`` values."""
    return native.histogram(flat.data_ptr(), flat.numel(), _DTYPES[flat.dtype], low, high, limit=limit)[0]


def dead_share(x: torch.Tensor, unit_axis: int) -> float | None:
    """Share of the units along an axis that are 0 everywhere; None where the kernel cannot read the tensor."""
    if not _usable(x) or x.dim() == 0:
        return None
    axis = unit_axis % x.dim()
    units = x.shape[axis]
    before, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return native.dead_units(x.data_ptr(), before, units, inner, _DTYPES[x.dtype]) / units
