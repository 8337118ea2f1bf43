"""The report: what is computed for drawing obeys laws; what is drawn fits the screen it is drawn on."""

from __future__ import annotations

import io
import json
import math
import os
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.checks import Finding, Outcome
from fanin.errors import InputError
from fanin.fans import linear
from fanin.graph import Graph, Node, ParamUse
from fanin.initializers import HeNormal, Zeros
from fanin.recipe import Kept, Line, Recipe
from fanin.report import (
    Report,
    Screen,
    line_chart,
    number,
    places,
    show_recipe,
    show_report,
    sparkline,
    spread,
    verdict,
)
from fanin.report._glyphs import dot, rebin
from fanin.report._places import Fold, fold
from fanin.report._screen import plain
from fanin.report._terminal import shortened
from fanin.signals import Histogram, Signal, Signals

GOLDEN = Path(__file__).parents[2] / "golden"


def chain(layers: int, factor: float = 0.5) -> tuple[Graph, Signals]:
    """A chain of linear maps and ReLUs whose signal is multiplied by ``factor`` at each layer."""
    draw = random.Random(0)
    nodes = [Node(0, "input", "input", "input", "", (), (), (32, 64), "float32", 0)]
    forward, backward = [], []
    for layer in range(layers):
        name, previous = f"layers.{2 * layer}", len(nodes) - 1
        use = ParamUse(f"{name}.weight", "weight", 1, (64, 64), (0, 1))
        nodes.append(Node(previous + 1, "linear", "linear", name, name, (previous,), (use,), (32, 64), "float32", 0))
        after = f"layers.{2 * layer + 1}"
        nodes.append(
            Node(previous + 2, "relu", "activation", after, after, (previous + 1,), (), (32, 64), "float32", 0)
        )
        values = [draw.gauss(0, 1) for _ in range(500)]
        counts = [0] * 64
        for value in values:
            counts[min(63, int((value + 4) / 8 * 64))] += 1
        for node, share in ((nodes[-2], 1.0), (nodes[-1], 0.6)):
            rms = share * factor**layer
            histogram = Histogram(-4 * rms, 4 * rms, tuple(counts))
            forward.append(Signal(node.place, node.id, "forward", "measured", 500, 0.0, rms * rms, histogram=histogram))
            gradient = 0.1 * factor ** (layers - layer)
            backward.append(Signal(node.place, node.id, "backward", "measured", 500, 0.0, gradient**2))
    return Graph(tuple(nodes), (len(nodes) - 1,), {"": "MLP"}, 32), Signals(forward + backward)


def report(layers: int = 6, *, sick: bool = True) -> Report:
    graph, signals = chain(layers, 0.25 if sick else 1.0)
    finding = Finding(
        "F101",
        "vanishing",
        "error",
        "layers.4",
        "the signal falls by √10⁷ × 3 over 6 layers → nothing is left ≥ 1e-6",
        "std √(2/fan_in): fanin.init_(model, x)",
        {"decades": 3.0, "first": math.inf},
        tuple(f"layers.{2 * i}" for i in range(3, layers)),
    )
    return Report(
        findings=[finding] if sick else [],
        outcomes=[
            Outcome("F101", "failed" if sick else "passed"),
            Outcome("F102", "passed"),
            Outcome("L401", "skipped", "no target was given"),
        ],
        signals=signals,
        graph=graph,
        loss=2.3026,
        loss_kind="cross_entropy",
        notes=["the batch is small"],
        model="MLP",
    )


def drawn(thing: Report, *, width: int = 80, ascii: bool | None = None, all_places: bool = False) -> str:  # noqa: A002
    out = io.StringIO()
    show_report(thing, Screen(out, width=width, ascii=ascii), all_places=all_places)
    return out.getvalue()


# -- the record


def test_ok_is_no_error() -> None:
    assert not report().ok
    assert report(sick=False).ok
    warned = Report([Finding("F104", "dead", "warning", "a", "", "")])
    assert warned.ok
    assert warned.count("warning") == 1
    assert isinstance(warned.findings, list)


def test_json_round_trip_is_strict() -> None:
    first = report()
    text = json.dumps(first.to_json(), allow_nan=False)
    back = Report.from_json(text)
    assert back.to_json() == first.to_json()
    assert back.signals == first.signals
    assert back.graph == first.graph
    with pytest.raises(InputError, match="format"):
        Report.from_json({**first.to_json(), "format": 99})


