"""Runs kept in a SQLite file, so that an interruption loses nothing that was finished."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from fanin.compare._checkpoint import TABLE, Checkpoint
from fanin.compare._run import Run
from fanin.errors import DataError

__all__ = ["Store"]

_TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, run TEXT NOT NULL)"


class Store:
    """Key → Run in one file.

    Args:
        path: the file; it is made where it does not exist.

    Raises:
        DataError: if it cannot be opened or is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with closing(self._open()) as file, file:
                file.execute(_TABLE)
                file.execute(TABLE)
        except sqlite3.Error as error:
            raise DataError(f"store {self.path}: {error}; expected a file of runs, or a new name.") from error

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)  # seconds: another race may be writing

    def get(self, key: str) -> Run | None:
        """The run under ``key``, exactly as it was put."""
        with closing(self._open()) as file:
            row = file.execute("SELECT run FROM runs WHERE key = ?", (key,)).fetchone()
        return None if row is None else _read(row[0])

    def checkpoint(self, keys: Iterable[str], *, resume: bool) -> Checkpoint:
        """Where the job of these runs may keep its state while it is under way."""
        return Checkpoint(self.path.absolute(), _job(keys), resume)

    def put(self, runs: Mapping[str, Run]) -> None:
        """Keep all of them or, if the process dies now, none; the state of their job is no longer needed."""
        rows = [(key, _written(run)) for key, run in runs.items()]
        with closing(self._open()) as file, file:
            file.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", rows)
            file.execute("DELETE FROM partial WHERE job = ?", (_job(runs),))

    def __len__(self) -> int:
        with closing(self._open()) as file:
            return int(file.execute("SELECT COUNT(*) FROM runs").fetchone()[0])


def _job(keys: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(keys)).encode(), digest_size=20).hexdigest()


def _written(run: Run) -> str:
    """JSON with Python's NaN and Infinity: unlike the public form it keeps which one it was."""
    data = run.to_json()
    curve = {key: list(v) if isinstance(v, tuple) else v for key, v in vars(run.curve).items()}
    return json.dumps({**data, "curve": curve})


def _read(text: str) -> Run:
    return Run.from_json(json.loads(text))
