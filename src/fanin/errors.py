"""Every exception that fanin raises on purpose.

FaninError
├── InputError            a value the caller passed (also a ValueError)
│   ├── UnknownNameError  a name that no registry knows (also a KeyError)
│   └── DataError         a data file that is missing, truncated or not what it says
├── PlanError             a parameter that no rule covers; nothing was written
├── TraceError            the user's model raised while it was run; ``__cause__`` is their exception
├── UnhealthyError        raised by ``assert_healthy`` (also an AssertionError)
└── MissingExtraError     an optional dependency is not installed (also an ImportError)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "FaninError",
    "InputError",
    "MissingExtraError",
    "PlanError",
    "TraceError",
    "UnhealthyError",
    "UnknownNameError",
]


class FaninError(Exception):
    """Base of all errors that fanin raises on purpose."""


class InputError(FaninError, ValueError):
    """A value that the caller passed cannot be used."""

    @classmethod
    def of(cls, parameter: str, received: object, accepted: str, where: str = "") -> InputError:
        """Build the standard text: which parameter, what came, what would be accepted.

        Args:
            parameter: name of the argument or of the model parameter, as the caller knows it.
            received: the value (or a short description of it: a shape, a dtype).
            accepted: what would have been right, in words.
            where: optional context, such as the initializer or the file.
        """
        place = f" of {where}" if where else ""
        return cls(f"{parameter}{place}: got {received!r}; expected {accepted}.")


class UnknownNameError(InputError, KeyError):
    """A name that is not registered; the text lists the nearest and all known ones."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(name), names, n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        self.text = f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}."
        super().__init__(self.text)

    def __str__(self) -> str:  # KeyError would print the repr of the text
        return self.text


class DataError(InputError):
    """A data file is missing, truncated or of another format than it claims."""


class PlanError(FaninError):
    """A parameter cannot be planned; nothing was written."""


class TraceError(FaninError):
    """The user's model (or loss) raised while it was run; ``__cause__`` holds their exception."""


class UnhealthyError(FaninError, AssertionError):
    """``assert_healthy`` found errors."""


class MissingExtraError(FaninError, ImportError):
    """An optional dependency is needed for what was asked."""
