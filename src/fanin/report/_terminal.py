"""A report in the terminal: verdict, places, findings, what could not be looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from fanin.report._glyphs import decades, dot, number, rebin, sparkline
from fanin.report._places import Fold, Place, fold, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.checks import Finding
    from fanin.report._report import Report
    from fanin.report._screen import Screen

__all__ = ["show_report", "verdict"]

STYLE = {"error": "bold red", "warning": "bold yellow", "info": "bold blue", "": ""}
_LOSS = {"cross_entropy": "cross-entropy", "mse": "mean squared error", "custom": "your loss"}
_SHOWN_PLACES = 6


def show_report(report: Report, screen: Screen, *, all_places: bool = False) -> None:
    """Print a report.

    Args:
        report: the record.
        screen: where to print.
        all_places: every place, none folded away; by default ops with weights, at most about 24 rows.
    """
    screen.print(verdict(report))
    facts = _facts(report)
    if facts:
        screen.print(screen.text(facts, "dim"))
    rows = places(report, all_places=all_places)
    if rows:
        screen.print()
        screen.print(_table(rows, rows if all_places else fold(rows), screen))
    for finding in report.findings:
        screen.print()
        _finding(finding, screen)
    _not_looked_at(report, screen)


def verdict(report: Report) -> Text:
    """The first line: healthy or not, and how many findings of which severity."""
    counts = [
        f"{count} {word}{'' if count == 1 or word == 'info' else 's'}"
        for word in ("error", "warning", "info")
        if (count := report.count(word))
    ]
    passed = sum(outcome.status == "passed" for outcome in report.outcomes)
    skipped = sum(outcome.status == "skipped" for outcome in report.outcomes)
    rules = f"{passed} rule{'' if passed == 1 else 's'} passed" + (f", {skipped} skipped" if skipped else "")
    name = report.model or "model"
    if not report.ok:
        mark, said, style = "✗ ", f"{name} does not start healthy", "bold red"
    elif report.count("warning"):
        mark, said, style = "⚠ ", f"{name} can start, with care", "bold yellow"
    elif not passed:
        mark, said, style = "", f"{name}: nothing could be judged", "bold yellow"
    else:
        mark, said, style = "✓ ", f"{name} starts healthy", "bold green"
    return Text.assemble((mark, style), (said, style), f": {', '.join(counts) or 'no findings'}; {rules}")


def _facts(report: Report) -> str:
    facts = []
    if report.slots is not None:
        total = sum(math.prod(slot.shape) for slot in report.slots.values())
        facts.append(f"{total:,} parameters in {len(report.slots)} tensors")
    if report.graph is not None and report.graph.batch_size is not None:
        facts.append(f"batch of {report.graph.batch_size}")
    if report.loss is not None:
        facts.append(f"{_LOSS.get(report.loss_kind, 'loss')} {number(report.loss, 4)}")
    elif report.loss_kind == "cotangent":
        facts.append("no target: gradients start from a random unit vector")
    return " · ".join(facts)


@dataclass(frozen=True)
class _Column:
    """One column: its heading, what it shows of a row, and how."""

    heading: str
    cell: Callable[[Place], Text]
    justify: Literal["left", "right"] = "left"
    style: str = ""

    def width(self, rows: Sequence[Place]) -> int:
        """Columns of the screen that it needs, with the gap after it."""
        return max([len(self.heading), *(self.cell(row).cell_len for row in rows)]) + 1


def _table(rows: Sequence[Place], shown: Sequence[Place | Fold], screen: Screen) -> Table:
    columns = _columns(rows, screen)
    visible = [row for row in shown if isinstance(row, Place)]
    room = screen.width - sum(column.width(visible) for column in columns)
    names = {row.name: shortened(row.name, max(12, room - 1)) for row in visible}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0), expand=False)
    for index, column in enumerate(columns):
        if index == 1:
            table.add_column("place", overflow="fold")
        table.add_column(column.heading, justify=column.justify, no_wrap=True, style=column.style)
    for row in shown:
        if isinstance(row, Fold):
            table.add_row("⋮", screen.text(_hidden(row), "dim italic"))
            continue
        first, *others = (column.cell(row) for column in columns)
        table.add_row(first, screen.text(names[row.name]), *others)
    return table


def _columns(rows: Sequence[Place], screen: Screen) -> list[_Column]:
    """What fits: bars, histograms and theory go first where the screen is narrow. The place comes after the first."""
    width = screen.width
    spark = 0 if width < 56 else 12 if width < 100 else 24
    track = 0 if width < 72 else 9 if width < 100 else 15
    rms_scale, gradient_scale = (decades([getattr(row, key) for row in rows]) for key in ("rms", "gradient"))

    def bar(key: str, scale: tuple[int, int]) -> _Column:
        return _Column(
            _axis(scale, track), lambda row: _coloured(dot(getattr(row, key), scale, track), STYLE[row.worst])
        )

    columns = [_Column("#", lambda row: Text(str(row.depth)), "right", "dim")]
    if width >= 64:
        columns.append(_Column("then", lambda row: screen.text(row.then), style="dim"))
    columns.append(_Column("rms", lambda row: Text(number(row.rms), STYLE[row.worst]), "right"))
    if track:
        columns.append(bar("rms", rms_scale))
    if width >= 80 and any(row.parts for row in rows):
        columns.append(_Column("theory", lambda row: Text(number(row.predicted) if row.parts else ""), "right", "dim"))
    if spark:
        columns.append(_Column("values", lambda row: Text(_shape(row, spark)), style="cyan"))
    if any(row.gradient is not None for row in rows):
        columns.append(_Column("gradient", lambda row: Text(number(row.gradient), STYLE[row.worst]), "right"))
        if width >= 90:
            columns.append(bar("gradient", gradient_scale))
    if any(row.flags for row in rows):
        columns.append(_Column("", lambda row: Text(" ".join(row.flags), STYLE[row.worst])))
    return columns


def _shape(row: Place, width: int) -> str:
    return "" if row.histogram is None else sparkline(rebin(row.histogram.counts, width))


def shortened(name: str, room: int) -> str:
    """The end of a dotted path that fits, cut at a dot where there is one.

    Example:
        >>> shortened("encoder.layer.0.attention.query", 20)
        '….0.attention.query'
    """
    if len(name) <= room:
        return name
    tail = name[len(name) - room + 1 :]
    at = tail.find(".")
    return "…" + (tail[at:] if 0 <= at < len(tail) - 1 else tail)


def _axis(scale: tuple[int, int], width: int) -> str:
    left, right = f"1e{scale[0]}", f"1e{scale[1]}"
    return left + " " * max(1, width - len(left) - len(right)) + right


def _coloured(track: str, style: str) -> Text:
    text = Text(track, style="dim")
    for index, glyph in enumerate(track):
        if glyph in "●◂▸":
            text.stylize(style or "green", index, index + 1)
    return text


def _hidden(gap: Fold) -> str:
    words = f"{gap.count} more"
    if gap.rms is not None:
        low, high = map(number, gap.rms)
        words += f", rms {low}" if low == high else f", rms {low} to {high}"
    return words + (f", {gap.flagged} flagged" if gap.flagged else "")


def _finding(finding: Finding, screen: Screen) -> None:
    more = len(finding.also)
    where = finding.where or "the whole model"
    shown = ", ".join((where, *finding.also[: _SHOWN_PLACES - 1]))
    if more >= _SHOWN_PLACES:
        shown += f" and {more - _SHOWN_PLACES + 1} more"
    head = Text.assemble(
        (f"{finding.severity.upper():<8}", STYLE[finding.severity]),
        (f"{finding.code} {finding.category}", "bold"),
        ("  at ", "dim"),
        screen.text(shown),
    )
    screen.print(head, hang=9)
    screen.print(finding.message, indent=9)
    screen.print(Text.assemble(("fix: ", "bold green"), screen.text(finding.fix)), indent=9, hang=14)


def _not_looked_at(report: Report, screen: Screen) -> None:
    reasons: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        if outcome.status == "skipped":
            reasons.setdefault(outcome.reason or "no evidence", []).append(outcome.code)
    if reasons or report.notes:
        screen.print()
    for reason, codes in reasons.items():
        screen.print(
            Text.assemble(("skipped ", "bold dim"), (" ".join(codes), "dim"), screen.text(f": {reason}", "dim"))
        )
    for note in report.notes:
        screen.print(screen.text(f"note: {note}", "dim"))
    if report.findings:
        codes = list(dict.fromkeys(finding.code for finding in report.findings))
        screen.print()
        screen.print(screen.text(f"More: fanin explain {codes[0]}", "dim"))
