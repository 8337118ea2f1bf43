"""Write docs/which-scheme.md from the committed results of benchmarks/training.

python docs/_which_scheme.py
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "which-scheme.md"
RESULTS = HERE.parent / "benchmarks" / "training" / "results"

Row = Mapping[str, Any]

ENOUGH = 0.95
"""Share of the best accuracy (or its inverse, of the lowest loss) from which a start counts as good."""

CHANCE = {"accuracy": 0.1}
"""Of the image tables; a median accuracy below twice this is called guessing."""

TABLES = {
    "mlp": ("Plain perceptrons", "a plain perceptron: no norm, no skip connection"),
    "deep_tanh": ("A thousand layers of tanh", "hundreds of plain tanh layers"),
    "resnet": ("Residual networks without normalization", "a ResNet without normalization"),
    "transformer": ("Post-LN transformer without warm-up", "a deep transformer, norm after the sum, no warm-up"),
    "copy_task": ("LSTM with a delay of 100", "an LSTM that must remember over a long delay"),
    "siren": ("A sine network that fits a picture", "a sine network on coordinates (SIREN)"),
    "pretraining": ("Deep sigmoid network with few labels", "a deep sigmoid network with few labels"),
}
"""Table → heading, and the case in the words of somebody who chooses."""

USUAL = {"relu": "he", "gelu": "he", "silu": "he", "elu": "he", "selu": "lecun", "tanh": "glorot", "sigmoid": "glorot"}
"""What the textbooks take: He for ReLU's kin, LeCun for SELU (Klambauer et al., 2017), Glorot for S-shaped units."""


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All committed results, in the order of TABLES."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = list(TABLES)
    return sorted(found, key=lambda result: (order.index(result["table"]), result["on"] != "mnist", result["on"]))


def score(entry: Row, row: Row) -> float:
    """Median; a diverged median is the worst there is."""
    if entry["median"] is None:
        return 0.0 if row["score"] == "accuracy" else math.inf
    return float(entry["median"])


def ends(entry: Row) -> tuple[float, float]:
    return tuple(math.inf if entry[end] is None else float(entry[end]) for end in ("low", "high"))  # type: ignore[return-value]


def ranked(row: Row) -> list[str]:
    """From best to worst; of equals ``auto`` first; references left out."""
    sign = -1 if row["score"] == "accuracy" else 1
    names = [name for name in row["starts"] if name not in row["references"]]
    return sorted(names, key=lambda name: (sign * score(row["starts"][name], row), name != "auto"))


def ties(name: str, row: Row) -> bool:
    """Whether the interval overlaps that of the best start."""
    low, high = ends(row["starts"][name])
    best_low, best_high = ends(row["starts"][ranked(row)[0]])
    return not (high < best_low or best_high < low)


def good(name: str, row: Row) -> bool:
    """Within one interval of the best, or near enough to it."""
    own, best = score(row["starts"][name], row), score(row["starts"][ranked(row)[0]], row)
    near = own >= ENOUGH * best if row["score"] == "accuracy" else own * ENOUGH <= best
    return ties(name, row) or near


def guesses(name: str, row: Row) -> bool:
    return row["score"] in CHANCE and score(row["starts"][name], row) < 2 * CHANCE[row["score"]]


def shown(entry: Row, row: Row, *, between: bool = False) -> str:
    """A score as text."""
    value = score(entry, row)
    if row["score"] == "accuracy":
        text = f"{value:.1%}"
        return f"{text} ({entry['low']:.1%} to {entry['high']:.1%})" if between and entry["low"] is not None else text
    if math.isinf(value):
        return "diverged"
    text = f"{value:.3g}"
    return f"{text} ({entry['low']:.3g} to {entry['high']:.3g})" if between and entry["high"] is not None else text


