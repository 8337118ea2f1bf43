"""A score over depth and scheme: how deep does each start still train?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, finite, spec
from fanin.report.figures._theme import theme as theme_of

__all__ = ["data", "draw", "example", "table"]


def data(
    records: Iterable[Mapping[str, Any]],
    *,
    value: str = "accuracy",
    unit: str = "%",
    higher_is_better: bool | None = None,
    source: str = "",
) -> Data:
    """One score per (depth, scheme).

    Args:
        records: rows with ``depth``, ``scheme`` and the value; None or NaN where training diverged.
        value: the column to show, such as "accuracy" or "loss".
        unit: of the value; "%" shows shares as percent.
        higher_is_better: what the title praises; by default True unless the value is called a loss.
        source: of the numbers.
    """
    rows = []
    for row in records:
        if not {"depth", "scheme", value} <= set(row):
            raise InputError.of("records", sorted(row), f"rows with 'depth', 'scheme' and {value!r}")
        rows.append({"depth": row["depth"], "scheme": str(row["scheme"]), "value": finite(row[value])})
    up = "loss" not in value if higher_is_better is None else higher_is_better
    return {
        "title": _title(rows, value, unit, up),
        "subtitle": f"{value} by depth and scheme; a cross marks training that diverged",
        "source": source,
        "rows": rows,
        "value": value,
        "unit": unit,
        "higher_is_better": up,
    }


def shown(value: float | None, unit: str) -> str:
    """A score as text."""
    if value is None:
        return "diverged"
    return f"{value:.0%}" if unit == "%" else number(value)


def _title(rows: list[dict[str, Any]], value: str, unit: str, up: bool) -> str:
    deepest = max((row["depth"] for row in rows), default=0)
    last = {row["scheme"]: row["value"] for row in rows if row["depth"] == deepest}
    ranked = sorted(
        last.items(), key=lambda item: (item[1] is not None, item[1] if up or item[1] is None else -item[1])
    )
    if not ranked:
        return f"{value} by depth and scheme"
    (worst, low), (best, high) = ranked[0], ranked[-1]
    if best == worst:
        return f"{best} at {deepest} layers: {value} {shown(high, unit)}"
    return f"At {deepest} layers {best} reaches {value} {shown(high, unit)}, {worst} {shown(low, unit)}"


def draw(data: Data, theme: str = "light") -> Spec:
    """Cells coloured by score, with the number in each."""
    colours = theme_of(theme)
    rows = data["rows"]
    values = [row["value"] for row in rows if row["value"] is not None] or [0.0]
    middle = (min(values) + max(values)) / 2
    depths = sorted({row["depth"] for row in rows})
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    x = {"field": "depth", "type": "ordinal", "title": "depth (layers)", "sort": depths, "axis": {"labelAngle": 0}}
    y = {"field": "scheme", "type": "nominal", "title": None, "sort": schemes, "axis": {"labelLimit": 200}}
    percent = data["unit"] == "%"
    ramp = list(colours.ramp) if data["higher_is_better"] else list(colours.ramp)[::-1]
    color = {
        "field": "value",
        "type": "quantitative",
        "scale": {"range": ramp, "interpolate": "rgb", "zero": False, "nice": False},
        "legend": {
            "title": data["value"] if not data["unit"] else f"{data['value']} ({data['unit']})",
            "format": ".0%" if percent else "~g",
            "gradientLength": max(60, min(160, 34 * len(schemes))),
        },
    }
    light_half = "datum.value > " if data["higher_is_better"] else "datum.value < "
    inked = {"condition": {"test": f"{light_half}{middle}", "value": "#101318"}, "value": "#ffffff"}
    found = {"filter": "datum.value !== null"}
    cells = {"transform": [found], "mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": color}}
    words = {
        "transform": [found],
        "mark": {"type": "text", "fontSize": 12},
        "encoding": {
            "x": x,
            "y": y,
            "text": {"field": "value", "type": "quantitative", "format": ".0%" if percent else ".3~g"},
            "color": inked,
        },
    }
    crosses = {
        "transform": [{"filter": "datum.value === null"}],
        "mark": {"type": "text", "text": "×", "fontSize": 18, "color": colours.bad},
        "encoding": {"x": x, "y": y},
    }
    width = max(240, min(640, 64 * len(depths)))
    return spec(data, colours, width=width, layer=[cells, words, crosses], height=34 * len(schemes))


def table(data: Data) -> Table:
    """Schemes down, depths across."""
    depths = sorted({row["depth"] for row in data["rows"]})
    cells: dict[str, dict[Any, str]] = {}
    for row in data["rows"]:
        cells.setdefault(row["scheme"], {})[row["depth"]] = shown(row["value"], data["unit"])
    headings = ["scheme", *(f"{depth} layers" for depth in depths)]
    return headings, [[scheme, *(found.get(depth, "") for depth in depths)] for scheme, found in cells.items()]


def example() -> Data:
    """Three schemes at four depths."""
    scores = {"he": (0.97, 0.97, 0.96, 0.95), "xavier": (0.97, 0.95, 0.61, 0.1), "N(0, 1)": (0.7, 0.3, None, None)}
    rows = [
        {"depth": depth, "scheme": scheme, "accuracy": value}
        for scheme, values in scores.items()
        for depth, value in zip((5, 10, 30, 100), values)
    ]
    return data(rows, source="an example")


KIND = REGISTRY.add(
    "heatmap",
    Kind(
        "heatmap",
        "accuracy or loss over depth and scheme",
        "rows with depth, scheme and a value",
        data,
        draw,
        table,
        example,
        mapped=True,
    ),
)
