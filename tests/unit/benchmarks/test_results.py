"""What the training tables must hold of auto: near the best everywhere, level with BatchNorm, no divergence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[3] / "benchmarks" / "training" / "results"
ROWS: list[dict[str, Any]] = [
    row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
]

ENOUGH = 0.95
"""Share of the best start's accuracy below which a start does not train a network."""

POINTS = 0.02
"""Test accuracy by which a network without norms may lie behind its twin with BatchNorm."""


def lags(row: dict[str, Any]) -> bool:
    """Whether auto's median accuracy is below 95 % of that of the best start."""
    medians = {name: entry["median"] or 0.0 for name, entry in row["starts"].items() if name not in row["references"]}
    return medians["auto"] < ENOUGH * max(medians.values())


def behind(row: dict[str, Any]) -> float:
    """Points of accuracy that auto lacks of the twin with BatchNorm."""
    return float(row["starts"]["BatchNorm"]["median"] - row["starts"]["auto"]["median"])


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['table']}: {row['row']}" for row in ROWS])
def test_auto_trains_every_network_and_never_diverges(row: dict[str, Any]) -> None:
    assert row["seeds"] >= 5
    assert not row["starts"]["auto"]["diverged"]
    if row["score"] == "accuracy":
        assert not lags(row)
        spoilt = copy.deepcopy(row)  # twin
        spoilt["starts"]["auto"]["median"] = 0.0
        assert lags(spoilt)


def test_networks_without_norms_are_level_with_their_twins() -> None:
    rows = [row for row in ROWS if row["table"] == "resnet"]
    assert {row["labels"]["depth"] for row in rows} == {20, 56, 110}
    assert max(behind(row) for row in rows) <= POINTS
    spoilt = copy.deepcopy(rows[0])  # twin
    spoilt["starts"]["auto"]["median"] -= 0.1
    assert behind(spoilt) > POINTS
