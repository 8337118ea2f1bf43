"""One clear message for what went wrong; the user's own frames last, ours never."""

from __future__ import annotations

import traceback
from pathlib import Path

__all__ = ["describe"]

_OURS = str(Path(__file__).parents[1])
_MACHINERY = ("<frozen importlib", "<frozen runpy", "/importlib/", "/torch/", "\\torch\\")


def describe(error: BaseException, command: str = "") -> str:
    """The message of an error and, where the user's code raised, where that was.

    Args:
        error: what fanin raised; its cause, if any, came from the user's code.
        command: the command that was running.
    """
    prefix = f"fanin {command}".strip()
    lines = [f"{prefix}: {error}"]
    cause = _first_cause(error)
    if cause is not None:
        frames = _users(traceback.extract_tb(cause.__traceback__))
        if isinstance(cause, SyntaxError):
            lines += [line.rstrip() for line in traceback.format_exception_only(cause)]
        elif frames:
            lines += ["", "in your code:"]
            lines += [line.rstrip() for line in traceback.format_list(frames)]
            lines += [line.rstrip() for line in traceback.format_exception_only(cause)]
    return "\n".join(lines)


def _first_cause(error: BaseException) -> BaseException | None:
    cause = error.__cause__
    while cause is not None and cause.__cause__ is not None and str(cause.__traceback__).startswith(_OURS):
        cause = cause.__cause__
    return cause


def _users(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [
        frame
        for frame in frames
        if not frame.filename.startswith(_OURS) and not any(part in frame.filename for part in _MACHINERY)
    ]
