"""Correlation between samples by layer: can the network still tell its inputs apart?"""

from __future__ import annotations

from typing import Any

from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table
from fanin.report.figures._depth import depth_row, depth_spec, depth_table
from fanin.report.figures._signals import At, labelled, layers, origin
from fanin.report.figures._theme import theme as theme_of
from fanin.report.figures._words import across

__all__ = ["data", "draw", "example", "table"]

ALIKE = 0.99
"""Above it less than 1 % of a layer's power tells samples apart."""


def data(records: Any, *, at: At = "weights") -> Data:
    """Mean correlation ⟨x_a, x_b⟩ / ⟨x_a, x_a⟩ of different samples at each layer.

    Args:
        records: a Report or Trace, or a mapping of names to them.
        at: which places; by default outputs of ops with weights.
    """
    rows, ends, values = [], {}, []
    for label, record in labelled(records):
        found = [(p, s.sample_correlation) for p, s in layers(record, at=at) if s.sample_correlation is not None]
        rows += [depth_row(depth, place, label, value) for depth, (place, value) in enumerate(found, start=1)]
        values = [value for _, value in found]
        ends[label] = values[-1] if values else None
    title = _title(values) if len(ends) == 1 else across("Correlation of samples at the last layer", ends, len(values))
    return {
        "title": title,
        "subtitle": "1: all samples look alike to that layer; 0: they have nothing in common",
        "source": origin(records),
        "rows": rows,
    }


def _title(values: list[float]) -> str:
    if not values:
        return "Correlation of samples: nothing was measured"
    alike = next((depth for depth, value in enumerate(values, start=1) if value > ALIKE), None)
    if alike is not None and values[-1] > ALIKE:
        where = "at every layer" if alike == 1 else f"from layer {alike} of {len(values)} on"
        return f"All samples look alike {where}: correlation {values[0]:.2g} → {values[-1]:.4f}"
    top = max(values)
    return f"Samples stay apart: correlation at most {number(top, 2)} over {len(values)} layers"


def draw(data: Data, theme: str = "light") -> Spec:
    """A line over the depth; 1 is marked."""
    low = min((row["value"] for row in data["rows"] if row["value"] is not None), default=0.0)
    return depth_spec(
        data,
        theme_of(theme),
        x_title="layer (ops with weights, in order of execution)",
        y_title="correlation between samples (no unit)",
        log=False,
        domain=(min(0.0, round(low - 0.05, 1)), 1.05),
        rule=1.0,
        rule_label="all alike",
    )


def table(data: Data) -> Table:
    """Layer, place, correlation."""
    return depth_table(data, "correlation between samples")


def example() -> Data:
    """Samples that merge."""
    rows = [depth_row(k, f"layers.{k - 1}", "", 1 - 0.6**k) for k in range(1, 13)]
    return {
        "title": "All samples look alike from layer 10 of 12 on: correlation 0.4 → 0.9978",
        "subtitle": "1: all samples look alike to that layer; 0: they have nothing in common",
        "source": "an example",
        "rows": rows,
    }


KIND = REGISTRY.add(
    "correlation",
    Kind(
        "correlation",
        "correlation between samples by layer",
        "a Report or Trace, or several by name",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
