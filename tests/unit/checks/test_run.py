"""The runner: selection, thresholds, joining of places, order, and rules that break."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from fanin.checks import REGISTRY, Evidence, Finding, Outcome, Rule, Skip, run
from fanin.checks._run import chosen, joined, limits
from fanin.errors import FaninError, InputError, UnknownNameError


@pytest.fixture
def evidence() -> Evidence:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    torch.nn.init.constant_(model[0].weight, float("nan"))
    return Evidence(model, {name: p.detach() for name, p in model.named_parameters()})


class _Broken(Rule):
    """Breaks."""

    code, name, category, severity = "Z901", "broken", "dead", "info"
    requires = ()

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        raise RuntimeError("no such thing")
        yield

    @staticmethod
    def fires() -> dict[str, Any]:
        return {}

    quiet = fires


class _Skipping(_Broken):
    """Finds while reading that something is missing."""

    code, name = "Z902", "skipping"

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        raise Skip("nothing to see")
        yield


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REGISTRY, "_entries", {**REGISTRY._entries, "Z901": _Broken, "Z902": _Skipping})


@pytest.mark.parametrize("prefix", ["W", "W3", "W303", ["W303"], ("W301", "W303")])
def test_codes_are_chosen_by_prefix(prefix: Any, evidence: Evidence) -> None:
    found, outcomes = run(evidence, select=prefix)
    assert all(outcome.code.startswith("W3") for outcome in outcomes)
    assert [f.code for f in found if f.code == "W303"] == ["W303"]


def test_ignore_is_stronger_than_select(evidence: Evidence) -> None:
    assert run(evidence, select="W303", ignore="W") == ([], [])
    assert {rule.code for rule in chosen(None, ["F", "B"])} == {c for c in REGISTRY if c[0] not in "FB"}


@pytest.mark.parametrize("unknown", ["X", "W999", "", "w303"])
def test_an_unknown_code_is_an_error_that_lists_the_known_ones(unknown: str, evidence: Evidence) -> None:
    for argument in ("select", "ignore"):
        with pytest.raises(UnknownNameError, match="W303"):
            run(evidence, **{argument: [unknown]})


def test_thresholds_are_validated_and_reach_the_rule(evidence: Evidence) -> None:
    assert limits({"F101.decades": 5}) == {"F101": {"decades": 5.0}}
    for key in ("F101.decade", "decades", "F999.decades"):
        with pytest.raises(UnknownNameError):
            run(evidence, thresholds={key: 1})
    for value in ("3", None, float("nan"), float("inf"), True):
        with pytest.raises(InputError, match="finite number"):
            run(evidence, thresholds={"F101.decades": value})  # type: ignore[dict-item]


def test_a_threshold_changes_the_verdict() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(20, 20)
    layer.weight.data[0, 0] = 20.0
    parameters = {"weight": layer.weight.detach()}
    (z,) = (f.evidence["z"] for f in run(Evidence(layer, parameters), select="W304")[0])
    assert run(Evidence(layer, parameters), select="W304", thresholds={"W304.z": z + 1})[0] == []


def test_missing_evidence_is_skipped_with_the_reason(evidence: Evidence) -> None:
    _, outcomes = run(evidence, select="F101")
    assert outcomes == [Outcome("F101", "skipped", "no batch was run")]
    noted = Evidence(evidence.model, evidence.parameters, notes={"forward": "the model raised"})
    assert run(noted, select="F101")[1] == [Outcome("F101", "skipped", "the model raised")]


def test_a_broken_rule_is_named_and_hides_nothing(evidence: Evidence, registered: None) -> None:
    with pytest.raises(FaninError, match=r"Z901 \(broken\).*no such thing.*ignore=\['Z901'\].*W303 error at 0.weight"):
        run(evidence)
    assert any(f.code == "W303" for f in run(evidence, ignore="Z901")[0])


def test_a_rule_may_skip_while_reading(evidence: Evidence, registered: None) -> None:
    assert run(evidence, select="Z902") == ([], [Outcome("Z902", "skipped", "nothing to see")])


def test_places_of_one_fault_are_joined_and_different_faults_are_not() -> None:
    a, b = Finding("W1", "dead", "error", "a", "1.", "mend 'a'"), Finding("W1", "dead", "error", "b", "2.", "mend 'b'")
    c = Finding("W1", "dead", "warning", "c", "3.", "mend 'c'")
    first, second = joined([a, b, a, c])
    assert (first.where, first.message, first.also) == ("a", "1.", ("b",))
    assert (second.where, second.also) == ("c", ())


def test_findings_come_worst_first_then_by_code() -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(3)])
    model[1].load_state_dict(model[0].state_dict())
    model[2].weight.data.fill_(float("nan"))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    found, outcomes = run(Evidence(model, parameters))
    assert [f.code for f in found] == ["W303", "W302"]
    assert [o.code for o in outcomes] == sorted(o.code for o in outcomes)


def test_importing_the_rules_does_not_import_torch() -> None:
    code = "import sys, fanin.checks as c; c.rules()[0].explanation(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
