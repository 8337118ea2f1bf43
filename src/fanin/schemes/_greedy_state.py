"""The file from which an interrupted pre-training goes on."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fanin.errors import InputError

__all__ = ["State"]

_FORMAT = 1


@dataclass
class State:
    """What has been found so far, kept in a file.

    Args:
        path: the file; None keeps nothing.
        identity: what has to be the same for a run to be continued: aspect → value in words.
        done: layer → what was found for it.
        current: the layer under training: its name, the epochs done, the learner's state, the error before.
    """

    path: Path | None
    identity: Mapping[str, str]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: dict[str, Any] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None, identity: Mapping[str, str], owner: str) -> State:
        """Start anew, or go on from what the file holds.

        Raises:
            InputError: if the file is no such state, or one of other data, options, seed or shapes; it is not touched.
        """
        if path is None:
            return cls(None, identity)
        place = Path(path)
        if place.is_dir() or not place.parent.is_dir():
            raise InputError.of("resume", str(path), "a file in a folder that exists", owner)
        if not place.exists():
            return cls(place, identity)
        try:
            # weights_only: the file may come from somebody else, and unpickling could run code.
            kept = torch.load(place, weights_only=True)
            assert kept["format"] == _FORMAT
            made, done, current = dict(kept["identity"]), dict(kept["done"]), kept["current"]
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AssertionError) as error:
            text = f"{place} ({type(error).__name__})"
            raise InputError.of("resume", text, "a new file, or one that such a run wrote", owner) from error
        differing = [
            f"{name}: {made.get(name, 'none')} there, {identity.get(name, 'none')} here"
            for name in {**identity, **made}
            if made.get(name) != identity.get(name)
        ]
        if differing:
            text = f"resume of {owner}: {place} holds another run: {'; '.join(differing)}."
            raise InputError(f"{text} Give this run a file of its own.")
        return cls(place, identity, done, current)

    def save(self) -> None:
        """Replace the file as a whole: an interruption leaves the old one or the new one."""
        if self.path is None:
            return
        kept = {"format": _FORMAT, "identity": dict(self.identity), "done": self.done, "current": self.current}
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                torch.save(kept, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)
