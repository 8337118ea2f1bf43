"""The training tables of residual networks and of sines: their models, starts and pictures."""

from __future__ import annotations

import copy
import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.slots import find
from fanin.trace import trace

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def resnet() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.training.resnet")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def siren() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.training.siren")
    finally:
        sys.path.remove(str(ROOT))


KINDS = ("plain", "scaled", "fixup", "norm")


@pytest.mark.parametrize("first", ["pre", "post"])
@pytest.mark.parametrize("kind", KINDS)
def test_depth_counts_the_layers_with_weights(resnet: Any, kind: str, first: str) -> None:
    model = resnet.ResNet(20, kind, first)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 20
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert norms == (19 if kind == "norm" else 0)
    assert model(torch.zeros(2, 1, 14, 14)).shape == (2, 10)
    with pytest.raises(ValueError, match="depth: 21; expected 6n"):
        resnet.ResNet(21)


def test_twins_differ_in_norms_and_biases_only(resnet: Any) -> None:
    plain, twin = resnet.ResNet(8, "plain"), resnet.ResNet(8, "norm")
    weights = {n: p.shape for n, p in plain.named_parameters() if not n.endswith("bias")}
    others = {n: p.shape for n, p in twin.named_parameters() if not n.endswith("bias") and "norm" not in n}
    assert weights == others


@pytest.mark.parametrize("first", ["pre", "post"])
def test_a_block_with_silent_ends_is_its_shortcut(resnet: Any, first: str) -> None:
    block = resnet.Block(4, 8, 2, "plain", first)
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = torch.rand(2, 4, 6, 6)
    out = block(x)
    assert torch.equal(out[:, :4], x[:, :, ::2, ::2])
    assert not out[:, 4:].any()
    nn.init.ones_(block.conv2.bias)
    assert out[:, 4:].shape == (2, 4, 3, 3)
    assert block(x)[:, 4:].any()


@pytest.mark.parametrize("first", ["pre", "post"])
def test_residual_branches_are_found_and_every_start_covers_its_network(resnet: Any, first: str) -> None:
    x, y = torch.randn(8, 1, 14, 14), torch.arange(8)
    for name, start in resnet.STARTS.items():
        model = resnet.ResNet(8, resnet.KINDS.get(name, "plain"), first)
        if callable(start):
            start(model)
            continue
        slots = find(model, trace(model, x, y, statistics=False).graph)
        assert sum(slot.ends_residual and slot.role == "weight" for slot in slots.values()) == 3
        options = dict(start) if isinstance(start, dict) else {"scheme": start}
        assert set(fanin.plan(model, x, y, **options)) == {n for n, _ in model.named_parameters()}


def test_fixup_and_skipinit_start_with_the_same_scores_for_all_inputs_or_silent_branches(resnet: Any) -> None:
    x, y = torch.randn(8, 1, 14, 14), torch.arange(8)
    model = resnet.ResNet(8, "fixup")
    fanin.init_(model, x, y, scheme="fixup")
    assert not model(x).any()
    model = resnet.ResNet(8, "scaled")
    fanin.init_(model, x, y, scheme="skipinit")
    stream = model.conv(x)
    for block in model.blocks:
        assert not block.end.scale.any()
    assert torch.equal(model.blocks[0](stream), stream)
    loud = resnet.ResNet(8, "scaled")
    fanin.init_(loud, x, y, scheme="he")
    assert not torch.equal(loud.blocks[0](stream), stream)


def test_behind_is_the_twins_lead(resnet: Any) -> None:
    row = {"starts": {resnet.TWIN: {"median": 0.93}, "auto": {"median": 0.9}, "he": {"median": 0.95}}}
    assert resnet.behind(row) == pytest.approx(0.03)
    assert resnet.behind(row) > resnet.POINTS
    assert resnet.behind(row, "he") < 0


def test_the_rows_have_equal_grids_and_the_twin_is_not_ranked(
    resnet: Any, siren: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resnet, "images", lambda name: name)  # data are looked for by whoever trains
    table = importlib.import_module("benchmarks.training._table")
    rows = resnet.rows(table.Settings())
    assert [row.labels["depth"] for row in rows if row.labels["blocks"] == "pre"] == [20, 56, 110]
    assert all(row.references == (resnet.TWIN,) for row in rows)
    assert rows[0].maker(resnet.TWIN)().norm.__class__ is nn.BatchNorm2d
    assert rows[0].maker("auto")().norm.__class__ is nn.Identity
    quick = resnet.rows(table.Settings(quick=True))
    assert [row.steps for row in quick] < [row.steps for row in rows]
    assert {row.lrs for row in siren.rows(table.Settings())} == {siren.LRS}


def test_the_picture_is_in_range_and_every_coordinate_has_its_pixel(siren: Any) -> None:
    shown, data = siren.picture(32), siren.pixels(32)
    assert shown.shape == (32, 32)
    assert abs(shown).max() <= 1
    assert set(np.unique(shown[:, 16:])) == {-1.0, 1.0}
    assert len(np.unique(shown[:, :16])) > 50
    for index in (0, 5, 700, 1023):
        column, row = (round(float(c + 1) / 2 * 31) for c in data.train_x[index])
        assert data.train_y[index] == shown[row, column]
    assert np.array_equal(data.train_x, data.test_x)


def test_psnr_and_sines(siren: Any) -> None:
    assert siren.psnr(0.0004) == pytest.approx(40.0)
    assert siren.psnr(0.0) == math.inf
    model = siren.network(3)
    x = torch.rand(10, 2)
    hidden = torch.sin(30 * model[0](x))
    assert torch.equal(model[1](model[0](x)), hidden)


def test_auto_takes_the_rule_of_siren_for_every_sine_and_not_without_a_factor(siren: Any) -> None:
    x, y = torch.rand(64, 2) * 2 - 1, torch.rand(64, 1)
    model = siren.network(3)
    for name in ("auto", "siren"):
        plan = fanin.plan(model, x, y, scheme=name)
        stds = [plan.line(f"{index}.weight").std for index in (0, 2, 4)]
        bounds = [1 / 2, math.sqrt(6 / siren.WIDTH) / 30, math.sqrt(6 / siren.WIDTH) / 30]
        assert stds == pytest.approx([bound / math.sqrt(3) for bound in bounds])
    slow = fanin.plan(siren.network(3, 1.0), x, y, scheme="auto")
    assert slow.line("2.weight").std > 5 * stds[1]


def test_the_results_of_sines_say_that_auto_fits_at_every_depth_and_torch_does_not(siren: Any) -> None:
    table = importlib.import_module("benchmarks.training._table")
    path = ROOT / "benchmarks" / "training" / "results" / "siren.json"
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["labels"]["depth"] for row in found] == list(siren.DEPTHS)
    verdict = table.verdict(found)
    assert verdict["share"] == 1.0
    assert verdict["auto_diverged"] == 0
    for row in found:
        assert row["seeds"] >= 5
        assert siren.psnr(row["starts"]["auto"]["median"]) > 40
        assert siren.psnr(row["starts"]["torch"]["median"]) < siren.psnr(row["starts"]["auto"]["median"]) - 10
    swapped = copy.deepcopy(found)  # twin
    for row in swapped:
        row["starts"]["auto"] = row["starts"]["he"]
    assert table.verdict(swapped)["share"] == 0.0
