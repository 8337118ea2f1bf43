"""Which loss was measured, and what it would be for somebody who knows nothing. Torch is imported only when asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fanin.checks._base import Skip

if TYPE_CHECKING:
    import torch

    from fanin.checks._base import Evidence
    from fanin.trace import Trace
    from fanin.trace._judged import Judged

__all__ = ["Reading", "head_bias", "head_weight", "read", "readings"]

_TOLERANCE = 0.02
"""Relative difference within which a recomputed loss is the user's: label smoothing of 0.1 moves it less at the start,
another reduction, weighting or formula moves it more."""


@dataclass(frozen=True)
class Reading:
    """A loss that was recognised by computing it again from output and target.

    Args:
        kind: the formula: softmax cross-entropy, binary cross-entropy or mean squared error.
        loss: its mean over all targets, in nats (or squared target units).
        uniform: the loss of an answer that knows neither input nor frequencies: ln C, ln 2, the target's mean square.
        prior: the loss of the best constant answer: the entropy of the class frequencies, the target's variance.
        count: number of targets.
        classes: number of classes (1 for mse).
        rare: number of targets of other classes than the commonest (0 for mse).
        rate: share of positives for binary targets, the mean for mse, else NaN.
        exact: False where the user's loss is another one and this stands in for it.
        output: index among the floating output tensors that it judges.
    """

    kind: Literal["cross_entropy", "bce", "mse"]
    loss: float
    uniform: float
    prior: float
    count: int
    classes: int = 1
    rare: int = 0
    rate: float = math.nan
    exact: bool = True
    output: int = 0


def readings(evidence: Evidence) -> list[Reading]:
    """The loss recognised as a whole, or else each standard loss that it calls on values of the output.

    Raises:
        Skip: where there is neither.
    """
    try:
        return [read(evidence)]
    except Skip:
        assert evidence.trace is not None
        parts = [part for judged in evidence.trace.judged if (part := _part(judged)) is not None]
        if not parts:
            raise
        return parts


def _part(judged: Judged) -> Reading | None:
    import torch

    scores, target = judged.prediction.double(), judged.target.to(judged.prediction.device)
    if target.numel() == 0 or target.is_complex() or not bool(torch.isfinite(scores).all()):
        return None
    if judged.kind == "cross_entropy":
        if target.is_floating_point():
            return None
        scores = scores.movedim(1, -1) if scores.dim() > 1 else scores
        kept = (target >= 0) & (target < scores.shape[-1]) & (target != judged.ignored)
        found = _classes(scores[kept], target[kept].long())
        return None if found is None else replace(found, output=judged.output)
    if scores.shape != target.shape:
        return None
    target = target.double()
    if judged.kind == "mse":
        return replace(_squares(scores, target), output=judged.output)
    loss = _bce(judged.kind, scores, target)
    return replace(_rates(target, loss), output=judged.output)


def _bce(kind: str, scores: torch.Tensor, target: torch.Tensor) -> float:
    """Binary cross-entropy of logits or of probabilities."""
    from torch.nn import functional

    if kind == "bce_logits":
        return float(functional.binary_cross_entropy_with_logits(scores, target))
    return float(functional.binary_cross_entropy(scores, target))


def read(evidence: Evidence) -> Reading:
    """Recognise the loss.

    Raises:
        Skip: where output and target are no tensors that fit each other, or the loss is another one.
    """
    import torch

    trace = evidence.trace
    assert trace is not None
    output, target = _tensor(trace.output), _target(trace)
    if output is None or target is None or target.is_meta:
        raise Skip("no target was given, or output and target are not one tensor each")
    output, target = output.detach(), target.detach().to(output.device)
    if not bool(torch.isfinite(output).all()):
        raise Skip("the output is not finite")
    if target.is_complex() or output.is_complex() or target.numel() == 0:
        raise Skip("the target is complex or empty")
    if not target.is_floating_point() and target.shape != output.shape:
        return _cross_entropy(trace, output, target)
    if target.shape != output.shape:
        if target.numel() != output.numel():
            raise Skip(f"output {tuple(output.shape)} and target {tuple(target.shape)} differ in shape")
        target = target.reshape(output.shape)
    return _elementwise(trace, output.double(), target.double())


def _cross_entropy(trace: Trace, output: torch.Tensor, target: torch.Tensor) -> Reading:
    if output.shape[:-1] == target.shape:
        layouts = [(output, target)]
        if output.dim() == 3 and trace.target is None:  # language models compare with the next token
            layouts.append((output[:, :-1], target[:, 1:]))
    elif output.dim() >= 2 and output.shape[:1] + output.shape[2:] == target.shape:
        layouts = [(output.movedim(1, -1), target)]
    else:
        raise Skip(f"output {tuple(output.shape)} and class targets {tuple(target.shape)} do not fit")
    for scores, labels in layouts:
        kept = (labels >= 0) & (labels < scores.shape[-1])
        found = _classes(scores[kept].double(), labels[kept].long())
        if found is not None and _is(trace, "cross_entropy", found.loss, found.count):
            return found
    raise Skip("the loss is not the cross-entropy of the output")


def _classes(logits: torch.Tensor, labels: torch.Tensor) -> Reading | None:
    import torch
    from torch.nn import functional

    classes = logits.shape[-1]
    if labels.numel() == 0 or classes < 2:
        return None
    loss = float(functional.cross_entropy(logits, labels))
    counts = torch.bincount(labels.reshape(-1), minlength=classes)
    counts = counts[counts > 0]
    shares = counts.double() / counts.sum()
    prior = float(-(shares * shares.log()).sum())
    rare = int(counts.sum() - counts.max())
    return Reading("cross_entropy", loss, math.log(classes), prior, labels.numel(), classes, rare)


def _elementwise(trace: Trace, output: torch.Tensor, target: torch.Tensor) -> Reading:
    squares = _squares(output, target)
    if _is(trace, "mse", squares.loss, squares.count):
        return squares
    if float(target.min()) < 0 or float(target.max()) > 1:
        raise Skip("the loss is neither mean squared error nor binary cross-entropy of the output")
    return _binary(trace, output, target)


def _squares(output: torch.Tensor, target: torch.Tensor) -> Reading:
    squared = float((output - target).square().mean())
    mean, variance = float(target.mean()), float(target.var(correction=0))
    return Reading("mse", squared, float(target.square().mean()), variance, target.numel(), rate=mean)


def _binary(trace: Trace, output: torch.Tensor, target: torch.Tensor) -> Reading:
    from torch.nn import functional

    count = target.numel()
    losses = [float(functional.binary_cross_entropy_with_logits(output, target))]
    if float(output.min()) >= 0 and float(output.max()) <= 1:
        losses.insert(0, float(functional.binary_cross_entropy(output, target)))
    known = [loss for loss in losses if _is(trace, "bce", loss, count)]
    binary = bool(((target == 0) | (target == 1)).all())
    sparse = float((target == 0).double().mean()) >= 0.5  # heat maps of dense detectors: soft, and mostly zero
    if not known and not binary and not sparse:
        raise Skip("the loss is neither mean squared error nor binary cross-entropy of the output")
    return replace(_rates(target, known[0] if known else losses[0]), exact=bool(known))


def _rates(target: torch.Tensor, loss: float) -> Reading:
    count, rate = target.numel(), float(target.mean())
    prior = -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)
    rare = int(min(target.sum(), count - target.sum()))
    return Reading("bce", loss, math.log(2), prior, count, 2, rare, rate)


def _is(trace: Trace, kind: str, value: float, count: int) -> bool:
    if trace.loss_kind == kind:
        return True
    if trace.loss is None or trace.loss_kind != "custom":
        return False
    return any(abs(trace.loss - v) <= _TOLERANCE * max(abs(v), 1e-3) for v in (value, value * count))


def _tensor(value: Any) -> torch.Tensor | None:
    """The output if it is one floating tensor, its ``logits``, or the one floating tensor that it holds."""
    import torch

    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() and not value.is_meta else None
    if isinstance(value, Mapping) and isinstance(value.get("logits"), torch.Tensor):
        return _tensor(value["logits"])
    entries = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(entries, (tuple, list)):
        tensors = [t for t in entries if isinstance(t, torch.Tensor) and t.is_floating_point()]
        return tensors[0] if len(tensors) == 1 else None
    return None


def _target(trace: Trace) -> torch.Tensor | None:
    """The target as given, or the ``labels`` of a model that computes its own loss."""
    import torch

    target = trace.target
    if target is None and isinstance(trace.inputs, Mapping):
        target = trace.inputs.get("labels")
    return target if isinstance(target, torch.Tensor) else None


def head_weight(evidence: Evidence, output: int = 0) -> str | None:
    """Name of the weight that an output tensor leaves the network by, or None where it has none."""
    from fanin.checks._path import head_of, weight_of

    assert evidence.trace is not None
    head = head_of(evidence.trace, output)
    return None if head is None else weight_of(head)


def head_bias(evidence: Evidence, output: int = 0) -> str | None:
    """Name of the bias of that op, or None where it has none."""
    from fanin.checks._path import head_of

    assert evidence.trace is not None
    head = head_of(evidence.trace, output)
    use = None if head is None else head.param("bias")
    return None if use is None else use.name
