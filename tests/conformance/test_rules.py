"""Every rule of the registry keeps the contract: a page with all sections, one model that fires, one that is quiet."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from fanin.checks import REGISTRY, Evidence, Outcome, Rule, rules, run
from fanin.checks._finding import Finding

SECTIONS = ["What it sees:", "Why it matters:", "Example:", "What to do:", "Thresholds:", "Source:"]
KINDS = """
cloned shared symmetric zero_grad nonfinite uninitialized outlier vanishing exploding residual_growth saturated dead
overconfident head_prior wrong_fan wrong_gain input_scale norm_affine overwritten padding_row stale_reparam untied
rank_mismatch gate imbalance disagreement
"""
CATEGORIES = frozenset(KINDS.split())


def evidence_of(arguments: dict[str, Any]) -> Evidence:
    """Evidence as the public ``check`` collects it."""
    from fanin import slots
    from fanin.api._predict import predict_beside
    from fanin.trace import trace

    model = arguments["model"]
    inputs = arguments["inputs"] if isinstance(arguments["inputs"], (tuple, dict)) else (arguments["inputs"],)
    run_ = trace(model, inputs, arguments.get("target"), arguments.get("loss"))
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    found = slots.find(model, run_.graph)
    return Evidence(model, parameters, found, run_, predict_beside(run_, found, parameters)[0])


def verdict(rule: type[Rule], evidence: Evidence) -> tuple[list[Finding], Outcome]:
    found, outcomes = run(evidence, select=rule.code)
    (outcome,) = outcomes
    return found, outcome


each_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.code)


@each_rule
def test_the_page_has_every_section_in_order(rule: type[Rule]) -> None:
    page = rule.explanation()
    assert rule.title().endswith(".")
    places = [re.search(rf"^{section}$", page, re.MULTILINE) for section in SECTIONS]
    assert all(places), [s for s, place in zip(SECTIONS, places) if place is None]
    starts = [place.start() for place in places if place is not None]
    assert starts == sorted(starts)


@each_rule
def test_every_threshold_is_explained_with_its_default_and_unit(rule: type[Rule]) -> None:
    section = rule.explanation().partition("Thresholds:")[2].partition("Source:")[0]
    for name, default in rule.thresholds.items():
        stated = re.search(rf"^ +{name}: (\S+) \(", section, re.MULTILINE)
        assert stated, f"{name} is not in the form 'name: default (unit): reason'"
        assert float(stated.group(1)) == pytest.approx(default)
    assert rule.thresholds or "None" in section


@each_rule
def test_code_name_and_category_are_well_formed(rule: type[Rule]) -> None:
    assert re.fullmatch(r"[A-Z]\d{3}", rule.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.category in CATEGORIES
    assert rule.severity in ("error", "warning", "info")
    assert REGISTRY[rule.code] is REGISTRY[rule.name] is rule


@each_rule
def test_it_fires_on_its_own_example(rule: type[Rule]) -> None:
    found, outcome = verdict(rule, evidence_of(rule.fires()))
    assert outcome.status == "failed"
    assert any(f.severity != "info" for f in found) or rule.severity == "info"
    for finding in found:
        assert finding.code == rule.code
        assert finding.category in CATEGORIES
        assert re.search(r"\d", finding.message), "a message carries numbers"
        assert finding.message.endswith(".")
        assert finding.fix
        assert Finding.from_json(finding.to_json()).to_json() == finding.to_json()


@each_rule
def test_it_passes_where_the_fault_is_mended(rule: type[Rule]) -> None:
    _, outcome = verdict(rule, evidence_of(rule.quiet()))
    assert outcome == Outcome(rule.code, "passed")


@each_rule
def test_it_leaves_the_evidence_untouched(rule: type[Rule]) -> None:
    evidence = evidence_of(rule.fires())
    before = copy.deepcopy(evidence.model.state_dict())
    flags = {name: (m.training, len(m._forward_hooks)) for name, m in evidence.model.named_modules()}
    gradients = {name: p.grad for name, p in evidence.model.named_parameters()}
    generator = torch.get_rng_state()
    verdict(rule, evidence)
    assert torch.equal(torch.get_rng_state(), generator)
    assert flags == {name: (m.training, len(m._forward_hooks)) for name, m in evidence.model.named_modules()}
    assert all(p.grad is gradients[name] for name, p in evidence.model.named_parameters())
    after = evidence.model.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(torch.nan_to_num(after[name]), torch.nan_to_num(tensor)), name


@each_rule
def test_it_is_skipped_not_passed_without_its_evidence(rule: type[Rule]) -> None:
    if not rule.requires:
        pytest.skip("needs nothing but the model")
    nothing = Evidence(torch.nn.Identity(), {})
    found, outcome = verdict(rule, nothing)
    assert not found
    assert outcome.status == "skipped"
    assert outcome.reason


@each_rule
def test_it_is_deterministic(rule: type[Rule]) -> None:
    evidence = evidence_of(rule.fires())
    first, second = verdict(rule, evidence)[0], verdict(rule, evidence)[0]
    assert [f.to_json() for f in first] == [f.to_json() for f in second]


def test_documentation_page_is_up_to_date() -> None:
    script = Path(__file__).parents[2] / "docs" / "_rules.py"
    spec = importlib.util.spec_from_file_location("docs_rules", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run: python docs/_rules.py"
