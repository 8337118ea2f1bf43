"""Statistics of one tensor in few passes.

With the compiled kernel one pass over the memory for moments, extremes, zeros and saturation, else two (dot product,
extremes); one more for the sum over the batch, and a strided sample for the histogram. The record never keeps the
tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from fanin.graph import Saturation
from fanin.signals import BINS, Histogram
from fanin.trace import _fused

__all__ = ["SAMPLE", "BatchAxis", "Stats", "measure", "measure_sample"]

SAMPLE = 8192
"""Values behind a histogram and a share: the standard error of a share is at most 0.5 / sqrt(8192) = 0.6 %."""

BINNED = 4096
"""Values behind a histogram where the shares come from all: enough for the shape of 64 bins."""

CORRELATED = 1 << 16
"""Values behind a correlation between samples: of larger tensors a part of the features is compared, the same for
numerator and denominator, so that what it resolves stays and only the choice of features is a sample."""

_RUN = 64
"""Features in a row that are read together: four cache lines of float32."""

_SAFE = 1e15
"""Squares of values below it, summed 2^26 times, stay finite in float32 (1e15² · 6.7e7 < 3.4e38)."""

_TINY = 1e-15
"""Squares of smaller values are lost below float32's smallest normal number, 1.2e-38."""


@dataclass(frozen=True)
class BatchAxis:
    """Where the samples of a batch lie: ``axis`` holds (pre, size, post) with the sample index in the middle."""

    axis: int
    size: int
    pre: int = 1
    post: int = 1

    @property
    def whole(self) -> bool:
        """Whether the axis indexes samples and nothing else."""
        return self.pre == 1 and self.post == 1


@dataclass(frozen=True)
class Stats:
    """What :func:`measure` found; the fields are those of ``Signal``."""

    count: int
    mean: float
    second_moment: float
    max_abs: float
    zero_fraction: float
    nonfinite_fraction: float
    histogram: Histogram | None
    saturated_fraction: float | None = None
    dead_fraction: float | None = None
    sample_correlation: float | None = None
    exact: bool = True


def measure(
    tensor: torch.Tensor,
    batch: BatchAxis | None = None,
    saturation: Saturation | None = None,
    unit_axis: int | None = None,
) -> Stats:
    """Measure a floating tensor.

    Args:
        tensor: any dense floating or complex tensor; not kept.
        batch: where its samples lie, for the correlation between samples; None to leave that out.
        saturation: bounds at or outside of which a value counts as saturated.
        unit_axis: axis of the units (channels, features) for the share of units that are 0 throughout.
    """
    x = _compact(tensor.detach())
    if x.numel() == 0:
        return Stats(0, math.nan, math.nan, math.nan, 0.0, 0.0, None)
    fused = _by_kernel(tensor, x, batch, saturation, unit_axis)
    if fused is not None:
        return fused
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    flat = _flat(x)
    low, high = (float(v) for v in torch.aminmax(flat))
    max_abs = max(-low, high)
    if not math.isfinite(max_abs) or max_abs > _SAFE or 0.0 < max_abs < _TINY:
        return _careful(tensor, x, flat, batch, saturation, unit_axis)
    total, square, correlation = _moments(x, flat, batch if x.shape == tensor.shape else None)
    stats = _assemble(tensor.numel(), flat, low, high, total / flat.numel(), square / flat.numel(), saturation)
    dead = None if unit_axis is None else _dead(x, unit_axis, max_abs)
    return replace(stats, sample_correlation=correlation, dead_fraction=dead)


