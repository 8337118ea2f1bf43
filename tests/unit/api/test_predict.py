"""check shows theory beside every measurement, at little cost and never in its way."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch
from torch import nn

import fanin
from fanin.report import Report
from fanin.theory import predict


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def shown(report: Report, width: int = 100) -> str:
    text = io.StringIO()
    report.show(width=width, file=text)
    return text.getvalue()


def test_predicted_signals_stand_beside_measured_ones() -> None:
    model, x, y = mlp(), torch.randn(64, 64), torch.randint(0, 10, (64,))
    report = fanin.check(model, x, y)
    free = predict(model, x, target=y)
    for direction in ("forward", "backward"):
        places = {s.place for s in report.signals.select(direction)}
        assert places <= {s.place for s in report.signals.select(direction, "predicted")} | {"input"}
        for signal in report.signals.select(direction, "predicted"):
            alone = free.at(signal.place, direction, "predicted")
            assert alone is not None
            assert alone.second_moment == pytest.approx(signal.second_moment, rel=1e-9)
    again = Report.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False)))
    assert again.signals.at("2", source="predicted") == report.signals.at("2", source="predicted") or math.isnan(
        report.signals.at("2", source="predicted").max_abs
    )
    assert again.signals.at("2", source="predicted").from_inputs is not None


def test_the_table_shows_theory_only_where_it_parts() -> None:
    model, x = mlp(), torch.randn(64, 64)
    assert "theory" not in shown(fanin.check(model, x))
    signs = torch.tensor([1.0, -1.0]).repeat(64)[:, None]
    model[2].weight.data = (signs / 8).expand(128, 128).clone()
    report = fanin.check(model, x)
    table = shown(report)
    assert "theory" in table
    assert "theory" not in shown(report, width=70)
    row = next(line for line in table.splitlines() if line.startswith("1 0 "))
    parted = next(line for line in table.splitlines() if line.startswith("2 2 "))
    assert len(parted.split()) > len(row.split())  # the cell is blank where they agree


def test_what_theory_cannot_follow_is_a_note_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin.theory.propagation import REGISTRY

    def broken(call: object) -> None:
        raise ValueError("an op of a new kind")

    model, x = mlp(), torch.randn(64, 64)
    before = fanin.check(model, x)
    monkeypatch.setattr(REGISTRY["activation"], "forward", broken)
    report = fanin.check(model, x)
    assert [note for note in report.notes if note.startswith("no prediction: ") and "an op of a new kind" in note]
    (outcome,) = [o for o in report.outcomes if o.code == "F110"]
    assert outcome.status == "skipped"
    assert "an op of a new kind" in outcome.reason
    assert report.signals == before.signals.select("forward").merged(before.signals.select("backward"))


class Odd(nn.Module):
    """Complex numbers, sparse and integer buffers, a scalar, an empty tensor, a weight in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.frequency = nn.Parameter(torch.randn(9, dtype=torch.complex64))
        self.low = nn.Parameter(torch.randn(16).to(torch.bfloat16))
        self.empty, self.scalar = nn.Parameter(torch.empty(0)), nn.Parameter(torch.tensor(2.0))
        self.register_buffer("table", torch.eye(16).to_sparse())
        self.register_buffer("mask", torch.full((16,), -math.inf).masked_fill(torch.arange(16) < 8, 0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.fft.irfft(torch.fft.rfft(self.a(x)) * self.frequency, n=16)
        y = y * self.low.float() * self.scalar
        return torch.sparse.mm(self.table, y.T).T + (y + self.mask).softmax(-1)


def test_odd_models_are_checked_all_the_same() -> None:
    torch.manual_seed(0)
    report = fanin.check(Odd(), torch.randn(8, 16))
    assert report.signals.at("a", source="predicted") is not None or any("no prediction" in n for n in report.notes)
