"""R603: a lookup table and a head that should be one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fanin.checks._base import Evidence, Rule
from fanin.checks._finding import Finding

if TYPE_CHECKING:
    import torch


class Untied(Rule):
    """A tie between the lookup table and the head was lost, or never made.

    What it sees:
        A trainable lookup table and a weight of the same shape that are stored apart although they hold bitwise the
        same numbers; and models whose configuration declares ``tie_word_embeddings`` while their input and output
        embeddings are two tensors.

    Why it matters:
        Copying, ``to_empty`` and loading replace parameters one by one and so break ties without a word. The head then
        trains apart from the table, the model has V · d parameters more, and a checkpoint that stores the tensor once
        restores only one of them.

    Example:
        model.lm_head.weight = model.wte.weight
        model.to_empty(device="cpu")                                # two tensors from here on

    What to do:
        Tie after materializing: ``model.lm_head.weight = model.wte.weight``, or ``model.tie_weights()``.

    Thresholds:
        None.

    Source:
        Press & Wolf (2017), Using the output embedding to improve language models.
    """

    code = "R603"
    name = "tie-was-lost"
    category = "untied"
    severity = "warning"
    requires = ("parameters", "slots")

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import mostly_distinct, readable, same, slot_of, trainable

        free = trainable(evidence)
        tensors = [(n, t) for n, t in readable(evidence) if n in free and t.dim() == 2]
        tables = [(n, t) for n, t in tensors if (slot := slot_of(evidence, n)) and slot.role == "embedding"]
        maps = [(n, t) for n, t in tensors if (slot := slot_of(evidence, n)) and slot.role == "weight"]
        for table, values in tables:
            for name, weight in maps:
                if same(values, weight) and mostly_distinct(values):
                    yield self._finding(table, name, weight, "hold bitwise the same numbers")
        declared = _declared(evidence)
        if declared is not None and not same(declared[1], declared[3]):
            yield self._finding(declared[0], declared[2], declared[3], "are declared tied (tie_word_embeddings)")

    def _finding(self, table: str, name: str, weight: torch.Tensor, why: str) -> Finding:
        return self.finding(
            name,
            f"{table} and {name} {why} but are two tensors of {weight.numel()} numbers: they will part at the first "
            f"step.",
            f"{name.rpartition('.')[0] or 'model'}.weight = {table.rpartition('.')[0] or 'model'}.weight, after "
            f"materializing or copying",
            evidence={"shape": list(weight.shape)},
            also=[table],
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        import torch

        arguments = Untied.quiet()
        head = arguments["model"][2]
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Embedding(20, 8), nn.LayerNorm(8), nn.Linear(8, 20, bias=False))
            nn.init.normal_(model[0].get_parameter("weight"), 0, 0.02)
            model[2].weight = model[0].weight
            return {"model": model, "inputs": torch.randint(0, 20, (16, 5)), "target": torch.randint(0, 20, (16, 5))}


def _declared(evidence: Evidence) -> tuple[str, torch.Tensor, str, torch.Tensor] | None:
    """Names and tensors of input and output embeddings that a configuration declares tied and that are not."""
    model: Any = evidence.model
    config = getattr(model, "config", None)
    if not getattr(config, "tie_word_embeddings", False) or not hasattr(model, "get_output_embeddings"):
        return None
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    first, second = (getattr(end, "weight", None) for end in ends)
    names = {id(parameter): name for name, parameter in evidence.model.named_parameters()}
    if first is None or second is None or first is second or first.shape != second.shape or first.is_meta:
        return None
    if id(first) not in names or id(second) not in names:
        return None
    return names[id(first)], first.detach(), names[id(second)], second.detach()
