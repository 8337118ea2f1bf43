"""docs/which-scheme.md says what the training tables measured, and nothing else."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def page() -> Any:
    spec = importlib.util.spec_from_file_location("which_scheme", DOCS / "_which_scheme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def training() -> Any:
    sys.path.insert(0, str(ROOT))
    try:
        yield importlib.import_module("benchmarks.training")
    finally:
        sys.path.remove(str(ROOT))


def start(low: float, middle: float, high: float, diverged: int = 0) -> dict[str, Any]:
    scores = [low, low, middle, high, high]
    return {"median": middle, "low": low, "high": high, "scores": scores, "diverged": list(range(diverged))}


def row(name: str, score: str = "accuracy", activation: str = "", **starts: Any) -> dict[str, Any]:
    return {
        "table": "mlp",
        "row": name,
        "score": score,
        "labels": {"activation": activation},
        "references": [name for name in starts if name == "norm"],
        "steps": 100,
        "seeds": 5,
        "optimizer": "adam",
        "data": "made up",
        "learned_below": None,
        "starts": starts,
    }


def result(*rows: dict[str, Any], table: str = "mlp", on: str = "mnist") -> dict[str, Any]:
    return {"format": 1, "table": table, "on": on, "rows": list(rows)}


GOOD = row(
    "tanh 10",
    activation="tanh",
    torch=start(0.1, 0.11, 0.12),
    glorot=start(0.8, 0.85, 0.9),
    auto=start(0.85, 0.9, 0.92),
)
WORSE = row(
    "relu 10", activation="relu", torch=start(0.3, 0.4, 0.5), he=start(0.8, 0.9, 0.95), auto=start(0.7, 0.75, 0.79)
)


def test_the_page_is_what_the_committed_results_say(page: Any) -> None:
    results = page.load()
    assert results
    assert page.TARGET.read_text(encoding="utf-8") == page.text(results), "run: python docs/_which_scheme.py"


def flowing(text: str) -> str:
    return " ".join(text.split())


def test_the_share_of_rows_and_the_rows_behind_follow_from_the_numbers(page: Any) -> None:
    text = flowing(page.text([result(GOOD, WORSE)]))
    assert "In 1 of 2 rows below (50%)" in text
    assert "relu 10: he 90.0% (80.0% to 95.0%), auto 75.0% (70.0% to 79.0%)" in text
    assert "- Plain perceptrons on MNIST, tanh 10" not in text
    alone = page.text([result(GOOD)])
    assert "In 1 of 1 rows below (100%)" in alone
    assert "There is no row in which another start is better" in alone


def test_what_to_take_follows_from_the_numbers(page: Any) -> None:
    def line(*rows: dict[str, Any]) -> str:
        text = page.text([result(*rows)])
        return next(line for line in text.splitlines() if line.startswith("| a plain perceptron"))

    assert "| `auto` |" in line(GOOD)
    assert "| `auto`; where it is behind, `he` |" in line(GOOD, WORSE)
    assert "| `he` instead of `auto` |" in line(WORSE)
    assert line(GOOD, WORSE).endswith("| torch (2 of 2 rows) |")
    assert line(WORSE).endswith("| torch (the one row) |")
    assert "auto: test accuracy 75.0% to 90.0%; torch: 11.0% to 40.0%" in line(GOOD, WORSE)


def test_where_torch_and_the_textbook_fail_is_named(page: Any) -> None:
    text = flowing(page.text([result(GOOD, WORSE)]))
    assert "Torch's default is behind in every row, and only guesses in 1." in text
    assert "The textbook's choice" not in text
    spoilt = copy.deepcopy(GOOD)
    spoilt["starts"]["glorot"] = start(0.2, 0.3, 0.4)
    text = flowing(page.text([result(spoilt, WORSE)]))
    assert "The textbook's choice is behind in 1 of 2 rows (tanh 10)." in text


def test_losses_are_better_when_lower_and_diverged_runs_are_counted(page: Any) -> None:
    lost = {"median": None, "low": None, "high": None, "scores": [None] * 5, "diverged": [0, 1]}
    text = flowing(page.text([result(row("delay", "loss", torch=start(2.0, 2.1, 2.2), auto=start(0.1, 0.2, 0.3)))]))
    assert "none of its runs diverged" in text
    assert "**0.2 (0.1 to 0.3)**" in text
    text = flowing(page.text([result(row("delay", "loss", torch=start(2.0, 2.1, 2.2), auto=lost))]))
    assert "2 of its runs diverged" in text
    assert "torch 2.1 (2 to 2.2), auto diverged" in text


def test_references_are_shown_and_not_ranked(page: Any) -> None:
    text = page.text([result(row("deep", norm=start(0.97, 0.98, 0.99), auto=start(0.7, 0.75, 0.8)))])
    assert "| network | best start | auto | torch's default | usual choice | guesses | norm |" in text
    assert "In 1 of 1 rows below" in text


def test_starts_that_begin_to_learn_with_every_seed_are_named(page: Any) -> None:
    given = {**copy.deepcopy(GOOD), "learned_below": 2.2}
    for name, learned in {"torch": 0, "glorot": 4, "auto": 5}.items():
        given["starts"][name]["learned"] = learned
    line = next(line for line in page.text([result(given)]).splitlines() if line.startswith("| tanh 10 "))
    assert line.endswith("| torch | auto |")


def test_it_ranks_as_the_benchmark_does(page: Any, training: Any) -> None:
    rows = [GOOD, WORSE, *(row for result in page.load() for row in result["rows"])]
    for entry, given in zip(training.verdict(rows)["rows"], rows):
        assert page.ranked(given)[0] == entry["best"]
        assert page.ties("auto", given) == entry["within"]


def test_every_table_has_a_heading_and_links_exist(page: Any, training: Any) -> None:
    assert set(training.tables()) <= set(page.TABLES)
    for target in re.findall(r"\]\(([^)]+)\)", page.TARGET.read_text(encoding="utf-8")):
        assert (DOCS / target).is_file(), target
