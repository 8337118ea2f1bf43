"""Reported bugs, their mended twins and healthy models that naive checkers flag, where the corpus is at hand.

The corpus is a module ``cases.py`` with the registries ``CASES`` (name → buggy builder, fixed builder, facts) and
``HEALTHY``; it is looked for in ``$FANIN_CASES`` and in ``../shared/cases`` beside the repository.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fanin import slots
from fanin.checks import Evidence, Finding, run
from fanin.trace import trace

SEEDS = (0, 1)


def corpus() -> ModuleType | None:
    beside = Path(__file__).resolve().parents[3].parent / "shared" / "cases"
    path = Path(os.environ.get("FANIN_CASES", beside)) / "cases.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("fanin_reported_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CORPUS = corpus()
pytestmark = pytest.mark.skipif(CORPUS is None, reason="no corpus of reported cases (set FANIN_CASES)")
CASES: dict[str, Any] = getattr(CORPUS, "CASES", {})
HEALTHY: dict[str, Any] = getattr(CORPUS, "HEALTHY", {})


def findings(case: dict[str, Any]) -> list[Finding]:
    model = case["model"].eval() if case.get("eval") else case["model"]
    measured = trace(model, case["inputs"], case["target"], case["loss"])
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    evidence = Evidence(model, parameters, slots.find(model, measured.graph), measured, loss=case["loss"])
    return run(evidence)[0]


def hits(case: dict[str, Any], found: list[Finding]) -> bool:
    """Of the right kind, worth acting on, and pointing to the right place."""
    return any(f.category in case["expect"] and f.severity != "info" and case["where"] in f.where for f in found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_a_reported_bug_is_found_and_its_mended_twin_has_no_error(name: str, seed: int) -> None:
    buggy, fixed, _ = CASES[name]
    case = buggy(seed)
    found = findings(case)
    assert hits(case, found), [(f.code, f.category, f.where) for f in found]
    mended = findings(fixed(seed))
    assert not hits(case, mended)
    assert not [f for f in mended if f.severity == "error"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_an_unusual_but_healthy_model_has_no_error(name: str, seed: int) -> None:
    assert not [f for f in findings(HEALTHY[name](seed)) if f.severity == "error"]


def test_the_corpus_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    findings(next(iter(CASES.values()))[0](0))
    assert torch.equal(state, torch.get_rng_state())
