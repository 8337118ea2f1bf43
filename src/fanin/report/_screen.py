"""Screen: one way to print that suits terminals, pipes, notebooks and encodings that know only ASCII."""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text

__all__ = ["Screen", "plain"]

_PROBE = "▁█·×─●⣿…σ"

_WORDS = {
    "√(": "sqrt(",
    "√": "sqrt ",
    "∞": "inf",
    "→": "->",
    "←": "<-",
    "⇒": "=>",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "≈": "~",
    "±": "+-",
    "∏": "prod ",
    "∑": "sum ",
    "∫": "int ",
    "∂": "d",
    "∈": "in",
    "‖": "||",
    "⟨": "<",
    "⟩": ">",
    "⟂": "perp",
    "⊥": "perp",
    "∥": "par",
    "′": "'",
    "″": "''",
    "⌈": "ceil(",
    "⌉": ")",
    "⌊": "floor(",
    "⌋": ")",
    "∝": "~",
    "⊙": "*",
    "…": "...",
    "✓": "ok",
}
"""Free text may grow when it is spelled out; the layout comes after."""

_GLYPHS = str.maketrans(
    {
        **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#")),
        **dict.fromkeys("─━═╌┄", "-"),
        **dict.fromkeys("│┃║╎", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛", "+"),
        "·": ".",
        "●": "o",
        "○": "o",
        "◂": "<",
        "▸": ">",
        "×": "x",
        "→": ">",
        "←": "<",
        "−": "-",
        "–": "-",
        "—": "-",
        "…": "~",
        "⋮": ":",
        "✓": "+",
        "✗": "x",
        "⚠": "!",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
    }
)
"""One character for one, so that a finished layout keeps its columns."""


_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵏⁿ", "0123456789-+Tkn"))


def plain(text: str) -> str:
    """The text in ASCII: symbols and Greek letters spelled out, drawing characters replaced one for one.

    What has no spelling becomes ``?``.

    Example:
        >>> plain("std 2σ → 3 × 10⁻⁹ ▁█, √(½)")
        'std 2sigma -> 3 x 10^-9 _#, sqrt(1/2)'
    """
    for symbol, word in _WORDS.items():
        text = text.replace(symbol, word)
    raised = f"[{''.join(_RAISED)}]+"
    text = re.sub(raised, lambda match: "^" + "".join(_RAISED[glyph] for glyph in match.group()), text)
    return _only_ascii("".join(glyph if glyph.isascii() else _spelled(glyph) for glyph in text))


def _spelled(glyph: str) -> str:
    """A Greek letter by its name, an accented or subscript one by its base; anything else unchanged."""
    if ord(glyph) in _GLYPHS:
        return glyph
    greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(glyph, ""))
    if greek:
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    base = unicodedata.normalize("NFKD", glyph).replace("\u2044", "/")
    return "".join(part for part in base if part.isascii()) or glyph


def _only_ascii(text: str) -> str:
    return text.translate(_GLYPHS).encode("ascii", "replace").decode("ascii")


class _AsciiWriter(io.TextIOBase):
    """A file that receives what is left of a finished layout in ASCII."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "ascii"

    def write(self, text: str) -> int:
        self._target.write(_only_ascii(text))
        return len(text)

    def flush(self) -> None:
        self._target.flush()

    def isatty(self) -> bool:
        return self._target.isatty()

    def fileno(self) -> int:
        return self._target.fileno()


class Screen:
    """Where a drawing goes.

    Args:
        file: an open text file; standard output by default.
        width: columns; those of the terminal by default (80 in a pipe, or what COLUMNS says).
        ascii: force (True) or forbid (False) the ASCII form; by default it is used where the encoding of the file
            cannot show block characters, or the environment names the C or POSIX locale.
    """

    def __init__(self, file: IO[str] | None = None, *, width: int | None = None, ascii: bool | None = None) -> None:  # noqa: A002
        target = sys.stdout if file is None else file
        self.ascii = _needs_ascii(target) if ascii is None else ascii
        where: Any = _AsciiWriter(target) if self.ascii else file
        self.console = Console(
            file=cast("IO[str] | None", where), width=width, highlight=False, emoji=False, markup=False
        )
        self.width = min(self.console.width, 140)

    def text(self, text: str, style: str = "") -> Text:
        """Free text in the alphabet of this screen."""
        return Text(plain(text) if self.ascii else text, style=style)

    def print(self, *things: Any, indent: int = 0, hang: int | None = None) -> None:
        """Print text, wrapped at the width, or anything that rich can draw.

        Args:
            things: strings, rich Texts or other rich drawings; an empty line where there is none.
            indent: columns before every line of a text.
            hang: columns before its second and further lines; ``indent`` by default.
        """
        for thing in things or ("",):
            drawn = self.text(thing) if isinstance(thing, str) else thing
            if not isinstance(drawn, Text):
                self.console.print(drawn, width=self.width)
                continue
            later = indent if hang is None else hang
            room = max(20, self.width - max(indent, later))
            for index, line in enumerate(drawn.wrap(self.console, room, tab_size=4)):
                line.rstrip()
                self.console.print(Text(" " * (later if index else indent)) + line, soft_wrap=True)

    def rule(self, title: str) -> None:
        """A heading."""
        line = "─" * max(0, self.width - len(title) - 4)
        self.console.print(Text.assemble(("── ", "dim"), (str(self.text(title)), "bold"), (f" {line}", "dim")))


def _needs_ascii(target: IO[str]) -> bool:
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    if locale in ("C", "POSIX"):
        return True
    encoding = getattr(target, "encoding", None)
    if encoding is None:  # a StringIO holds any character
        return False
    try:
        _PROBE.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False
