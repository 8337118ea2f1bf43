"""Statistics of weights: against numpy, through JSON, and on tensors that hold nothing to measure."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.report import Report, WeightStats, measure_weights
from fanin.report._weights import SAMPLE


def test_moments_are_those_of_all_values() -> None:
    values = torch.randn(300, 400, generator=torch.Generator().manual_seed(0)) * 3 + 1
    [stats] = measure_weights({"w": values}, {"w": torch.full((300, 400), -2.0)})
    array = values.double().numpy()
    assert (stats.mean, stats.std) == (pytest.approx(array.mean()), pytest.approx(array.std()))
    assert (stats.shape, stats.gradient) == ((300, 400), 2.0)
    assert stats.histogram is not None
    assert SAMPLE / 2 < sum(stats.histogram.counts) <= 2 * SAMPLE


def test_histogram_of_a_sample_looks_like_the_whole() -> None:
    """Total variation to the full histogram; a sample along one column of a striped tensor would miss it."""
    rows = torch.linspace(-1, 1, 256)[:, None].expand(256, 1024).clone()
    for tensor in (rows, rows.T.contiguous()):
        [stats] = measure_weights({"w": tensor})
        assert stats.histogram is not None
        counts = np.array(stats.histogram.counts) / sum(stats.histogram.counts)
        full = (
            np.histogram(tensor.numpy(), bins=64, range=(stats.histogram.low, stats.histogram.high))[0] / tensor.numel()
        )
        assert np.abs(counts - full).sum() / 2 < 64 / math.sqrt(SAMPLE) / 2
    column = np.histogram(rows[:, :4].T.numpy()[:, :64], bins=64, range=(-1, 1))[0] / 256
    assert np.abs(column - full).sum() / 2 > 0.2


def test_what_holds_no_values_is_left_out() -> None:
    found = measure_weights(
        {
            "meta": torch.empty(3, 3, device="meta"),
            "empty": torch.empty(0, 3),
            "integer": torch.ones(3, dtype=torch.int64),
            "half": torch.ones(3, 3, dtype=torch.bfloat16),
        }
    )
    assert [stats.name for stats in found] == ["half"]
    assert found[0].std == 0.0


def test_broken_values() -> None:
    mixed, broken = measure_weights(
        {"a": torch.tensor([1.0, math.nan, 3.0, math.inf]), "b": torch.full((4,), math.nan)}
    )
    assert (mixed.mean, mixed.nonfinite) == (2.0, 0.5)
    assert broken.histogram is None
    assert math.isnan(broken.std)
    text = json.dumps([stats.to_json() for stats in (mixed, broken)], allow_nan=False)
    back = [WeightStats.from_json(entry) for entry in json.loads(text)]
    assert back[0] == mixed
    assert math.isnan(back[1].mean)


def test_check_measures_and_the_report_keeps_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    report = fanin.check(model, torch.randn(16, 4), torch.randint(0, 2, (16,)))
    assert [stats.name for stats in report.weights] == [name for name, _ in model.named_parameters()]
    assert all(stats.gradient is not None for stats in report.weights)
    back = Report.from_json(json.dumps(report.to_json(), allow_nan=False))
    assert back.weights == report.weights
    older = report.to_json()
    del older["weights"]
    assert Report.from_json(older).weights == []
