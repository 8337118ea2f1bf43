"""TensorBoard events: every place and finding written once, histograms as they were counted."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

from fanin.checks import Finding, Outcome
from fanin.errors import InputError, MissingExtraError
from fanin.report import Report, WeightStats
from fanin.signals import Histogram, Signal, Signals


class Writer:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.histograms: dict[str, dict[str, Any]] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        assert tag not in self.scalars
        self.scalars[tag] = value

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.texts[tag] = text

    def add_histogram_raw(self, tag: str, **fields: Any) -> None:
        assert tag not in self.histograms
        self.histograms[tag] = fields


def report() -> Report:
    bars = Histogram(-1.0, 3.0, (1, 2, 3, 4))
    return Report(
        [Finding("F101", "vanishing", "error", "a", "it falls", "scale it")],
        [Outcome("F101", "failed")],
        Signals(
            [
                Signal("a", 0, "forward", "measured", 10, 0.5, 4.0, histogram=bars),
                Signal("a", 0, "forward", "predicted", 0, 0.0, 9.0),
                Signal("a", 0, "backward", "measured", 10, 0.0, 0.25, histogram=Histogram(2.0, 2.0, (5, 0))),
            ]
        ),
        loss=2.5,
        model="Net",
        weights=[WeightStats("a.weight", (2, 2), 0.0, 1.0, histogram=bars)],
    )


def test_written() -> None:
    writer = Writer()
    report().to_tensorboard(writer, step=3)
    assert writer.scalars == {
        "fanin/errors": 1,
        "fanin/loss": 2.5,
        "fanin/activation/a/rms": 2.0,
        "fanin/gradient/a/rms": 0.5,
    }
    assert "does not start healthy" in writer.texts["fanin/verdict"]
    assert "scale it" in writer.texts["fanin/verdict"]
    forward = writer.histograms["fanin/activation/a"]
    assert (forward["min"], forward["max"], forward["num"]) == (-1.0, 3.0, 10)
    assert forward["bucket_limits"] == [0.0, 1.0, 2.0, 3.0]
    assert forward["bucket_counts"] == [1, 2, 3, 4]
    assert forward["global_step"] == 3
    constant = writer.histograms["fanin/gradient/a"]["bucket_limits"]
    assert constant[0] < constant[1]
    assert "fanin/weight/a.weight" in writer.histograms


def test_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    with pytest.raises(InputError, match="SummaryWriter"):
        report().to_tensorboard(3)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"fanin\[tensorboard\]"):
        report().to_tensorboard(tmp_path / "runs")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_read_back_by_tensorboard(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tensorboard's own imports deprecate
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        report().to_tensorboard(tmp_path, step=7)
        events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("fanin/activation/a/rms")[0].value == 2.0
    bars = events.Histograms("fanin/activation/a")[0]
    assert bars.step == 7
    assert bars.histogram_value.num == 10
