"""β b + α x W: the bias that ``addmm`` takes first is no weight, and a signal there is added, not multiplied."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import fanin
from fanin import slots
from fanin.theory import array_moments, predict_graph
from fanin.trace import trace

WIDTH, BATCH = 256, 64


class Mixed(nn.Module):
    """Its op gets (b, x, W); b and W have standard deviations 0.5 and 2/√256."""

    def __init__(self, op: Callable[..., torch.Tensor], w: tuple[int, ...] = (WIDTH, WIDTH)) -> None:
        super().__init__()
        self.op, self.first = op, nn.Linear(WIDTH, WIDTH)
        self.b = nn.Parameter(0.5 * torch.randn(WIDTH))
        self.w = nn.Parameter(2 * torch.randn(w) / math.sqrt(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(self.b, self.first(x), self.w).tanh()


OPS: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...]]] = {
    "addmm": (lambda b, x, w: torch.addmm(b, x, w), (WIDTH, WIDTH)),
    "method": (lambda b, x, w: b.addmm(x, w), (WIDTH, WIDTH)),
    "W first": (lambda b, x, w: torch.addmm(b[:, None], w, x.T).T, (WIDTH, WIDTH)),
    "alpha, beta": (lambda b, x, w: torch.addmm(b, x, w, beta=3.0, alpha=0.5), (WIDTH, WIDTH)),
    "a signal is added": (lambda b, x, w: torch.addmm(x, x, w, beta=2.0), (WIDTH, WIDTH)),
    "a tilted signal is added": (lambda b, x, w: torch.addmm(x.exp(), x, w, alpha=2.0), (WIDTH, WIDTH)),
    "baddbmm": (lambda b, x, w: torch.baddbmm(b, x.view(4, -1, WIDTH), w), (4, WIDTH, WIDTH)),
    "addmv": (lambda b, x, w: torch.addmv(b[:BATCH], x, w), (WIDTH,)),
}


@pytest.mark.parametrize("name", OPS)
def test_predicted_is_measured(name: str) -> None:
    torch.manual_seed(2)
    op, shape = OPS[name]
    model, x = Mixed(op, shape), torch.randn(BATCH, WIDTH)
    record = trace(model, x)
    found = slots.find(model, record.graph)
    weights = array_moments({n: p.detach().numpy() for n, p in model.named_parameters()}, found)
    node = next(n for n in record.graph.nodes if n.op in ("addmm", "baddbmm", "addmv"))
    # 64 numbers of an addmv, else 64 rows of 256 units: the second moment strays by √(2/64) at most.
    tolerance = 4 * math.sqrt(2 / BATCH)

    def error(place: str, direction: str, factor: float = 1.0) -> float:
        law = {n: (factor**0.5 * mean, factor * second) for n, (mean, second) in weights.items()}
        signals = predict_graph(record.graph, found, law, {"input": x.numpy()})
        a, b = signals.at(place, direction, "predicted"), record.signals.at(place, direction)
        assert a is not None
        assert b is not None
        return abs(math.log(max(a.second_moment, 1e-300) / b.second_moment))

    for place, direction in ((node.place, "forward"), (node.place, "backward"), ("first", "backward")):
        assert error(place, direction) < tolerance, (place, direction)
    # Twins: other weights would show.
    assert error(node.place, "forward", 4.0) > tolerance
    assert error(node.place, "forward", 0.25) > tolerance


def test_gpt2() -> None:
    """Predicted and measured over a whole GPT-2, whose every map is an addmm; tied logits see their own token."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=512, n_positions=16, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0,
        attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():  # a bias that matters
        for name, parameter in model.named_parameters():
            if "c_" in name and name.endswith("bias"):
                parameter.normal_(0, 0.1)
    record = fanin.check(model, {"input_ids": torch.randint(512, (8, 16))}).signals
    maps = [s for s in record if s.source == "measured" and s.direction == "forward"]
    found = []
    for signal in maps:
        if signal.place.rpartition(".")[2] in ("c_attn", "c_proj", "c_fc"):
            predicted = record.at(signal.place, "forward", "predicted")
            assert predicted is not None
            found.append(math.log2(max(predicted.second_moment, 1e-300) / signal.second_moment))
    assert len(found) == 8
    assert max(map(abs, found)) < 0.5  # a forgotten bias is -1.6 bits and more
