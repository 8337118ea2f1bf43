"""The record of one place: JSON, lookup, derived numbers."""

from __future__ import annotations

import json
import math

import pytest

from fanin.errors import InputError
from fanin.signals import Histogram, Signal, Signals

FULL = Signal(
    "a", 1, "forward", "measured", 10, 0.5, 1.25, 3.0, 0.1, 0.0, 0.2, 0.3, 0.4, Histogram(0.0, 1.0, (5, 5)), False, 0.9
)


def test_json_keeps_everything() -> None:
    signals = Signals([FULL, Signal("a", 1, "backward", "measured", 0, math.nan, math.inf)])
    text = json.dumps(signals.to_json(), allow_nan=False)
    again = Signals.from_json(json.loads(text))
    assert again[0] == FULL
    assert math.isnan(again[1].mean)


def test_lookup_and_selection() -> None:
    other = Signal("a", 1, "forward", "predicted", 0, 0.0, 1.0)
    signals = Signals([FULL]).merged([other])
    assert signals.at("a") is FULL
    assert signals.at("a", source="predicted") is other
    assert signals.at("a", "backward") is None
    assert list(signals.select("forward")) == [FULL]
    assert signals.renamed({"a": "b"}).at("b") is not None


def test_std_and_rms() -> None:
    assert (FULL.rms, FULL.std) == (math.sqrt(1.25), 1.0)


def test_two_records_for_one_place_are_refused() -> None:
    with pytest.raises(InputError, match="share place"):
        Signals([FULL, FULL])
