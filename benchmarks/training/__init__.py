"""Training tables: which start trains what, on real data, with tuned learning rates, seeds and intervals.

    python -m benchmarks training [TABLE …] [--quick] [--seeds N] [--store FILE] [--data mnist|fashion-mnist] [--jobs N]

Image files are found through FANIN_DATA. With ``--store`` finished runs are kept: an interrupted table goes on from
there, and after a change of one scheme only that scheme is trained again. Full tables are written to
benchmarks/training/results; ``docs/_which_scheme.py`` makes a page of them.

A table is a file here with ``rows(settings) -> list[Row]`` and, where it is measured on images, ``DATA``, the names of
the data sets: each gives a file of results.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine
from benchmarks.training._table import Row, Settings, interval, measure, ranking, verdict

__all__ = ["RESULTS", "Row", "Settings", "main", "measure", "tables", "verdict"]

RESULTS = Path(__file__).parent / "results"
FORMAT = 1


def tables() -> list[str]:
    """Names of all tables."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


@dataclass(frozen=True)
class Job:
    """One table on one data set; ``data`` is "" where the table brings its own."""

    table: str
    data: str

    @property
    def title(self) -> str:
        return f"{self.table}-{self.data}" if self.data else self.table


def jobs(names: Sequence[str], data: str | None) -> list[Job]:
    """What to measure."""
    found = []
    for name in names:
        offered = getattr(importlib.import_module(f"benchmarks.training.{name}"), "DATA", ("",))
        found += [Job(name, source) for source in offered if data is None or source in ("", data)]
    return found


def rows_of(job: Job, settings: Settings) -> list[Row]:
    module = importlib.import_module(f"benchmarks.training.{job.table}")
    rows: list[Row] = module.rows(settings)
    return rows


def _measured(job: Job, settings: Settings, name: str, store: str | None) -> dict[str, Any]:
    """One row, in whichever process.

    Denormal numbers, of which networks with vanishing gradients are full, count as zero: on a CPU they take several
    times longer than others and teach nothing.
    """
    import torch

    row = next(row for row in rows_of(job, settings) if row.name == name)
    torch.set_flush_denormal(True)
    try:
        return measure(row, settings.seeds, store)
    finally:
        torch.set_flush_denormal(False)


def run(job: Job, settings: Settings, *, store: str | None, only: str, workers: int) -> list[dict[str, Any]]:
    """Measure the rows of one table whose name contains ``only``; each is printed as soon as it is there."""
    from joblib import Parallel, delayed

    names = [row.name for row in rows_of(job, settings) if only in row.name]
    parallel = Parallel(n_jobs=workers, return_as="generator")
    found = []
    for row in parallel(delayed(_measured)(job, settings, name, store) for name in names):
        show(row)
        found.append(row)
    return found


def show(row: Mapping[str, Any]) -> None:
    """Print a row, best start first."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=f"{row['table']}: {row['row']}", title_justify="left", box=None, pad_edge=False)
    for column in ("start", row["score"], "interval", "lr", "first loss", "final loss", "learned", "diverged"):
        drawn.add_column(column, justify="left" if column == "start" else "right")
    best = interval(row["starts"][ranking(row)[0]])
    for name in [*ranking(row), *row["references"]]:
        entry = row["starts"][name]
        tied = name not in row["references"] and interval(entry).overlaps(best)
        numbers = [_text(entry[key]) for key in ("median", "low", "high", "first_loss", "final_loss")]
        drawn.add_row(
            f"{name}{' *' if tied else ''}{' (reference)' if name in row['references'] else ''}",
            numbers[0],
            f"{numbers[1]} to {numbers[2]}",
            f"{entry['lr']:g}",
            *numbers[3:],
            "" if entry["learned"] is None else f"{entry['learned']}/{row['seeds']}",
            ", ".join(map(str, entry["diverged"])),
        )
    Console(width=120).print(drawn, highlight=False)
    print(flush=True)


def _text(value: float | None) -> str:
    return "inf" if value is None else f"{value:.4g}"


def conclude(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the verdict."""
    found = verdict(rows)
    for entry in found["rows"]:
        if not entry["within"]:
            print(
                f"  auto behind {entry['best']}: {entry['row']}: {entry['auto_median']} against {entry['best_median']}"
            )
    share = found["share"]
    print(f"auto best or within one interval of the best in {share:.0%} of {len(rows)} rows; ", end="")
    print(f"{found['auto_diverged']} of its runs diverged", flush=True)


def together(job: Job, settings: Settings, path: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows and, of those that were not measured now, what the file holds; in the order of the table."""
    held = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    found = {row["row"]: row for row in [*held, *rows]}
    return [found[row.name] for row in rows_of(job, settings) if row.name in found]


def main() -> None:
    """Measure the named tables, or all."""
    parser = argparse.ArgumentParser("python -m benchmarks training", description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(tables())}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer updates; nothing is written")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", help="SQLite file of finished runs")
    parser.add_argument("--data", help="of the data sets of a table only this one")
    parser.add_argument("--rows", default="", help="only rows whose name contains this; the others keep their results")
    parser.add_argument("--jobs", type=int, default=1, help="processes; rows are dealt out to them")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results of full tables")
    given = parser.parse_args()
    unknown = [name for name in given.tables if name not in tables()]
    if unknown:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(tables())}")
    for job in jobs(given.tables or tables(), given.data):
        print(f"--- {job.title}", flush=True)
        settings = Settings(given.quick, job.data, given.seeds)
        rows = run(job, settings, store=given.store, only=given.rows, workers=given.jobs)
        conclude(rows)
        if not given.quick and rows:
            given.out.mkdir(parents=True, exist_ok=True)
            path = given.out / f"{job.title}.json"
            merged = together(job, settings, path, rows)
            written = {"format": FORMAT, "table": job.table, "on": job.data, "machine": machine(), "rows": merged}
            path.write_text(json.dumps(written, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
            print(f"written: {path.name}")
