"""Explain a rule: what it sees, why it matters, an example, what to do, its thresholds and sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("rule", help="a code (F101), a name (vanishing-forward) or a category (vanishing)")


def run(arguments: argparse.Namespace) -> None:
    """Print the page of each rule that is meant."""
    from fanin.checks import rules
    from fanin.errors import UnknownNameError
    from fanin.report import Screen

    wanted = arguments.rule.strip()
    known = rules()
    found = [rule for rule in known if wanted.upper() == rule.code or wanted.lower() == rule.name]
    found = found or [rule for rule in known if wanted.lower() == rule.category]
    if not found:
        raise UnknownNameError("rule", wanted, [word for rule in known for word in (rule.code, rule.name)])
    screen = Screen()
    for index, rule in enumerate(found):
        if index:
            screen.print()
        screen.rule(f"{rule.code} {rule.name} ({rule.severity})")
        for text, hang in _flowed(rule.explanation()):
            line = screen.text(text)
            if hang == 0 and text.endswith(":"):
                line.stylize("bold")
            screen.print(line, indent=hang)
        if rule.thresholds:
            screen.print()
            defaults = ", ".join(f"{rule.code}.{name} = {value:g}" for name, value in rule.thresholds.items())
            screen.print(f"Defaults: {defaults}")


def _flowed(page: str) -> Iterator[tuple[str, int]]:
    """Paragraphs as (text, indent): lines are joined so that they wrap at the screen's width, code is left as it is."""
    paragraph: list[str] = []
    indent, code = 0, False
    lines = page.rstrip().splitlines()
    for index, line in enumerate([*lines, ""]):
        text = line.strip()
        here = len(line) - len(line.lstrip())
        heading = here == 0 and text.endswith(":")
        if paragraph and (not text or heading or code or here != indent or text.startswith(("- ", "* "))):
            yield " ".join(paragraph), indent
            paragraph = []
        if not text:
            if index < len(lines):
                yield "", 0
            continue
        if heading:
            code = text == "Example:"
            yield text, 0
            continue
        paragraph, indent = [*paragraph, text], here
