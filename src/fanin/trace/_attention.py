"""How evenly attention looks at its keys: mean entropy of the rows, 1 for uniform, 0 for one-hot."""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["fused_entropy", "softmax_entropy"]

_ROWS = 2048
"""Rows looked at: the mean of a number in [0, 1] is then known to 0.5 / sqrt(2048) = 1.1 %."""

_FUSED_PAIRS = 8
"""(sample, head) pairs whose weights are recomputed for a fused call."""


def _mean_entropy(rows: torch.Tensor, allowed: torch.Tensor | None) -> float | None:
    """Mean over rows of H(p) / ln n with n the number of keys a row may look at; rows with one key are left out."""
    keys = rows.shape[-1]
    counts = allowed.sum(-1) if allowed is not None else torch.full(rows.shape[:-1], keys, device=rows.device)
    entropy = torch.special.entr(rows.float()).sum(-1)
    chosen = (counts > 1) & torch.isfinite(entropy)
    if not bool(chosen.any()):
        return None
    return float((entropy[chosen] / counts[chosen].float().log()).mean())


def softmax_entropy(weights: torch.Tensor, dim: int, masked: bool) -> float | None:
    """Normalised entropy of softmax outputs.

    Args:
        weights: output of a softmax.
        dim: its axis.
        masked: whether the logits were masked: keys with weight exactly 0 then do not count.
    """
    rows = weights.movedim(dim, -1)
    if rows.shape[-1] < 2:
        return None
    count = rows.numel() // rows.shape[-1]
    rows = rows.reshape(count, rows.shape[-1])
    step = -(-count // _ROWS)
    rows = rows[:: step | 1] if step > 1 else rows
    return _mean_entropy(rows, rows > 0 if masked else None)


def fused_entropy(arguments: dict[str, Any], attrs: dict[str, Any]) -> float | None:
    """The same for ``scaled_dot_product_attention``: weights recomputed for a few heads of a few samples."""
    query, key = arguments["query"].detach(), arguments["key"].detach()
    if query.dim() < 2 or key.shape[-2] < 2:
        return None
    mask = arguments.get("attn_mask")
    length, keys, width = query.shape[-2], key.shape[-2], query.shape[-1]
    heads, key_heads = (query.shape[-3], key.shape[-3]) if query.dim() > 2 else (1, 1)
    lead = query.shape[:-2]
    pairs = math.prod(lead)
    flat_query = query.reshape(pairs, length, width)
    key = key.repeat_interleave(heads // key_heads, -3) if heads != key_heads and key_heads else key
    flat_key = key.expand(*lead, keys, width).reshape(pairs, keys, width)
    step = -(-pairs // _FUSED_PAIRS)
    chosen = slice(None, None, step | 1 if step > 1 else 1)
    rows = slice(None, None, max(1, length * min(pairs, _FUSED_PAIRS) // _ROWS))
    scale = attrs.get("scale") or 1 / math.sqrt(width)
    logits = flat_query[chosen, rows].float() @ flat_key[chosen].float().transpose(-1, -2) * scale
    allowed = torch.ones(length, keys, dtype=torch.bool, device=query.device)
    if attrs.get("is_causal"):
        allowed = allowed.tril()
    allowed = allowed[rows].expand(logits.shape)
    if mask is not None:
        wide = mask.detach().expand(*lead, length, keys).reshape(pairs, length, keys)[chosen, rows]
        allowed = allowed & (wide if wide.dtype is torch.bool else wide > -1e4)
        logits = logits + (0 if wide.dtype is torch.bool else wide.float())
    weights = logits.masked_fill(~allowed, -math.inf).softmax(-1)
    return _mean_entropy(weights, allowed)