def _by_kernel(
    tensor: torch.Tensor,
    x: torch.Tensor,
    batch: BatchAxis | None,
    saturation: Saturation | None,
    unit_axis: int | None,
) -> Stats | None:
    """One native pass; None where there is no kernel for the tensor or its values need the careful road."""
    flat = _flat(x)
    found = _fused.one_pass(flat, saturation)
    if found is None or found.nonfinite or found.max_abs > _SAFE or 0.0 < found.max_abs < _TINY:
        return None
    n = found.count
    constant, limit = found.min == found.max, BINNED if n > SAMPLE else 0  # 0: all of them
    counts = (n, *[0] * (BINS - 1)) if constant else _fused.bins(flat, found.min, found.max, limit)
    stats = Stats(
        tensor.numel(),
        found.sum / n,
        found.sum_of_squares / n,
        found.max_abs,
        found.zeros / n,
        0.0,
        Histogram(found.min, found.max, counts),
        found.saturated / n if saturation is not None else None,
    )
    if unit_axis is not None:
        dead = _fused.dead_share(x, unit_axis) if found.zeros else 0.0
        stats = replace(stats, dead_fraction=_dead(x, unit_axis, found.max_abs) if dead is None else dead)
    if batch is None or batch.size < 2 or x.shape != tensor.shape or found.sum_of_squares == 0.0:
        return stats
    if x.shape[batch.axis] != batch.pre * batch.size * batch.post:
        return stats
    some = _some_features(x, batch)
    square = found.sum_of_squares if some is x else float(torch.linalg.vector_norm(some, dtype=torch.float32)) ** 2
    if square == 0.0:
        return stats
    together = float(torch.linalg.vector_norm(_over_batch(some, batch))) ** 2
    return replace(stats, sample_correlation=(together - square) / (batch.size - 1) / square)


def _some_features(x: torch.Tensor, batch: BatchAxis) -> torch.Tensor:
    """The tensor itself, or every k-th run of its features where it is large: the same ones of every sample."""
    features = x.numel() // batch.size
    step = features * batch.size // CORRELATED
    if step < 2 or batch.axis != 0 or not batch.whole or not x.is_contiguous():
        return x
    runs = features // (_RUN * step)
    if not runs:
        return x
    rows: torch.Tensor = x.view(batch.size, features)[:, : runs * step * _RUN]
    return rows.reshape(batch.size, runs, step, _RUN)[:, :, 0].reshape(batch.size, -1)


def _over_batch(x: torch.Tensor, batch: BatchAxis) -> torch.Tensor:
    """The sum over the samples, in float32 at least."""
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    if batch.whole:
        return x.sum(batch.axis, dtype=wide)
    split: torch.Tensor = x.unflatten(batch.axis, (batch.pre, batch.size, batch.post))
    return split.sum(batch.axis + 1, dtype=wide)


def measure_sample(tensor: torch.Tensor, saturation: Saturation | None = None) -> Stats:
    """The same from a strided sample alone, marked ``exact=False`` unless the sample is the whole."""
    flat = _compact(tensor.detach())
    sample = _sample(flat.reshape(-1) if flat.numel() <= SAMPLE else _spread(flat))
    stats = measure(sample, saturation=saturation)
    return replace(stats, count=tensor.numel(), exact=sample.numel() == flat.numel())


