"""Reported bugs are found and named; their mended twins and odd but healthy models have no error."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import fanin
from fanin.checks import Finding


def load() -> ModuleType:
    name = "fanin_reported"
    if name not in sys.modules:
        folder = Path(__file__).with_name("reported")
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


REPORTED = load()
SEEDS = (0, 1)


def findings(case) -> list[Finding]:  # type: ignore[no-untyped-def]
    return list(fanin.check(case.model, case.inputs, case.target, case.loss).findings)


def hits(bug, found: list[Finding]) -> list[Finding]:  # type: ignore[no-untyped-def]
    return [f for f in found if f.category in bug.expect and f.severity != "info" and bug.where in f.where]


def told(found: list[Finding]) -> str:
    return "\n".join(f"{f.code} {f.severity} {f.category} {f.where}: {f.message}" for f in found) or "nothing found"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", REPORTED.BUGS)
def test_a_reported_bug_is_named_and_its_twin_has_no_error(name: str, seed: int) -> None:
    bug = REPORTED.BUGS[name]
    found = findings(bug.build(True, seed))
    assert hits(bug, found), told(found)
    twin = findings(bug.build(False, seed))
    assert not hits(bug, twin), told(twin)
    assert not [f for f in twin if f.severity == "error"], told(twin)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", REPORTED.HEALTHY)
def test_a_healthy_model_has_no_error(name: str, seed: int) -> None:
    found = findings(REPORTED.HEALTHY[name](seed))
    assert not [f for f in found if f.severity == "error"], told(found)


def test_the_corpus_is_large_and_sourced() -> None:
    assert len(REPORTED.BUGS) >= 40
    assert len(REPORTED.HEALTHY) >= 40
    assert all(bug.source for bug in REPORTED.BUGS.values())


def test_building_a_case_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    next(iter(REPORTED.BUGS.values())).build(True, 0)
    assert torch.equal(state, torch.get_rng_state())