def test_save(tmp_path: Path) -> None:
    report().save(tmp_path / "r.json")
    assert Report.from_json((tmp_path / "r.json").read_text()).model == "MLP"
    for name in ("r.htm", "r", "r.json.gz"):
        with pytest.raises(InputError, match=r"ends in \.json"):
            report().save(tmp_path / name)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (Report([], [Outcome("F101", "passed")], model="M"), "✓ M starts healthy: no findings; 1 rule passed"),
        (Report([], [Outcome("F101", "skipped", "no batch")], model="M"), "M: nothing could be judged"),
        (Report([Finding("A", "b", "warning", "", "", "")], [], model="M"), "⚠ M can start, with care: 1 warning"),
        (Report([Finding("A", "b", "error", "", "", "")] * 2, [], model="M"), "✗ M does not start healthy: 2 errors"),
    ],
)
def test_verdict(thing: Report, says: str) -> None:
    assert verdict(thing).plain.startswith(says)


# -- numbers into characters


@given(st.floats(allow_nan=True), st.integers(2, 6))
def test_numbers_fit_their_column(value: float, digits: int) -> None:
    text = number(value, digits)
    assert len(text) <= digits + 7
    if math.isfinite(value) and 1e-300 < abs(value) < 1e300:  # subnormals lack digits, rounding up overflows
        assert math.isclose(float(text), value, rel_tol=0.51 * 10 ** (1 - digits))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=64), st.integers(1, 80))
def test_rebin_keeps_the_mass(counts: list[int], width: int) -> None:
    cells = rebin(counts, width)
    assert len(cells) == width
    assert math.isclose(sum(cells), sum(counts), abs_tol=1e-5)
    assert min(cells) >= 0


@given(
    st.lists(st.integers(0, 50), min_size=64, max_size=64),
    st.floats(-3, 3),
    st.floats(0, 5),
    st.integers(1, 40),
)
def test_spread_keeps_the_mass(counts: list[int], low: float, span: float, width: int) -> None:
    cells = spread(Histogram(low, low + span, tuple(counts)), -1.0, 1.0, width)
    assert len(cells) == width
    assert math.isclose(sum(cells), sum(counts), rel_tol=1e-6, abs_tol=1e-6)


def test_spread_puts_it_where_it_is() -> None:
    cells = spread(Histogram(0.0, 0.5, (1,) * 64), -1.0, 1.0, 4)
    assert cells == pytest.approx([0, 0, 64, 0])


