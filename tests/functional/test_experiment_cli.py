"""``fanin experiment`` as users meet it."""

from __future__ import annotations

import json

import pytest

from fanin import experiments
from fanin._registry import Registry
from fanin.cli import main

FAST = "glorot-variance"


def test_the_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in experiments.REGISTRY)
    assert main(["experiment", "--list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list(experiments.REGISTRY)
    assert all(entry["question"] and entry["known"] and entry["source"] for entry in entries)


def test_one_experiment_prints_question_claims_verdict_and_writes_files(capsys, tmp_path) -> None:
    assert main(["experiment", FAST, "--quick", "--out", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    experiment = experiments.REGISTRY[FAST]
    assert experiment.question in shown
    assert f"reproduced: {len(experiment.claims)} of {len(experiment.claims)} claims hold" in shown
    files = {path.name for path in (tmp_path / FAST).iterdir()}
    assert {"outcome.json", "rows.csv", "variance.vl.json", "gradients.vl.json"} <= files
    assert json.loads((tmp_path / FAST / "outcome.json").read_text())["verdict"] == "reproduced"


def test_json_is_all_that_goes_to_stdout(capsys, tmp_path) -> None:
    assert main(["experiment", FAST, "--quick", "--seed", "2", "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["seed"], found["size"]) == (FAST, 2, "quick")


def test_all_ends_with_a_summary_that_names_what_failed(capsys, tmp_path, monkeypatch) -> None:
    from dataclasses import replace

    few = Registry("experiment")
    right = experiments.REGISTRY[FAST]
    wrong = replace(right, name="contradicted", claims=(experiments.Claim("the impossible", "forward_fan_in", low=99),))
    for entry in (right, wrong):
        few.add(entry.name, entry)
    monkeypatch.setattr(experiments, "REGISTRY", few)
    assert main(["experiment", "all", "--quick", "--out", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not reproduced: 0 of 1 claims hold" in shown
    assert "contradicted: the impossible: measured" in shown
    assert "holds if ≥ 99" in shown or "holds if >= 99" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name an experiment, or all: "),
        (["he31"], "Did you mean 'he30'"),
        (["he30", "--data-dir", "nowhere"], "no train-images-idx3-ubyte"),
        (["he30", "--seed", "-1"], "--seed"),
    ],
)
def test_what_cannot_be_run_says_why(arguments, message, capsys, tmp_path) -> None:
    assert main(["experiment", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
