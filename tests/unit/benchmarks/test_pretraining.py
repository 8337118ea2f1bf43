"""The committed table of pre-training: what it is to show, and the page made from it."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.training.pretraining")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretraining_page", ROOT / "docs" / "_pretraining.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pre_training_beats_small_gaussians(table: Any, page: ModuleType) -> None:
    rows = [row for result in page.results().values() for row in result["rows"]]
    assert len(rows) == 2 * len(table.DEPTHS)
    found = [verdict for row in rows for verdict in table.beaten(row).values()]
    assert "no" not in found
    assert found.count("clearly") >= len(found) - 1
    swapped = copy.deepcopy(rows[0])  # twin
    swapped["starts"]["rbm"] = swapped["starts"]["normal 0.1"]
    assert table.beaten(swapped)["rbm"] == "no"


def test_the_page_is_what_the_results_say(page: ModuleType) -> None:
    found = page.results()
    assert page.TARGET.read_text(encoding="utf-8") == page.text(found), "run: python docs/_pretraining.py"
    changed = copy.deepcopy(found)
    changed["pretraining-mnist"]["rows"][0]["starts"]["torch"]["median"] = 0.12345
    assert "| torch | 12.3% (" in page.text(changed)
