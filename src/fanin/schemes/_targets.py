"""What the targets of a batch say about the head's bias: class frequencies, share of positives, mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.initializers import ClassPrior, PriorBias, Values
from fanin.schemes._base import Choice

if TYPE_CHECKING:
    from typing import Any

    from fanin.schemes._base import Context
    from fanin.slots import Slot

__all__ = ["head_bias"]

SIGMAS = 4.0
"""Standard errors by which targets must differ from even shares (or a mean of 0) before the bias says so: a batch of
balanced classes shows a difference that large once in 16,000 times, and noise in a bias helps nobody."""

_LOGITS = (None, "linear", "softmax", "log_softmax")


def head_bias(slot: Slot, context: Context) -> Choice | None:
    """The start of a head's bias that makes the first outputs the best constant guess; None where 0 does already.

    Classes: log p_k with (n_k + 1)/(n + K) for p_k (Laplace), so that none is 0. Binary targets of one or more sigmoid
    outputs: log(p/(1−p)). Other numbers: their mean.
    """
    head = context.weight_of(slot)
    heads = [other for other in context.slots.values() if other.is_head and other.role in ("weight", "embedding")]
    if context.target is None or head is None or heads != [head] or len(slot.shape) != 1:
        return None
    found = _array(context.target)
    if found is None or not found.size:
        return None
    if found.dtype.kind in "iu":
        return _classes(found, slot.shape[0]) if head.nonlinearity in _LOGITS else None
    if found.dtype.kind != "f" or found.ndim < 1 or (found.shape[-1] if found.ndim > 1 else 1) != slot.shape[0]:
        return None
    rows = found.reshape(-1, slot.shape[0]).astype(np.float64)
    if not np.isfinite(rows).all():
        return None
    if np.isin(rows, (0.0, 1.0)).all():
        return _positives(rows) if head.nonlinearity in (*_LOGITS[:2], "sigmoid") else None
    return _means(rows) if head.nonlinearity in _LOGITS[:2] else None


def _array(target: Any) -> np.ndarray | None:
    if hasattr(target, "detach"):
        target = target.detach().cpu()
        target = (target.float() if target.is_floating_point() else target).numpy()
    return target if isinstance(target, np.ndarray) else None


def _classes(target: np.ndarray, classes: int) -> Choice | None:
    labels = target[target >= 0]  # negative labels are those that a loss ignores
    if classes < 2 or not labels.size or labels.max() >= classes:
        return None
    counts = np.bincount(labels.reshape(-1), minlength=classes)
    even = labels.size / classes
    # Pearson's χ² has mean K − 1 and variance 2(K − 1).
    excess = float(((counts - even) ** 2 / even).sum()) - (classes - 1)
    if excess <= SIGMAS * math.sqrt(2 * (classes - 1)):
        return None
    shares = (counts + 1) / (labels.size + classes)
    reason = f"head: log of the class shares, {shares.min():.2g} to {shares.max():.2g} of {labels.size:,} targets"
    return Choice(ClassPrior(tuple(float(share) for share in shares)), reason)


def _positives(rows: np.ndarray) -> Choice | None:
    count, shares = len(rows), (rows.sum(axis=0) + 1) / (len(rows) + 2)
    if float(np.abs(shares - 0.5).max()) <= SIGMAS * 0.5 / math.sqrt(count):
        return None
    if len(shares) == 1:
        reason = f"head: log(π/(1−π)) for the share π = {shares[0]:.3g} of positives in {count:,} targets"
        return Choice(PriorBias(float(shares[0])), reason)
    reason = f"head: log(π/(1−π)) for shares π of positives from {shares.min():.2g} to {shares.max():.2g}"
    return Choice(Values(np.log(shares / (1 - shares))), reason)


def _means(rows: np.ndarray) -> Choice | None:
    mean, error = rows.mean(axis=0), rows.std(axis=0) / math.sqrt(max(len(rows), 1))
    if bool((np.abs(mean) <= SIGMAS * error).all()):
        return None
    return Choice(Values(mean), f"head: mean of the targets, {mean.min():.3g} to {mean.max():.3g}")