def text(results: Sequence[Row]) -> str:
    """The page."""
    rows = [row for result in results for row in result["rows"]]
    tied = [row for row in rows if ties("auto", row)]
    behind = [(row, result) for result in results for row in result["rows"] if not ties("auto", row)]
    lost = sum(len(row["starts"]["auto"]["diverged"]) for row in rows)
    seeds = min(row["seeds"] for row in rows)
    lead = (
        "**Take `auto`, and give it a batch.** "
        f"In {len(tied)} of {len(rows)} rows below ({len(tied) / len(rows):.0%}) it is the best start or within one "
        f"interval of the best; {_runs(lost)} diverged."
    )
    return f"""# Which scheme when?

{_wrapped(lead)}

```python
import fanin

fanin.init_(model, x)  # scheme="auto"
```

Every start of a row had the same seeds ({seeds} or more), batches, updates and grid of learning rates; its rate was
chosen by training loss on one seed. Numbers are medians; intervals are 95 % bootstrap intervals of the median.
A start is *behind* where its interval lies apart from that of the best start and its median is more than 5 % worse; it
*guesses* where its accuracy is less than twice that of chance. `python -m benchmarks training` measures all of it
again; `docs/_which_scheme.py` writes this page from the results.

## In short

| your network | take | measured | behind |
| --- | --- | --- | --- |
{_glance(results)}

{_behind(behind)}

{_sections(results)}
"""


def _runs(count: int) -> str:
    return {0: "none of its runs", 1: "one of its runs"}.get(count, f"{count} of its runs")


def _glance(results: Sequence[Row]) -> str:
    """One line per table: what to take, what it reached, and what fails."""
    lines = []
    for table, (_, case) in TABLES.items():
        rows = [row for result in results if result["table"] == table for row in result["rows"]]
        if rows:
            lines.append(f"| {case} | {_take(rows)} | {_reached(rows)} | {_fails(rows)} |")
    return "\n".join(lines)


def _take(rows: Sequence[Row]) -> str:
    """``auto`` where it is good on every row, else what is best where it is not."""
    better = sorted({ranked(row)[0] for row in rows if not good("auto", row)})
    if not better:
        return "`auto`"
    if all(not good("auto", row) for row in rows):
        return f"{_names(better)} instead of `auto`"
    return f"`auto`; where it is behind, {_names(better)}"


def _reached(rows: Sequence[Row]) -> str:
    """The range of what auto reached, then of torch's default and of what is not ranked."""
    parts = []
    for name in ("auto", "torch", *dict.fromkeys(name for row in rows for name in row["references"])):
        held = [row for row in rows if name in row["starts"]]
        kinds = {row["score"] for row in held}
        if len(kinds) != 1:
            continue
        values = sorted(held, key=lambda row: score(row["starts"][name], row))
        low, high = (shown(row["starts"][name], row) for row in (values[0], values[-1]))
        words = {"accuracy": "test accuracy", "loss": "training loss", "test_loss": "test loss"}[kinds.pop()]
        parts.append(f"{name}: {words if name == 'auto' else ''} {low}{f' to {high}' if high != low else ''}")
    return "; ".join(" ".join(part.split()) for part in parts)


def _fails(rows: Sequence[Row]) -> str:
    """Starts that are not good somewhere, those that fail most often first."""
    counts: dict[str, tuple[int, int]] = {}
    for row in rows:
        for name in ranked(row):
            failed, total = counts.get(name, (0, 0))
            counts[name] = failed + (not good(name, row)), total + 1
    groups: dict[tuple[int, int], list[str]] = {}
    for name, (failed, total) in counts.items():
        if failed and name != "auto":
            groups.setdefault((failed, total), []).append(name)
    ordered = sorted(groups, key=lambda group: (-group[0] / group[1], -group[0]))
    parts = [f"{', '.join(groups[group])} ({_of(*group)})" for group in ordered]
    return "; ".join(parts) or "none"


def _of(failed: int, total: int) -> str:
    return f"{failed} of {total} rows" if total > 1 else "the one row"


