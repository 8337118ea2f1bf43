"""What a weight multiplies: the input patches of one output, and directions found in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from fanin.schemes._one_pass import Use

__all__ = ["kmeans", "patches", "principal", "write_rows"]

NEGLIGIBLE = 1e-6
"""Directions of less than this share of the largest variance are noise of float32 and are not whitened."""

STEPS = 10
"""Rounds of Lloyd's algorithm; filters need clusters, not converged ones (Coates & Ng, 2012, use 10 as well)."""


def patches(use: Use, most: int, generator: torch.Generator) -> list[torch.Tensor] | None:
    """The rows that a weight multiplies, (rows, fan_in) for each group, at most ``most``; None where that is not known.

    Args:
        use: the op.
        most: rows that are kept, chosen at random.
        generator: chooses them.
    """
    if use.position == 0 or not use.tensors:
        return None
    x = use.tensors[0 if use.op != "addmm" else 1].detach()
    if use.op in ("linear", "addmm", "matmul", "mm") and use.weight.dim() == 2:
        return [_some(x.reshape(-1, x.shape[-1]), most, generator)]
    if use.op not in ("conv1d", "conv2d", "conv3d"):
        return None
    window = tuple(use.weight.shape[2:])
    rank = len(window)
    given = {name: use.keywords.get(name, use.args[i] if len(use.args) > i else None) for i, name in enumerate(_CONV)}
    stride, dilation = (_each(given[name], rank, 1) for name in ("stride", "dilation"))
    x = _padded(x.unsqueeze(0) if x.dim() == rank + 1 else x, given["padding"], window, dilation)
    for axis in range(rank):
        reach = dilation[axis] * (window[axis] - 1) + 1
        x = x.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
    groups = int(given["groups"] or 1)
    samples, size = x.shape[0], x.shape[1] // groups
    places = math.prod(x.shape[2 : 2 + rank])
    chosen = torch.randperm(samples * places, generator=generator)[:most].to(x.device)
    x = x.permute(0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
    rows = x[torch.unravel_index(chosen, x.shape[: 1 + rank])]
    return [part.reshape(len(chosen), -1) for part in rows.split(size, 1)]


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


def _some(rows: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    if len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows), generator=generator)[:most].to(rows.device)]


def _each(value: object, rank: int, default: int) -> tuple[int, ...]:
    if value is None:
        return (default,) * rank
    if isinstance(value, (tuple, list)):
        return tuple(int(v) for v in value) if len(value) == rank else (int(value[0]),) * rank
    return (int(value),) * rank  # type: ignore[call-overload]


def _padded(x: torch.Tensor, padding: object, window: tuple[int, ...], dilation: tuple[int, ...]) -> torch.Tensor:
    if padding == "valid":
        return x
    sides: list[int] = []
    for axis in reversed(range(len(window))):
        if padding == "same":
            total = dilation[axis] * (window[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [_each(padding, len(window), 0)[axis]] * 2
    return functional.pad(x, sides)


def write_rows(use: Use, groups: list[torch.Tensor]) -> None:
    """Write filters, (filters, fan_in) of each group, into the weight that the op was given."""
    for group, rows in enumerate(groups):
        if use.op in ("addmm", "matmul", "mm"):
            use.weight[:, : len(rows)].copy_(rows.T)
        else:
            outs = use.weight.shape[0] // len(groups)
            own = use.weight[group * outs : group * outs + len(rows)]
            own.copy_(rows.reshape(own.shape))


def _whitening(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centred rows, directions (fan_in, k) by falling variance, and 1/std along each."""
    centred = rows.double() - rows.double().mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / max(1, len(rows)))
    values, vectors = values.flip(0), vectors.flip(1)
    rank = min(int((values > NEGLIGIBLE * values[0].clamp_min(0)).sum()), max(0, len(rows) - 1))
    return centred, vectors[:, :rank], values[:rank].rsqrt()


def principal(rows: torch.Tensor, count: int) -> torch.Tensor:
    """The first principal directions of the rows, at most ``count``: (k, fan_in), by falling variance.

    The sign, which the decomposition leaves open, is such that the largest entry is positive.
    """
    vectors = _whitening(rows)[1][:, :count].T
    if not len(vectors):
        return vectors
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def kmeans(rows: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Centres of ``count`` clusters of the whitened rows of length 1, as filters of the rows: (k, fan_in).

    Source: Coates & Ng, 2012; Krähenbühl et al., 2016, §3.1.
    """
    centred, vectors, scale = _whitening(rows)
    white = (centred @ vectors) * scale
    white = white[white.norm(dim=1) > 0]
    if len(white) < count or not vectors.shape[1]:
        return rows.new_zeros(0, rows.shape[1]).double()
    white = functional.normalize(white, dim=1)
    centres = white[torch.randperm(len(white), generator=generator)[:count].to(white.device)]
    for _ in range(STEPS):
        nearest = (white @ centres.T - centres.square().sum(1) / 2).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, white)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return (centres * scale) @ vectors.T
