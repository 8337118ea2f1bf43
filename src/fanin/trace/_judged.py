"""What a loss compares: the calls of torch's standard losses inside it, seen as they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Judged", "Listener"]

_KINDS: dict[Any, str] = {
    functional.cross_entropy: "cross_entropy",
    functional.nll_loss: "cross_entropy",  # of log-probabilities, whose log-softmax is themselves
    functional.binary_cross_entropy_with_logits: "bce_logits",
    functional.binary_cross_entropy: "bce",
    functional.mse_loss: "mse",
}

_SEARCHED = 1 << 20
"""Largest output whose values are searched for those of a prediction; of larger ones only views are recognised."""

_SAMPLE = 64
"""Values of a prediction that are looked for in an output: chance agreement of floating numbers is out of question."""


@dataclass(frozen=True)
class Judged:
    """One comparison inside the loss.

    Args:
        kind: the formula; "bce_logits" takes logits, "bce" probabilities; class scores lie on axis 1 (0 of a vector).
        prediction: the scores, detached.
        target: what they are compared with, detached.
        ignored: class that does not count, or None.
        output: index among the floating output tensors of the model whose values the scores are.
    """

    kind: Literal["cross_entropy", "bce_logits", "bce", "mse"]
    prediction: torch.Tensor
    target: torch.Tensor
    ignored: int | None = None
    output: int = 0


class Listener(TorchFunctionMode):
    """Remembers each call of a standard loss while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Judged] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = _KINDS.get(func)
        if kind is not None:
            prediction = args[0] if args else kwargs.get("input")
            target = args[1] if len(args) > 1 else kwargs.get("target")
            if isinstance(prediction, torch.Tensor) and isinstance(target, torch.Tensor) and not target.requires_grad:
                ignored = kwargs.get("ignore_index", -100) if kind == "cross_entropy" else None
                self.heard.append(Judged(kind, prediction.detach(), target.detach(), ignored))  # type: ignore[arg-type]
        return func(*args, **kwargs)

    def of(self, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> tuple[Judged, ...]:
        """The comparisons whose scores are values of an output, up to views, casts and selection.

        A squared error counts only where its target was given: two tensors of the model may be drawn to each other.
        """
        found = []
        for judged in self.heard:
            if judged.kind == "mse" and not any(_taken_from(judged.target, target) for target in targets):
                continue
            index = next((i for i, output in enumerate(outputs) if _taken_from(judged.prediction, output)), None)
            if index is not None:
                found.append(replace(judged, output=index))
        return tuple(found)


def _taken_from(part: torch.Tensor, output: torch.Tensor) -> bool:
    if part.layout is not torch.strided or output.layout is not torch.strided or part.numel() == 0:
        return False
    if part.untyped_storage().data_ptr() == output.untyped_storage().data_ptr():
        return True
    if output.numel() > _SEARCHED or part.device != output.device or part.numel() > output.numel():
        return False
    values = part.reshape(-1)
    values = values[:: max(1, values.numel() // _SAMPLE)][:_SAMPLE].float()
    return bool(torch.isin(values, output.detach().reshape(-1).float()).all())
