"""docs/xavier-or-he.md says what was measured, and nothing else."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from fanin.experiments import REGISTRY

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page", DOCS / "_xavier_or_he.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_kept_numbers_say(page: ModuleType) -> None:
    kept = json.loads(page.KEPT.read_text(encoding="utf-8"))
    assert page.TARGET.read_text(encoding="utf-8") == page.text(kept), "run: python docs/_xavier_or_he.py"


def test_another_measurement_gives_another_page(page: ModuleType) -> None:
    kept = json.loads(page.KEPT.read_text(encoding="utf-8"))
    changed = copy.deepcopy(kept)
    changed["he30"]["numbers"]["he_accuracy"] = 0.123
    changed["xavier-or-he"]["numbers"]["relu_he_late_forward"] = 0.5
    assert "test accuracy 12% |" in page.text(changed)
    assert "| ReLU | 0.5" in page.text(changed)
    assert "**" not in next(line for line in page.text(changed).splitlines() if line.startswith("| ReLU |"))


def test_kept_verdicts_follow_from_kept_numbers(page: ModuleType) -> None:
    kept = json.loads(page.KEPT.read_text(encoding="utf-8"))
    assert set(kept) == set(page.USED)
    for name, outcome in kept.items():
        assert outcome["size"] == "full"
        holds = {claim.number: claim.holds(float(outcome["numbers"][claim.number])) for claim in REGISTRY[name].claims}
        assert holds == {claim["number"]: claim["holds"] for claim in outcome["claims"]}


def test_its_pictures_and_links_exist(page: ModuleType) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.TARGET.read_text(encoding="utf-8")):
        assert (DOCS / target).is_file(), target
