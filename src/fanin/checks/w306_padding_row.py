"""W306: the padding row of an embedding is not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class PaddingRow(Rule):
    """The row of ``padding_idx`` was overwritten, and never trains.

    What it sees:
        Trainable lookup tables with a padding index whose row at that index is not all zero.

    Why it matters:
        ``nn.Embedding`` zeroes the row once, in its own reset, and then blocks its gradient. A later initialization
        of the whole weight fills it, so that padding adds one fixed random vector wherever rows are summed, and no
        training can remove it.

    Example:
        emb = nn.Embedding(1000, 64, padding_idx=0)
        nn.init.normal_(emb.weight, std=0.02)                       # row 0 too

    What to do:
        ``fanin.init_(model, x)`` leaves the row at zero; by hand ``emb.weight.data[emb.padding_idx].zero_()``.

    Thresholds:
        None.

    Source:
        PyTorch documentation of ``torch.nn.Embedding``; PyTorch issues 6411 and 6495 (2018).
    """

    code = "W306"
    name = "padding-row-not-zero"
    category = "padding_row"
    severity = "warning"
    requires = ("slots",)

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import readable, trainable

        free = trainable(evidence)
        for name, tensor in readable(evidence):
            assert evidence.slots is not None
            slot = evidence.slots[name]
            index = slot.padding_index
            if index is None or name not in free or slot.is_head:
                continue
            row = tensor[index]
            if bool(row.any()):
                norm = float(row.float().norm())
                usual = float(tensor.float().norm(dim=-1).median())
                yield self.finding(
                    name,
                    f"row {index} (padding) has norm {norm:.3g} (median row: {usual:.3g}); its gradient is blocked, so "
                    f"it stays so.",
                    f"after initializing: {name.rpartition('.')[0] or 'model'}.weight.data[{index}].zero_()",
                    evidence={"norm": norm, "median_norm": usual, "row": index},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = PaddingRow.quiet()
        arguments["model"][0].weight.data[0] = 0.5
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            table = torch.nn.Embedding(20, 8, padding_idx=0)
            model = torch.nn.Sequential(table, torch.nn.Flatten(), torch.nn.Linear(40, 3))
            return {"model": model, "inputs": torch.randint(0, 20, (16, 5)), "target": torch.randint(0, 3, (16,))}
