"""What an experiment leaves on disk: the table as CSV, the verdict as JSON, figures as Vega-Lite and SVG."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanin.errors import MissingExtraError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fanin.experiments._base import Outcome

__all__ = ["save"]


def save(outcome: Outcome, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an outcome into ``folder/NAME``.

    Args:
        outcome: of an experiment.
        folder: is made where it does not exist; files of the same name are replaced.

    Returns:
        The files: outcome.json, rows.csv, and for each figure NAME.vl.json (Vega-Lite) and, where the extra
        ``figures`` is installed, NAME.svg.

    Example:
        >>> import tempfile
        >>> from fanin.experiments import REGISTRY, Settings
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = save(REGISTRY["glorot-variance"].run(Settings("tiny")), folder)
        >>> sorted(path.name for path in files if path.suffix != ".svg")
        ['gradients.vl.json', 'outcome.json', 'rows.csv', 'variance.vl.json']
    """
    place = Path(folder) / outcome.experiment.name
    place.mkdir(parents=True, exist_ok=True)
    verdict, table = place / "outcome.json", place / "rows.csv"
    verdict.write_text(json.dumps(outcome.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_table(outcome.measured.rows, table)
    files = [verdict, table]
    for name, picture in outcome.measured.figures.items():
        specification = place / f"{name}.vl.json"
        picture.save(specification)
        files.append(specification)
        drawing = place / f"{name}.svg"
        try:
            picture.save(drawing)
        except MissingExtraError:
            continue
        files.append(drawing)
    return files


def _write_table(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Columns in order of first appearance; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
