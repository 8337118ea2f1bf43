"""zero_head: the head alone, at the predictions of ignorance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.initializers import Blocks, ClassPrior, Constant, Initializer, Zeros
from fanin.schemes._base import Choice, Context, Keep, Scheme

if TYPE_CHECKING:
    from torch import Tensor

    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["ZeroHead"]


class ZeroHead(Scheme):
    """Head weight 0, head bias the log frequencies of the targets' classes (or their mean); all else is kept.

    The first loss is then the entropy of the labels (or their variance). The trunk gets no gradient in the first step
    alone. Frequencies are counted with one more of each class, so that none is 0.

    Source: Bengio, Practical Recommendations, 2012.
    """

    name = "zero_head"
    title = "the head alone: weight 0, bias at the class frequencies (or mean) of the targets; all else is kept"
    source = "Bengio, Practical Recommendations, 2012"
    looks_for = "a head (a map whose output leaves the network)"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import classifier

        return classifier()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        found = [slot for slot in context.slots.values() if slot.is_head]
        if not any(slot.role == "weight" for slot in found):
            tied = "one that is an embedding too, which would become 0" if found else "none"
            raise self.missing(tied if found else tied + self.hint(context))

    def weight(self, slot: Slot, context: Context) -> Choice | Keep:
        """See :class:`Scheme`."""
        if slot.is_head:
            return Choice(Zeros(), "head: 0, so that the first outputs are those of ignorance")
        return Keep("this scheme writes the head alone")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        weight = context.weight_of(slot) if slot.role == "bias" else None
        if weight is not None and weight.role == "weight" and weight.is_head:
            return _prior(slot, context.target)
        return Keep("this scheme writes the head alone")


def _prior(slot: Slot, target: Any) -> Choice:
    import torch

    outputs = slot.shape[-1] if slot.shape else 1
    if not isinstance(target, torch.Tensor) or not target.numel():
        return Choice(Zeros(), "bias of the head: 0 (no targets were given)")
    values = target.detach().reshape(-1)
    if target.is_floating_point():
        return _mean(target.detach(), outputs)
    kept = values[(values >= 0) & (values < outputs)].long()
    if outputs < 2 or not len(kept):
        return Choice(Zeros(), "bias of the head: 0 (the targets name none of its classes)")
    counts = torch.bincount(kept.cpu(), minlength=outputs).double() + 1
    shares = (counts / counts.sum()).tolist()
    reason = f"bias of the head: log frequencies of {outputs} classes in {len(kept)} targets"
    return Choice(ClassPrior(shares), reason)


def _mean(target: Tensor, outputs: int) -> Choice:
    if target.shape[-1:] == (outputs,) and outputs > 1:
        means = target.reshape(-1, outputs).double().mean(0).tolist()
        parts: list[tuple[str, int, Initializer]] = [(str(i), 1, Constant(mean)) for i, mean in enumerate(means)]
        return Choice(Blocks(0, parts), "bias of the head: mean of the targets, output by output")
    mean = float(target.double().mean())
    return Choice(Constant(mean), f"bias of the head: mean {mean:.4g} of the targets")
