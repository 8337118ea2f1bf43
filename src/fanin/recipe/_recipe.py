"""The Recipe record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fanin.errors import InputError
from fanin.fans import Fans
from fanin.initializers import Initializer

__all__ = ["Kept", "Line", "Recipe"]

FORMAT = 1
"""Version of the JSON form; raised whenever an older reader would misread a newer file."""


@dataclass(frozen=True)
class Line:
    """One parameter to write.

    Args:
        name: canonical parameter name.
        initializer: what it starts as.
        reason: why, in one line.
        shape: shape of the full tensor.
        fans: fans of the place.
        zero_rows: rows that are set to 0 afterwards (``padding_idx`` of an embedding).
    """

    name: str
    initializer: Initializer
    reason: str
    shape: tuple[int, ...]
    fans: Fans
    zero_rows: tuple[int, ...] = ()

    @property
    def std(self) -> float:
        """Exact standard deviation of an entry."""
        return self.initializer.std(self.fans, self.shape)


@dataclass(frozen=True)
class Kept:
    """One parameter that stays as it is, and why."""

    name: str
    reason: str


class Recipe(Mapping[str, Initializer]):
    """Parameter name → Initializer, with the reason for each line.

    Args:
        lines: parameters to write, in definition order.
        kept: parameters deliberately left alone.
        scheme: name of the scheme that made it.
        notes: remarks for the user that belong to no single line (a changed forward that the scheme needs).
    """

    def __init__(
        self, lines: Iterable[Line], *, kept: Iterable[Kept] = (), scheme: str = "", notes: Iterable[str] = ()
    ) -> None:
        self.lines = tuple(lines)
        self.kept = tuple(kept)
        self.scheme = scheme
        self.notes = tuple(notes)
        self._by_name = {line.name: line for line in self.lines}
        if len(self._by_name) != len(self.lines):
            raise InputError("recipe: two lines share a parameter name.")

    def __getitem__(self, name: str) -> Initializer:
        return self._by_name[name].initializer

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        return (self.lines, self.kept, self.scheme, self.notes) == (
            other.lines,
            other.kept,
            other.scheme,
            other.notes,
        )

    def __hash__(self) -> int:
        return hash((self.scheme, tuple(self._by_name)))

    def __repr__(self) -> str:
        return f"Recipe(scheme={self.scheme!r}, {len(self.lines)} to write, {len(self.kept)} kept)"

    def show(self, *, width: int | None = None) -> None:
        """Print the plan as a table: parameter, shape, fans, initializer, std, reason; then what is kept.

        Args:
            width: columns; the terminal's by default.
        """
        from fanin.report import Screen, show_recipe

        show_recipe(self, Screen(width=width))

    def line(self, name: str) -> Line:
        """The whole line of a parameter: initializer, reason, shape, fans."""
        return self._by_name[name]

    def diff(self, other: Recipe) -> tuple[tuple[str, Initializer | None, Initializer | None], ...]:
        """Parameters whose initializer differs: (name, mine or None, other's or None)."""
        names = dict.fromkeys((*self, *other))
        pairs = ((name, self.get(name), other.get(name)) for name in names)
        return tuple((name, mine, theirs) for name, mine, theirs in pairs if mine != theirs)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; strict JSON (no NaN)."""
        return {
            "format": FORMAT,
            "scheme": self.scheme,
            "notes": list(self.notes),
            "lines": [
                {
                    "name": line.name,
                    "initializer": line.initializer.to_json(),
                    "reason": line.reason,
                    "shape": list(line.shape),
                    "fans": line.fans.to_json(),
                    "zero_rows": list(line.zero_rows),
                }
                for line in self.lines
            ],
            "kept": [{"name": kept.name, "reason": kept.reason} for kept in self.kept],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any] | str) -> Recipe:
        """Inverse of :meth:`to_json`; also takes the JSON text.

        Raises:
            InputError: if the format is newer than this version reads, or an initializer is unknown.
        """
        loaded: dict[str, Any] = json.loads(data) if isinstance(data, str) else data
        if loaded.get("format") != FORMAT:
            raise InputError.of("format", loaded.get("format"), f"{FORMAT}", "recipe JSON")
        lines = [
            Line(
                entry["name"],
                Initializer.from_json(entry["initializer"]),
                entry["reason"],
                tuple(entry["shape"]),
                Fans.from_json(entry["fans"]),
                tuple(entry.get("zero_rows", ())),
            )
            for entry in loaded["lines"]
        ]
        kept = [Kept(entry["name"], entry["reason"]) for entry in loaded["kept"]]
        return cls(lines, kept=kept, scheme=loaded["scheme"], notes=loaded["notes"])
