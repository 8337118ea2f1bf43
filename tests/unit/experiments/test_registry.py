"""Every registered experiment: it runs, says what it measured, draws valid pictures, and can be contradicted."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fanin.experiments import REGISTRY, Outcome, Settings, judge, save
from fanin.report.figures import Figure

TINY = Settings("tiny", data="digits", seed=3)


@cache
def validator() -> Any:
    """The published schema of Vega-Lite 5, read from altair's package without importing it."""
    jsonschema = pytest.importorskip("jsonschema")
    found = importlib.util.find_spec("altair")
    if found is None or not found.submodule_search_locations:
        pytest.skip("altair is not installed")
    path = Path(found.submodule_search_locations[0]) / "vegalite" / "v5" / "schema" / "vega-lite-schema.json"
    if not path.exists():
        pytest.skip("this altair does not speak Vega-Lite 5")
    return jsonschema.Draft7Validator(json.loads(path.read_text()))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Each experiment once, in the smallest setting."""
    return {name: experiment.run(TINY) for name, experiment in REGISTRY.items()}


@pytest.mark.parametrize("name", REGISTRY)
def test_it_yields_rows_numbers_and_a_verdict(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.measured.rows
    for row in outcome.measured.rows:
        assert all(value is None or isinstance(value, (str, int, float, bool)) for value in row.values()), row
    assert all(isinstance(value, float) for value in outcome.measured.numbers.values())
    assert outcome.verdict in ("reproduced", "partly", "not reproduced")
    assert [entry.claim for entry in outcome.checked] == list(REGISTRY[name].claims)
    assert outcome.measured.data


@pytest.mark.parametrize("name", REGISTRY)
def test_its_figures_are_valid_vega_lite(outcomes: dict[str, Outcome], name: str) -> None:
    figures = outcomes[name].measured.figures
    assert figures
    for picture in figures.values():
        assert isinstance(picture, Figure)
        assert picture.title
        spec = picture.spec()
        # Values are no concern of the schema, and thousands of rows take it seconds.
        spec["datasets"] = {name: rows[:2] for name, rows in spec["datasets"].items()}
        validator().validate(spec)


@pytest.mark.parametrize("name", REGISTRY)
def test_it_is_written_as_strict_json_and_a_table(outcomes: dict[str, Outcome], name: str, tmp_path) -> None:
    outcome = outcomes[name]
    files = {path.name for path in save(outcome, tmp_path)}
    place = tmp_path / name
    assert {path.name for path in place.iterdir()} == files
    assert {f"{figure}.vl.json" for figure in outcome.measured.figures} <= files

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    written = json.loads((place / "outcome.json").read_text(), parse_constant=refuse)
    assert written["verdict"] == outcome.verdict
    assert [claim["holds"] for claim in written["claims"]] == [entry.holds for entry in outcome.checked]
    with (place / "rows.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(outcome.measured.rows)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_claim_can_be_contradicted(name: str) -> None:
    """Numbers inside all bounds say reproduced; outside all, not reproduced; one outside, partly."""
    experiment = REGISTRY[name]
    inside, outside = {}, {}
    for claim in experiment.claims:
        assert claim.text
        assert claim.why, claim.text
        assert math.isfinite(claim.low) or math.isfinite(claim.high), claim.text
        assert claim.low <= claim.high, claim.text
        inside[claim.number] = claim.low if math.isfinite(claim.low) else claim.high
        outside[claim.number] = claim.high + 1 if math.isfinite(claim.high) else claim.low - 1

    def verdict(numbers: dict[str, float]) -> str:
        checked = judge(experiment.claims, numbers)
        return Outcome(experiment, TINY, None, checked, 0.0, 0.0).verdict  # type: ignore[arg-type]

    assert verdict(inside) == "reproduced"
    assert verdict(outside) == "not reproduced"
    assert verdict(dict.fromkeys(inside, math.nan)) == "not reproduced"
    for claim in experiment.claims:
        if len(inside) > 1:
            assert verdict({**inside, claim.number: outside[claim.number]}) == "partly"


@pytest.mark.parametrize("name", REGISTRY)
def test_no_claim_repeats_another(outcomes: dict[str, Outcome], name: str) -> None:
    numbers = [entry.claim.number for entry in outcomes[name].checked]
    assert len(set(numbers)) == len(numbers)
    assert len({entry.claim.text for entry in outcomes[name].checked}) == len(numbers)


@pytest.mark.parametrize("name", ["glorot-variance", "he30"])
def test_the_same_seed_gives_the_same_numbers_and_global_state_stays(name: str) -> None:
    torch.manual_seed(11), np.random.seed(11), random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    threads = torch.get_num_threads()
    first, second = REGISTRY[name].run(TINY), REGISTRY[name].run(TINY)
    other = REGISTRY[name].run(Settings("tiny", data="digits", seed=4))
    assert first.measured.numbers == second.measured.numbers
    assert first.measured.numbers != other.measured.numbers
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == threads
