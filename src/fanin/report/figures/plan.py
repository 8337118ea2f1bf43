"""Overview of a plan: how wide each tensor starts, beside how wide it is now."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.report._glyphs import number
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table, thinned
from fanin.report.figures._dots import dots_spec
from fanin.report.figures._tensors import stats_of
from fanin.report.figures._theme import theme as theme_of

if TYPE_CHECKING:
    from fanin.recipe import Recipe

__all__ = ["data", "draw", "example", "table"]

MOST = 40

SAME = 0.02
"""A relative change of the spread up to this counts as none."""

SIGMAS = 5.0
"""So does one within this many standard errors, 1/√(2n), of a spread estimated from n values."""


def data(records: Any, *, before: Any = None, most: int = MOST) -> Data:
    """Planned standard deviations, and those of the weights before.

    Args:
        records: a Recipe, or a Report that holds one.
        before: the weights as they are: a Report, a model or tensors by name; of a Report its own.
        most: tensors shown at most, evenly spread.
    """
    recipe = _recipe(records)
    if recipe is None:
        return {"title": "Plan", "subtitle": "", "source": "", "rows": [], "numbers": []}
    held = records if before is None and hasattr(records, "weights") and records.weights else before
    now = {} if held is None else {w.name: w.std for w in stats_of(held)}
    numbers: list[dict[str, Any]] = [
        {
            "parameter": line.name,
            "std now": now.get(line.name),
            "planned std": line.std,
            "size": math.prod(line.shape),
            "initializer": type(line.initializer).__name__,
            "why": line.reason,
        }
        for line in recipe.lines
    ]
    drawn = [row for row in numbers if row["planned std"] > 0 or (row["std now"] or 0) > 0]
    rows = []
    for order, row in enumerate(thinned(drawn, most)):
        common = {"order": order, "parameter": row["parameter"], "words": row["initializer"]}
        for series, key in (("now", "std now"), ("planned", "planned std")):
            value = row[key]
            if value is not None and math.isfinite(value) and value > 0:
                rows.append({**common, "series": series, "value": value, "last": False})
        rows[-1]["last"] = True
    hidden = len(numbers) - len(drawn)
    count = "1 tensor starts constant and is" if hidden == 1 else f"{hidden} tensors start constant and are"
    left_out = f"; {count} not drawn" if hidden else ""
    return {
        "title": _title(recipe, numbers),
        "subtitle": f"Standard deviation of each tensor, now and as planned{left_out}"
        if now
        else f"Standard deviation that each tensor starts with{left_out}",
        "source": f"recipe {recipe.scheme or 'by hand'}",
        "rows": rows,
        "numbers": numbers,
    }


def _recipe(records: Any) -> Recipe | None:
    from fanin.recipe import Recipe

    if isinstance(records, Recipe):
        return records
    if hasattr(records, "recipe"):
        held: Recipe | None = records.recipe
        return held
    raise InputError.of("records", type(records).__name__, "a Recipe, or a Report that holds one")


def _title(recipe: Recipe, numbers: list[dict[str, Any]]) -> str:
    name = recipe.scheme or "the plan"
    both = [r for r in numbers if r["std now"] is not None and r["std now"] > 0 and r["planned std"] > 0]
    if both:
        ratios = [(r["planned std"] / r["std now"], r["parameter"], SIGMAS / math.sqrt(2 * r["size"])) for r in both]
        changed = [(ratio, name) for ratio, name, error in ratios if abs(math.log(ratio)) > max(SAME, error)]
        if not changed:
            return f"The weights are as wide as {name} plans them"
        ratio, worst = max(changed, key=lambda entry: abs(math.log(entry[0])))
        return (
            f"{name} changes the spread of {len(changed)} of {len(numbers)} tensors, most: {worst} ×{number(ratio, 2)}"
        )
    kinds = Counter(row["initializer"] for row in numbers).most_common(3)
    return f"{name} writes {len(numbers)} tensors: " + ", ".join(f"{count} {kind}" for kind, count in kinds)


def draw(data: Data, theme: str = "light") -> Spec:
    """A dot per tensor now, one as planned, joined; the initializer at the right."""
    colours = theme_of(theme)
    return dots_spec(data, colours, x_title="standard deviation of the entries", note="words")


def table(data: Data) -> Table:
    """Parameter, spreads, initializer, reason."""
    headings = ["parameter", "std now", "planned std", "initializer", "why"]
    return headings, [[row[key] for key in headings] for row in data["numbers"]]


def example() -> Data:
    """Four tensors of a small network."""
    from fanin.fans import linear
    from fanin.initializers import HeNormal, LecunNormal, Zeros
    from fanin.recipe import Line, Recipe

    lines = [
        Line("0.weight", HeNormal(), "relu follows", (256, 64), linear((256, 64))),
        Line("0.bias", Zeros(), "bias", (256,), linear((256, 64))),
        Line("2.weight", HeNormal(), "relu follows", (256, 256), linear((256, 256))),
        Line("4.weight", LecunNormal(), "the head", (10, 256), linear((10, 256))),
    ]
    recipe = Recipe(lines, scheme="auto")
    drawn = data(recipe)
    now = {"0.weight": 0.072, "2.weight": 0.036, "4.weight": 0.036}
    for row in drawn["numbers"]:
        row["std now"] = now.get(row["parameter"])
    orders = {row["parameter"]: row for row in drawn["rows"]}
    rows = [{**orders[name], "series": "now", "value": std} for name, std in now.items()] + drawn["rows"]
    rows = [{**row, "last": row["series"] == "planned"} for row in rows]
    rows.sort(key=lambda row: (row["order"], row["series"]))
    return {**drawn, "title": _title(recipe, drawn["numbers"]), "rows": rows, "source": "an example"}


KIND = REGISTRY.add(
    "plan",
    Kind(
        "plan",
        "planned standard deviations, beside those of now",
        "a Recipe, or a Report that holds one",
        data,
        draw,
        table,
        example,
        of_report=True,
    ),
)
