"""Every figure of the registry, unasked: plain data, a valid specification in both themes, a table, a picture."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fanin.errors import InputError, UnknownNameError
from fanin.report.figures import REGISTRY, THEMES, Figure, figure, names
from fanin.report.figures._base import SCHEMA, Kind, log_axis, log_scale, series_channels, short_names, thinned
from fanin.report.figures._render import svg, themed

DRAWS = importlib.util.find_spec("vl_convert") is not None
needs_drawing = pytest.mark.skipif(not DRAWS, reason="vl-convert-python is not installed")


@cache
def example(name: str) -> Figure:
    return Figure.example(name)


@cache
def validator() -> Any:
    """The published schema of Vega-Lite 5, read from altair's package without importing it."""
    jsonschema = pytest.importorskip("jsonschema")
    found = importlib.util.find_spec("altair")
    if found is None or not found.submodule_search_locations:
        pytest.skip("altair is not installed")
    path = Path(found.submodule_search_locations[0]) / "vegalite" / "v5" / "schema" / "vega-lite-schema.json"
    if not path.exists():
        pytest.skip("this altair does not speak Vega-Lite 5")
    return jsonschema.Draft7Validator(json.loads(path.read_text()))


def walked(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for entry in node:
            yield from walked(entry)


@pytest.mark.parametrize("name", names())
def test_data_is_plain_and_complete(name: str) -> None:
    data = example(name).data
    json.dumps(data, allow_nan=False)
    assert data["title"]
    assert data["subtitle"]
    assert isinstance(data["source"], str)
    assert data["rows"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", names())
def test_specification(name: str, theme: str) -> None:
    spec = example(name).spec(theme)
    text = json.dumps(spec, allow_nan=False)
    assert spec["$schema"] == SCHEMA
    assert spec["data"] == {"name": "rows"}
    assert spec["datasets"]["rows"] == example(name).data["rows"]
    assert " ".join(spec["title"]["text"]) == example(name).title
    assert '"url"' not in text
    assert text.count("http") == 1, "only the name of the schema"
    other = THEMES["dark" if theme == "light" else "light"]
    assert other.text not in text
    assert other.series[0] not in text


@pytest.mark.parametrize("name", names())
def test_axes_say_what_they_measure(name: str) -> None:
    """One x and one y axis have a title, unless the figure is of small panels, whose headings say it."""
    spec = example(name).spec()
    titles = {
        channel: [
            node[channel].get("title")
            for node in walked(spec)
            if isinstance(node.get(channel), dict) and ("field" in node[channel] or "datum" in node[channel])
        ]
        for channel in ("x", "y")
    }
    if "vconcat" in spec:
        assert example(name).data["subtitle"]
        return
    assert any(titles["x"]), titles
    labelled = any((node.get("axis") or {}).get("labelExpr") for node in walked(spec) if "axis" in node)
    assert any(titles["y"]) or labelled or name == "heatmap", titles


@pytest.mark.parametrize("name", names())
def test_specification_obeys_the_published_schema(name: str) -> None:
    spec = example(name).spec()
    spec["datasets"] = {key: rows[:3] for key, rows in spec["datasets"].items()}
    errors = sorted(validator().iter_errors(spec), key=lambda error: len(error.path))
    assert not errors, errors[0].message[:500]


def test_the_schema_would_object() -> None:
    spec = example("gradients").spec()
    spec["layer"][0]["mark"] = {"type": "scribble"}
    assert list(validator().iter_errors({**spec, "datasets": {}}))


@pytest.mark.parametrize("name", names())
def test_table_holds_the_numbers(name: str) -> None:
    headings, rows = example(name).table()
    assert len(set(headings)) == len(headings)
    assert rows
    assert all(len(row) == len(headings) for row in rows)


@needs_drawing
@pytest.mark.parametrize("name", names())
def test_drawn_without_a_mishap(name: str) -> None:
    drawing = svg(example(name).spec("dark"))
    assert drawing.startswith("<svg")
    assert "NaN" not in drawing
    assert "Infinity" not in drawing
    assert example(name).title.split()[0].rstrip(":;,") in drawing
    assert drawing == svg(example(name).spec("dark"))


@needs_drawing
@pytest.mark.parametrize(
    ("suffix", "magic"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".json", b"{")]
)
def test_saved(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    example("gradients").save(path)
    assert path.read_bytes().startswith(magic)


def test_saved_as_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg.*\.html"):
        example("gradients").save(tmp_path / "x.gif")
    assert not list(tmp_path.iterdir())


def test_without_the_converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from fanin.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingExtraError, match=r"fanin\[figures\]"):
        example("gradients").save(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
    example("gradients").save(tmp_path / "x.json")


@needs_drawing
def test_a_page_can_change_the_colours_of_a_drawing() -> None:
    drawing = themed(svg(example("gradients").spec()), THEMES["light"])
    assert f'"var(--fanin-series-0,{THEMES["light"].series[0]})"' in drawing
    assert f'="{THEMES["light"].series[0]}"' not in drawing


def test_no_two_roles_share_a_colour() -> None:
    for theme in THEMES.values():
        colours = list(theme.roles().values())
        assert len(set(colours)) == len(colours)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_contrast(name: str) -> None:
    """WCAG 2: 4.5 for text, 3 for graphics; neighbouring series also differ in grey."""
    theme = THEMES[name]
    assert all(contrast(colour, theme.background) >= 4.5 for colour in (theme.text, theme.dim, theme.good, theme.bad))
    assert all(contrast(colour, theme.background) >= 3 for colour in (*theme.series, theme.rule))
    assert all(contrast(a, b) >= 1.2 for a, b in zip(theme.series, theme.series[1:]))
    ramp = [luminance(colour) for colour in theme.ramp]
    assert ramp == sorted(ramp), "a ramp must be readable in grey"
    darkest_on_dark = contrast(theme.ramp[0], theme.background)
    assert name == "light" or darkest_on_dark >= 1.9


def test_registry() -> None:
    assert REGISTRY.names() == names()
    assert all(isinstance(kind, Kind) and kind.shows and kind.takes for kind in REGISTRY.values())
    with pytest.raises(ValueError, match="twice"):
        REGISTRY.add("gradients", REGISTRY["gradients"])
    with pytest.raises(UnknownNameError, match="gradients"):
        figure("gradient", [])
    with pytest.raises(UnknownNameError, match="light"):
        example("gradients").spec("sepia")


def test_log_axes() -> None:
    scale = log_scale([3e-9, 0.4, 0.0, None])
    assert scale["domain"] == pytest.approx([1e-9, 1.0])
    axis = log_axis(scale)
    assert axis["values"][-1] == 1.0
    assert all(value == float(f"{value:.0e}") for value in axis["values"])
    tight = log_scale([0.13, 4.0], tight=True)
    assert tight["domain"] == [0.1, 5.0]
    assert log_axis(tight)["values"] == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    assert log_scale([])["domain"] == pytest.approx([0.1, 10.0])


def test_channels_beyond_six_series_stay_apart() -> None:
    many = [f"s{k}" for k in range(12)]
    channels = series_channels(many, THEMES["light"])
    ways = list(zip(*(channels[key]["scale"]["range"] for key in ("color", "shape"))))
    assert len(set(ways)) == 12
    assert series_channels(["one"], THEMES["light"]) == {}


def test_thinned_and_short() -> None:
    assert thinned(list(range(100)), 5) == [0, 25, 50, 74, 99]
    with pytest.raises(InputError):
        thinned([1], 1)
    assert short_names(["a.b", "x" * 40], 10) == ["a.b", "…" + "x" * 9]


def test_the_page_of_figures_is_up_to_date() -> None:
    import runpy

    folder = Path(__file__).parents[4] / "docs"
    text = runpy.run_path(str(folder / "_figures.py"))["text"]()
    assert (folder / "figures.md").read_text(encoding="utf-8") == text, "run: python docs/_figures.py"
