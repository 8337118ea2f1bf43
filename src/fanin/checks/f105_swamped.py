"""F105: the data is drowned by a constant that is added to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule
from fanin.checks._finding import Finding

if TYPE_CHECKING:
    import torch

    from fanin.graph import Node
    from fanin.trace import Trace


class Swamped(Rule):
    """What is added to the data is far larger than the data.

    What it sees:
        Sums on the path that carries the signal, before its last weight, that add something alike for all samples (a
        position embedding, a table of parameters, a buffer), and the rms of that term against the std over samples of
        the data. Biases of layers are not meant, nor residual blocks; F101 follows them. And concatenations of parts
        whose sizes differ as much, in front of a weight.

    Why it matters:
        Tokens of std 0.02 under positions of rms 0.7 make one part in 35 of what the first norm sees: all samples look
        alike, and the first thousands of steps go into growing the table.

    Example:
        x = self.tok(ids) + self.pos(torch.arange(n))               # tok std 0.02, pos left at nn.Embedding's std 1

    What to do:
        Give both the same std, or multiply the table's output by sqrt(d) as the original Transformer does.

    Thresholds:
        ratio: 10 (rms of what is added by the std over samples of the data): the data is then 1 % of the energy.
        joined: 100 (std over samples of one part of a concatenation by another's): the other is 1e-4 of the energy.

    Source:
        Vaswani et al. (2017), Attention is all you need, section 3.4, on the factor sqrt(d).
    """

    code = "F105"
    name = "data-drowned-by-constant"
    category = "imbalance"
    severity = "warning"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {"ratio": 10, "joined": 100}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import from_data, head_of, paths, strength, weight_before
        from fanin.checks._steps import descends

        trace = evidence.trace
        assert trace is not None
        head, data = head_of(trace), from_data(trace.graph)
        yield from self._joined(trace, limits)
        for source, node in (pair for path in paths(trace) for pair in itertools.pairwise(path)):
            signal = strength(trace, source.id)
            if node.op != "add" or head is None or node.id >= head.id or signal is None or signal.std == 0:
                continue
            if len(set(node.inputs)) == 2:
                other = next(i for i in node.inputs if i != source.id)
                constant = strength(trace, other)
                if constant is None or (other in data and constant.share > _ALIKE):
                    continue
                if descends(trace.graph, source.id, other) or descends(trace.graph, other, source.id):
                    continue  # queries that read the data, or a branch that is added back: a residual block
                rms, where = constant.rms, weight_before(trace, trace.graph.nodes[other])
                where = where or trace.graph.nodes[other].place
            else:
                table = _table(evidence, node)
                uses = [] if table is None else [use.id for use, _ in trace.graph.uses(table[0])]
                if table is None or any(id_ == source.id or descends(trace.graph, source.id, id_) for id_ in uses):
                    continue  # queries that read the data
                where, rms = table
            ratio = rms / signal.std
            if ratio >= limits["ratio"]:
                yield self.finding(
                    where,
                    f"{node.place} adds a term of rms {rms:.2g} that is alike for all samples to data of std "
                    f"{signal.std:.2g}: {ratio:.0f} times as large.",
                    "give both the same std, or multiply the lookup by sqrt(width)",
                    evidence={"ratio": ratio, "constant_rms": rms, "data_std": signal.std},
                    also=[weight_before(trace, source) or source.place],
                )

    def _joined(self, trace: Trace, limits: Mapping[str, float]) -> Iterator[Finding]:
        """Parts of other sizes that one weight reads side by side."""
        from fanin.checks._path import from_data, strength, weight_before

        data = from_data(trace.graph)
        for node in trace.graph.nodes:
            parts = [
                (s.std, i) for i in dict.fromkeys(node.inputs) if i in data and (s := strength(trace, i)) and s.std
            ]
            if node.op not in ("cat", "concat", "concatenate") or len(parts) < 2 or not _reaches_weight(trace, node):
                continue
            (low, small), (high, large) = min(parts), max(parts)
            if high / low >= limits["joined"]:
                places = [
                    weight_before(trace, trace.graph.nodes[i]) or trace.graph.nodes[i].place for i in (large, small)
                ]
                yield self.finding(
                    places[0],
                    f"{node.place} joins parts of std {high:.2g} and {low:.2g}: the weight behind it hears the larger "
                    f"only.",
                    "bring both to the same std, or normalise each before they are joined",
                    evidence={"ratio": high / low, "large": high, "small": low},
                    also=places[1:],
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _tokens(1.0)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _tokens(0.02)


_ALIKE = 0.1
"""Share of what differs between samples (1 % of the energy) up to which a term counts as the same for all."""


def _reaches_weight(trace: Trace, node: Node) -> bool:
    """Whether a weight reads it as it is, and no normalization comes between."""
    readers = [trace.graph.nodes[i] for i in trace.graph.consumers[node.id]]
    return any(r.kind == "linear" or (r.kind in ("shape", "cast") and _reaches_weight(trace, r)) for r in readers)


def _table(evidence: Evidence, node: Node) -> tuple[str, float] | None:
    """(name, rms) of a parameter that is added and holds more than one vector; a single vector is a bias."""
    for use in node.params:
        tensor = evidence.parameters.get(use.name)
        if use.argument in node.attrs.get("derived", {}):  # what is added is computed from it
            continue
        if tensor is not None and sum(size > 1 for size in use.shape) > 1 and not tensor.is_complex():
            return use.name, float(tensor.float().square().mean().sqrt())
    return None


def _tokens(position_std: float) -> dict[str, Any]:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tok, self.pos = nn.Embedding(20, 16), nn.Embedding(6, 16)
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 20)
            nn.init.normal_(self.tok.weight, 0, 0.02)
            nn.init.normal_(self.pos.weight, 0, position_std)

        def forward(self, ids: torch.Tensor) -> Any:
            return self.head(self.norm(self.tok(ids) + self.pos(torch.arange(ids.shape[1]))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"model": Net(), "inputs": torch.randint(0, 20, (16, 6)), "target": torch.randint(0, 20, (16, 6))}