def _spread(x: torch.Tensor) -> torch.Tensor:
    if x.is_contiguous():
        return x.view(-1)
    index = torch.arange(0, x.numel(), max(1, x.numel() // SAMPLE), device=x.device)
    return x[torch.unravel_index(index, x.shape)]


def _compact(x: torch.Tensor) -> torch.Tensor:
    """Drop what only repeats: axes of stride 0 carry each value equally often, so all shares stay the same."""
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
    for axis, (size, stride) in enumerate(zip(x.shape, x.stride())):
        if stride == 0 and size > 1:
            x = x.narrow(axis, 0, 1)
    return x


def _flat(x: torch.Tensor) -> torch.Tensor:
    """All values in one axis, in the order of memory where the tensor is dense, so that nothing is copied."""
    if x.is_contiguous():
        return x.view(-1)
    strides = x.stride()
    order = sorted(range(x.dim()), key=lambda axis: -strides[axis])
    return x.permute(order).reshape(-1)


def _moments(x: torch.Tensor, flat: torch.Tensor, batch: BatchAxis | None) -> tuple[float, float, float | None]:
    square = float(torch.dot(flat, flat))
    if batch is None or batch.size < 2 or x.shape[batch.axis] != batch.pre * batch.size * batch.post:
        return float(flat.sum()), square, None
    column = _over_batch(x, batch)
    total = float(column.sum())
    if square == 0.0:
        return total, square, None
    together = float(torch.linalg.vector_norm(column)) ** 2
    n = batch.size
    return total, square, (together - square) / (n - 1) / square


def _assemble(
    count: int, flat: torch.Tensor, low: float, high: float, mean: float, second: float, saturation: Saturation | None
) -> Stats:
    sample = _sample(flat)
    n = sample.numel()
    zero = 1.0 if low == high == 0.0 else float((sample == 0).sum()) / n
    saturated = None
    if saturation is not None:
        saturated = float(((sample <= saturation.low) | (sample >= saturation.high)).sum()) / n
    histogram = _histogram(sample, low, high)
    return Stats(count, mean, second, max(-low, high), zero, 0.0, histogram, saturated)


def _sample(flat: torch.Tensor) -> torch.Tensor:
    step = -(-flat.numel() // SAMPLE)
    if step <= 1:
        return flat
    # An odd step shares no factor with the powers of two that most axes are, so it does not walk one column.
    return flat[:: step | 1].contiguous()


def _histogram(sample: torch.Tensor, low: float, high: float) -> Histogram:
    if low == high:
        counts = [0] * BINS
        counts[0] = sample.numel()
        return Histogram(low, high, tuple(counts))
    bins = torch.histc(sample.to(torch.float32 if sample.dtype != torch.float64 else sample.dtype), BINS, low, high)
    return Histogram(low, high, tuple(int(c) for c in bins.tolist()))


def _dead(x: torch.Tensor, unit_axis: int, max_abs: float) -> float | None:
    others = tuple(axis for axis in range(x.dim()) if axis != unit_axis % x.dim())
    if max_abs == 0.0:
        return 1.0
    if not others:
        return float((x == 0).sum()) / x.numel()
    high, low = x.amax(others), x.amin(others)
    return float(((high == 0) & (low == 0)).sum()) / high.numel()


_CHUNK = 1 << 20


def _careful(
    tensor: torch.Tensor,
    x: torch.Tensor,
    flat: torch.Tensor,
    batch: BatchAxis | None,
    saturation: Saturation | None,
    unit_axis: int | None,
) -> Stats:
    """Values that are not finite, or whose squares would overflow or vanish: in float64, chunk by chunk."""
    finite = 0
    total = square = 0.0
    low, high = math.inf, -math.inf
    scale = _largest_finite(flat)
    for start in range(0, flat.numel(), _CHUNK):
        part = flat[start : start + _CHUNK]
        part = part[torch.isfinite(part)].double()
        if part.numel():
            part = part / scale
            finite += part.numel()
            total += float(part.sum())
            square += float(torch.dot(part, part))
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    lost = 1.0 - finite / flat.numel()
    if not finite:
        return Stats(tensor.numel(), math.nan, math.nan, math.nan, 0.0, lost, None, 1.0 if saturation else None)
    if finite == flat.numel() and batch is not None and x.shape == tensor.shape:
        correlation = _moments(x.double() / scale, _flat(x.double() / scale), batch)[2]
    else:
        correlation = None
    finite_values = flat[torch.isfinite(flat)]
    second = square / finite * scale * scale if scale < 1e150 else math.inf
    stats = _assemble(
        tensor.numel(), finite_values, low * scale, high * scale, total / finite * scale, second, saturation
    )
    dead = None if unit_axis is None else _dead(x, unit_axis, stats.max_abs)
    return replace(stats, nonfinite_fraction=lost, sample_correlation=correlation, dead_fraction=dead)


def _largest_finite(flat: torch.Tensor) -> float:
    largest = 0.0
    for start in range(0, flat.numel(), _CHUNK):
        part = flat[start : start + _CHUNK]
        part = part[torch.isfinite(part)]
        if part.numel():
            largest = max(largest, float(part.abs().max()))
    return largest or 1.0
