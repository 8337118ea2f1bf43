"""Training tables of the transformer and of the copy task: each start gets its forward; what the results must show."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fanin.compare._start import entrants

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "training" / "results"


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(ROOT))
    try:
        names = ("transformer", "copy_task")
        yield {name: importlib.import_module(f"benchmarks.training.{name}") for name in names}
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def harness(tables: dict[str, Any]) -> Any:
    return sys.modules["benchmarks.training._table"]


def rows_of(tables: dict[str, Any], harness: Any, name: str) -> list[Any]:
    rows: list[Any] = tables[name].rows(harness.Settings())
    return rows


def test_each_start_has_the_forward_it_was_published_for(tables: dict[str, Any], harness: Any) -> None:
    """All branches silent, a post-norm block is a norm of its input; α = 2.632 of 24 blocks stands in DeepNorm's."""
    by_hand = rows_of(tables, harness, "transformer")[0]
    kinds = {}
    for start in by_hand.starts:
        block = next(by_hand.maker(start)().each())
        kinds[start] = (block.norm, block.skip)
    assert kinds["deepnorm"] == ("post", pytest.approx(2.632148, abs=1e-6))
    assert kinds["admin"] == ("post", "omega")
    assert kinds["t_fixup"] == ("none", 1.0)
    assert {kinds[name] for name in ("torch", "glorot", "gpt2", "small_init", "auto")} == {("post", 1.0)}


def test_the_rewired_encoder_is_another_function_of_the_same_weights(
    tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables["transformer"]
    monkeypatch.setattr(table, "LAYERS", 2)
    model, tokens = table.rewired("deepnorm").eval(), table.text().batch(3).inputs
    plain = table.Encoder().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    assert not torch.allclose(model(tokens), plain(tokens), atol=1e-2)
    changed = tokens.clone()
    changed[:, 20] = (tokens[:, 20] + 1) % 70
    assert torch.allclose(model(changed)[:, :20], model(tokens)[:, :20], atol=1e-4)  # causal


@pytest.mark.parametrize("name", ["transformer", "copy_task"])
def test_every_start_writes_the_network_of_its_row(
    tables: dict[str, Any], harness: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables["transformer"], "LAYERS", 2)
    for row in rows_of(tables, harness, name)[:2]:
        task = importlib.import_module("fanin.compare._task").make_task(row.data, row.loss, row.batch_size)
        for entrant in entrants(row.starts):
            model = row.maker(entrant.name)()
            before = [parameter.detach().clone() for parameter in model.parameters()]
            entrant.start(model, task, 1)
            changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters())]
            assert any(changed) == (entrant.how is not None), entrant.name
            assert all(parameter.isfinite().all() for parameter in model.parameters())


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["transformer", "copy_task"])
def test_auto_learns_with_every_seed_and_is_best_or_tied(harness: Any, name: str) -> None:
    rows = result(name)["rows"]
    verdict = harness.verdict(rows)
    assert verdict["share"] == 1.0
    assert verdict["auto_diverged"] == 0
    for row in rows:
        assert row["seeds"] >= 5
        assert row["starts"]["auto"]["learned"] == row["seeds"]
        assert row["starts"]["glorot"]["learned"] == 0
    spoilt = copy.deepcopy(rows)  # twin
    spoilt[0]["starts"]["auto"] = spoilt[0]["starts"]["glorot"]
    assert harness.verdict(spoilt)["share"] < 1.0
