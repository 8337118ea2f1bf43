"""What theory knows of the inputs: moments and correlations read off an array."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fanin.theory.propagation import Flow
from fanin.theory.propagation._flow import CROSS, FAR, SAMPLE, relations

__all__ = ["array_flow", "constant_flow"]


def array_flow(values: Any, batch_axis: int | None = 0) -> Flow:
    """The flow of an input whose values are known: moments, and correlations between samples and positions.

    The unit axis is 1 for images (rank >= 4), else the last one. Of integers, which are looked up rather than
    multiplied, the kernel holds the probabilities that two entries are equal.

    Args:
        values: array or anything NumPy converts; at most 64 samples are looked at.
        batch_axis: axis of the samples, or None.

    Returns:
        The flow.
    """
    x = np.asarray(values)
    if batch_axis is not None and x.ndim:
        x = np.moveaxis(x, batch_axis, 0)[:64]
    if x.dtype.kind not in "f":
        return _index_flow(x)
    x = x.astype(np.float64)
    unit = 1 if x.ndim >= 4 else x.ndim - 1
    mean, second = float(x.mean()), float(np.square(x).mean())
    y = np.moveaxis(x, unit, -1) if x.ndim > 1 else x[:, None]
    y = y.reshape(len(y), -1, y.shape[-1]) if y.ndim > 2 else y[:, None, :]
    samples, positions = y.shape[:2]
    # One position says nothing of others; they may be made later, by unsqueezing a waveform.
    far = _pairs(y.sum(1), np.square(y).sum(1), positions) if positions > 1 else mean**2
    sample = _pairs(y.sum(0), np.square(y).sum(0), samples)
    whole = float((np.square(y.sum((0, 1))) - np.square(y.sum(1)).sum(0)).mean())
    cross = whole - (float(np.square(y.sum(0)).sum(0).mean()) - float(np.square(y).sum((0, 1)).mean()))
    count = samples * (samples - 1) * positions * (positions - 1)
    near = far
    if x.ndim >= 3:
        along = x if unit != x.ndim - 1 else np.moveaxis(x, -1, 1)
        near = float((along[..., 1:] * along[..., :-1]).mean()) if along.shape[-1] > 1 else far
    return Flow(mean, second, relations(sample, near, far, cross / count if count else far), unit=unit)


def constant_flow(values: Any) -> Flow:
    """The flow of values that are the same for every sample, such as a table of positions or a mask.

    Args:
        values: array or anything NumPy converts; infinities, which mask, count as 0.
    """
    x = np.asarray(values)
    x = np.where(np.isfinite(x), x, 0.0).astype(np.float64)
    added = x.ndim == 0 or x.shape[0] != 1 or x.ndim == 1
    flow = array_flow(x[None] if added else x)
    kernel = flow.kernel.copy()
    kernel[SAMPLE], kernel[CROSS] = flow.second, flow.kernel[FAR]
    return replace(flow, kernel=kernel, unit=max(0, flow.unit - 1) if added else flow.unit)


def _pairs(total: Any, squares: Any, n: int) -> float:
    """Mean product of two different ones of n values, from their sum and sum of squares; the square where n = 1."""
    return float((np.square(total) - squares).mean()) / (n * (n - 1)) if n > 1 else float(squares.mean())


def _index_flow(x: Any) -> Flow:
    y = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(-1, 1)
    sample = float(np.mean([(y[i] == y[j]).mean() for i in range(len(y)) for j in range(i)])) if len(y) > 1 else 1.0
    shifts = range(1, min(8, y.shape[1]))
    far = float(np.mean([(y[:, s:] == y[:, :-s]).mean() for s in shifts])) if y.shape[1] > 1 else 1.0
    near = float((y[:, 1:] == y[:, :-1]).mean()) if y.shape[1] > 1 else 1.0
    return Flow(0.0, 1.0, relations(sample, near, far, min(sample, far)))