@given(st.lists(st.floats(0, 1e6), max_size=70))
def test_sparkline_heights_follow_values(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    levels = [" ▁▂▃▄▅▆▇█".index(glyph) for glyph in line]
    for (a, b), (x, y) in zip(pairwise(values), pairwise(levels)):
        assert (a <= b) <= (x <= y)
    if max(values, default=0) > 0:
        assert max(levels) == 8


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_dots_keep_the_order(a: float, b: float) -> None:
    tracks = [dot(value, (-12, 12), 30) for value in sorted((a, b))]
    assert all(len(track) == 30 and track.count("●") == 1 for track in tracks)
    assert tracks[0].index("●") <= tracks[1].index("●")


def test_dots_at_the_edges() -> None:
    assert dot(0.0, (-2, 2), 5) == "◂····"
    assert dot(math.inf, (-2, 2), 5) == "····▸"
    assert dot(None, (-2, 2), 5).strip() == dot(math.nan, (-2, 2), 5).strip() == ""


# -- rows


def test_places_are_the_weights_or_everything() -> None:
    thing = report()
    assert [place.name for place in places(thing)] == [f"layers.{2 * i}" for i in range(6)]
    assert len(places(thing, all_places=True)) == 12
    assert {place.then for place in places(thing)} == {"relu"}
    flagged = [place.name for place in places(thing) if place.flags]
    assert flagged == ["layers.4", "layers.6", "layers.8", "layers.10"]
    assert all(not place.flags for place in places(report(sick=False)))


@pytest.mark.parametrize("where", ["layers.4", "layers.4.weight", "layers.5"])
def test_a_finding_marks_its_row_however_it_names_it(where: str) -> None:
    thing = report()
    moved = Finding(**{**thing.findings[0].__dict__, "where": where, "also": ()})
    rows = places(Report([moved], thing.outcomes, thing.signals, thing.graph))
    assert [row.name for row in rows if row.flags] == ["layers.4"]


@given(st.integers(1, 120), st.integers(3, 40))
@settings(max_examples=40, deadline=None)
def test_fold_loses_nothing_silently(count: int, most: int) -> None:
    rows = places(report(count))
    shown = fold(rows, most)
    kept = [row for row in shown if not isinstance(row, Fold)]
    hidden = sum(row.count for row in shown if isinstance(row, Fold))
    assert len(kept) + hidden == count
    assert [row.depth for row in kept] == sorted(row.depth for row in kept)
    assert kept[0] == rows[0]
    assert kept[-1] == rows[-1]
    codes = {code for row in rows for code in row.flags}
    assert codes == {code for row in kept for code in row.flags}
    smallest = min(rows, key=lambda row: row.rms or 0)
    assert smallest.rms in [row.rms for row in kept]


# -- drawing


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("layers", [1, 6, 60])
def test_nothing_is_wider_than_the_screen(width: int, layers: int) -> None:
    for line in drawn(report(layers), width=width).splitlines():
        assert len(line) <= width, line


def test_a_pipe_gets_no_colour_codes() -> None:
    assert "\x1b" not in drawn(report())
    out = io.StringIO()
    screen = Screen(out, width=80)
    screen.console._force_terminal = True
    screen.console._color_system = None
    assert out.getvalue() == ""


def test_ascii_screens_get_ascii() -> None:
    text = drawn(report(60), ascii=True, width=100)
    assert text.isascii()
    assert "sqrt" in text
    assert "->" in text
    assert "?" not in text  # every symbol in use has a spelling of its own
    assert not drawn(report(60), ascii=False, width=100).isascii()


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", True), ("latin-1", True), ("utf-8", False)])
def test_the_encoding_decides(encoding: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    report().show(file=out, width=80)
    out.flush()
    assert raw.getvalue().isascii() is expected


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_the_c_locale_decides(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    assert Screen(io.StringIO()).ascii
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert not Screen(io.StringIO()).ascii


@given(st.text())
def test_plain_is_ascii(text: str) -> None:
    assert plain(text).isascii()


def test_the_report_says_all_it_must() -> None:
    text = drawn(report())
    for part in (
        "does not start healthy",
        "F101 vanishing",
        "fix:",
        "skipped L401: no target was given",
        "32",
        "2.303",
    ):
        assert part in text
    assert "the batch is small" in text
    healthy = drawn(report(sick=False))
    assert "starts healthy" in healthy
    assert "fix:" not in healthy


@given(st.text("abc.", min_size=1, max_size=60), st.integers(8, 40))
def test_shortened_keeps_the_end(name: str, room: int) -> None:
    text = shortened(name, room)
    assert len(text) <= room
    assert name.endswith(text.removeprefix("…"))
    assert (text == name) == (len(name) <= room)


def test_markup_in_names_is_text() -> None:
    odd = Report([Finding("F101", "x", "error", "blocks[0]", "a [bold]word[/] and [/red]", "do [it]")], model="[M]")
    text = drawn(odd)
    assert "[M] does not" in text
    assert "[bold]word[/] and [/red]" in text


def test_golden_report() -> None:
    """The whole drawing at 80 columns; FANIN_WRITE_GOLDEN=1 writes it anew after a wanted change."""
    path = GOLDEN / "report.txt"
    text = drawn(report(30))
    if os.environ.get("FANIN_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "changed: look at it, then run once with FANIN_WRITE_GOLDEN=1"


def test_show_recipe() -> None:
    recipe = Recipe(
        [
            Line("a.weight", HeNormal(), "He: fan_in 64, relu follows", (32, 64), linear((32, 64))),
            Line("a.bias", Zeros(), "bias: 0", (32,), linear((32, 1))),
        ],
        kept=[Kept("a.scale", "the model's own design")],
        scheme="auto",
        notes=["a remark"],
    )
    for width in (60, 80, 130):
        out = io.StringIO()
        show_recipe(recipe, Screen(out, width=width))
        text = out.getvalue()
        assert all(len(line) <= width for line in text.splitlines())
        flat = re.sub(r"\s+", " ", text)
        for part in ("a.weight", "0.1768", "a.scale: the model's own design", "Note: a remark", "bias: 0"):
            assert part in flat


# -- curves


def chart(series: dict[str, tuple[list[float], list[float]]], **options: object) -> list[str]:
    return [line.plain for line in line_chart(series, width=60, height=8, **options)]  # type: ignore[arg-type]


def test_a_rising_line_rises() -> None:
    rows = chart({"up": ([0, 1, 2], [0, 1, 2])}, letters=True)
    columns = {row: line.index("a", 8) for row, line in enumerate(rows[:8])}
    assert all(columns[row] > columns[row + 1] for row in range(7))
    falling = chart({"down": ([0, 1, 2], [2, 1, 0])}, letters=True)
    assert falling[0].index("a") < falling[7].index("a")


def test_gaps_and_nothing() -> None:
    rows = chart({"gap": ([0, 1, 2, 3], [1.0, math.nan, math.inf, 2.0]), "none": ([0], [math.nan])}, letters=True)
    assert any("none: no finite value" in line for line in rows)
    assert chart({"none": ([0], [math.nan])}) == ["chart: no finite value to draw"]
    assert len(chart({"flat": ([0, 1], [3.0, 3.0])})) == 8 + 3


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=30), st.booleans())
@settings(max_examples=30, deadline=None)
def test_charts_stay_in_their_frame(points: list[tuple[float, float]], letters: bool) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    for line in chart({"any": (xs, ys)}, letters=letters):
        assert len(line) <= 60