def _names(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _behind(found: Sequence[tuple[Row, Row]]) -> str:
    """Rows where auto is not within one interval of the best."""
    if not found:
        return "There is no row in which another start is better by more than the intervals."
    lines = [
        f"- {_title(result)}, {row['row']}: "
        + ", ".join(f"{name} {shown(row['starts'][name], row, between=True)}" for name in (ranked(row)[0], "auto"))
        for row, result in found
    ]
    return "Rows in which another start is better than `auto` by more than the intervals:\n\n" + "\n".join(lines)


def _title(result: Row) -> str:
    on = f" on {_data(result['on'])}" if result["on"] else ""
    return f"{TABLES[result['table']][0]}{on}"


def _data(name: str) -> str:
    return {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}.get(name, name)


def _sections(results: Sequence[Row]) -> str:
    return "\n\n".join(_section(result) for result in results)


def _section(result: Row) -> str:
    rows = result["rows"]
    first = rows[0]
    lines = [f"| {row['row']} | {' | '.join(_cells(row))} |" for row in rows]
    references = sorted({name for row in rows for name in row["references"]})
    learning = ["start to learn, every seed"] * any(row["learned_below"] is not None for row in rows)
    heads = ["network", "best start", "auto", "torch's default", "usual choice", "guesses", *learning, *references]
    words = {"accuracy": "Test accuracy", "loss": "Final training loss", "test_loss": "Test loss"}[first["score"]]
    steps = sorted({row["steps"] for row in rows})
    budget = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    about = f"{words} after {budget} updates of {_optimizers(rows)}{_source(first, result)}.{_failing(rows)}"
    return f"""## {_title(result)}

{_wrapped(about)}

| {" | ".join(heads)} |
|{" --- |" * len(heads)}
{chr(10).join(lines)}"""


def _source(row: Row, result: Row) -> str:
    """The data in words where they say more than the heading, without the folder it lay in."""
    words = re.sub(r" in /\S+", "", row["data"])
    return "" if words == result["on"] else f"; {words}"


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def _optimizers(rows: Sequence[Row]) -> str:
    names = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "momentum": "SGD with momentum", "rmsprop": "RMSprop"}
    return " or ".join(sorted({names.get(row["optimizer"], row["optimizer"]) for row in rows}))


def _cells(row: Row) -> list[str]:
    starts, best = row["starts"], ranked(row)[0]
    usual = USUAL.get(row["labels"].get("activation", ""), "")
    bold = "**" if ties("auto", row) else ""
    cells = [
        f"{best} {shown(starts[best], row)}",
        f"{bold}{shown(starts['auto'], row, between=True)}{bold}",
        shown(starts["torch"], row) if "torch" in starts else "",
        f"{usual} {shown(starts[usual], row)}" if usual in starts else "",
        ", ".join(name for name in starts if name not in row["references"] and guesses(name, row)),
    ]
    if row["learned_below"] is not None:
        cells.append(", ".join(name for name in starts if starts[name]["learned"] == row["seeds"]))
    return cells + [shown(starts[name], row) for name in row["references"]]


def _failing(rows: Sequence[Row]) -> str:
    """Where torch's default and the textbook's choice fall behind, in a sentence each."""
    found = []
    for name, words in (("torch", "Torch's default"), ("usual", "The textbook's choice")):
        pairs = [(row, USUAL.get(row["labels"].get("activation", ""), "") if name == "usual" else name) for row in rows]
        pairs = [(row, start) for row, start in pairs if start in row["starts"]]
        failed = [row["row"] for row, start in pairs if not good(start, row)]
        if pairs and failed:
            which = "in every row" if len(failed) == len(pairs) else f"in {len(failed)} of {len(pairs)} rows"
            guessed = sum(guesses(start, row) for row, start in pairs)
            rest = f", and only guesses in {guessed}" if guessed else ""
            listed = "" if len(failed) == len(pairs) else f" ({', '.join(failed)})"
            found.append(f"{words} is behind {which}{listed}{rest}.")
    return "".join(f" {sentence}" for sentence in found)


if __name__ == "__main__":
    TARGET.write_text(text(load()), encoding="utf-8")
