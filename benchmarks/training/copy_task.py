"""Gated recurrent networks on the copy task: symbols, 100 blanks, a signal, and then the symbols are to be recalled.

Hochreiter & Schmidhuber (1997) in the form of Arjovsky, Shah & Bengio (2016): eight symbols, a blank and a signal as
one-hot inputs. Fewer symbols are to be recalled than their ten, so that hundreds of updates suffice; the delay is
theirs. The score is the accuracy at the steps of recall: without memory 1/8, and a loss of ln 8 = 2.08 nat.

Source: Tallec & Ollivier, ICLR 2018 (chrono); Gers et al., 2000 (forget bias).
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

from benchmarks.training._table import Row, Settings
from torch import nn

from fanin.data import Dataset
from fanin.experiments._copy_task import LETTERS, Recaller, copies

DELAY, UNITS = 100, 32
LRS = (1e-3, 3e-3, 1e-2)
STEPS = 600
CASES: dict[str, tuple[type[nn.LSTM] | type[nn.GRU], int]] = {
    "LSTM, 1 symbol": (nn.LSTM, 1),
    "LSTM, 2 symbols": (nn.LSTM, 2),
    "GRU, 1 symbol": (nn.GRU, 1),
}


@cache
def sequences(symbols: int) -> Dataset:
    return copies(DELAY, symbols)


def rows(settings: Settings) -> list[Row]:
    """A row per cell and number of symbols."""
    found = []
    for name, (cell, symbols) in CASES.items():
        starts: dict[str, Any] = {"torch": "own", "glorot": "glorot", "orthogonal": "orthogonal", "lstm": "lstm"}
        starts |= {"chrono": {"scheme": "lstm", "max_time": float(DELAY)}, "auto": "auto"}
        found.append(
            Row(
                table="copy_task",
                name=f"{name} over {DELAY} steps",
                make=partial(Recaller, UNITS, symbols, cell),
                data=sequences(symbols),
                starts=starts,
                optimizer="adam",
                lrs=LRS,
                steps=STEPS // (4 if settings.quick else 1),
                batch_size=32,
                score="accuracy",
                learned_below=0.5 * math.log(LETTERS),
                labels={"cell": cell.__name__, "symbols": symbols, "delay": DELAY},
            )
        )
    return found
