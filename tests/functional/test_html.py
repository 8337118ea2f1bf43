"""The page a person gets: complete, offline, navigable; parsed here and opened in a real browser where there is one."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import nn

import fanin
from fanin.checks import Finding
from fanin.report import Report
from fanin.report._html import report_fragment, report_page
from fanin.report._notebook import VEGA_LITE
from fanin.report.figures import Figure

DRAWS = importlib.util.find_spec("vl_convert") is not None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag and kind in [*attrs.get("class", "").split(), ""]]


def deep() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(32, 32), nn.ReLU())], nn.Linear(32, 10))
    x, y = torch.randn(32, 32), torch.randint(0, 10, (32,))
    return replace(fanin.check(model, x, y), recipe=fanin.plan(model, x, y))


@pytest.fixture(scope="module")
def report() -> Report:
    return deep()


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return report_page(report)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def loads(text: str) -> list[str]:
    """Everything in a page that a browser would fetch."""
    found = [
        value
        for tag, attrs in Page(text).tags
        for key, value in attrs.items()
        if (key in {"src", "srcset", "data", "poster", "action", "xlink:href"} or (key == "href" and tag != "a"))
        and not value.startswith(("#", "data:,"))
    ]
    found += [url for url in re.findall(r"url\(\s*['\"]?([^'\")]+)", text) if not url.startswith("#")]
    return found + re.findall(r"@import[^;]+", text)


def test_nothing_is_loaded(text: str, page: Page) -> None:
    assert loads(text) == []
    assert "http://" not in text
    assert "https://" not in text
    assert not page.of("script")
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    [policy] = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_what_would_be_loaded_is_noticed() -> None:
    assert loads('<img src="https://a/b.png"><link href="x.css"><style>@import "y";a{b:url(z)}</style>') == [
        "https://a/b.png",
        "x.css",
        "z",
        '@import "y"',
    ]


def test_well_formed(page: Page) -> None:
    assert page.unbalanced == []
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    targets = [attrs["href"][1:] for attrs in page.of("a")]
    assert targets
    assert set(targets) <= set(ids)


def test_headings_go_down_one_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_verdict_first_then_findings_with_place_and_picture(page: Page, text: str, report: Report) -> None:
    assert "does not start healthy" in text[text.index("<h1>") : text.index("</h1>")]
    assert text.index("<h1>") < text.index('id="findings"') < text.index('id="network"') < text.index('id="plan"')
    finding = text[text.index('id="finding-1"') : text.index("</article>")]
    assert report.findings[0].code in finding
    assert 'href="#layer-1"' in finding
    assert "Fix:" in finding
    assert 'href="#figure-variance"' in finding


def test_every_layer_has_its_row(page: Page, report: Report) -> None:
    rows = [attrs["id"] for attrs in page.of("tr") if attrs.get("id", "").startswith("layer-")]
    assert rows == [f"layer-{k}" for k in range(1, 22)]
    assert len(page.of("svg", "shape")) == 21
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in page.of("svg"))


def test_every_chart_has_a_table_and_can_be_reached_by_keyboard(page: Page, text: str) -> None:
    charts = text.split('<figure class="chart"')[1:]
    assert len(charts) >= 8
    for chart in charts:
        body = chart[: chart.index("</figure>")]
        assert "<details" in body
        assert "<summary>" in body
        assert "<table" in body
        assert '<th scope="col">' in body
        assert body.count('tabindex="0"') >= 1
    assert all(attrs.get("aria-label") for _, attrs in page.tags if attrs.get("tabindex") == "0")
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_the_same_report_gives_the_same_page(report: Report, text: str) -> None:
    assert report_page(report) == text


def test_hostile_names_stay_text() -> None:
    evil = "<script>alert(1)</script>\"'onload=x"
    torch.manual_seed(0)
    model = nn.Sequential()
    for k in range(3):
        model.add_module(f"{evil}{k}", nn.Linear(8, 8))
    model.add_module("act", nn.ReLU())
    model.add_module("act2", nn.ReLU())
    made = fanin.check(model, torch.randn(4, 8))
    finding = Finding("F101", evil, "error", f"{evil}0", evil, evil, {evil: 1.0}, (evil,))
    hostile = replace(made, findings=[finding], notes=[evil], model=evil, recipe=fanin.plan(model, torch.randn(4, 8)))
    text = report_page(hostile)
    page = Page(text)
    assert not page.of("script")
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert page.unbalanced == []
    assert loads(text) == []


def test_without_the_converter_the_page_says_how_to_get_charts(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.report._html_charts.available", lambda: False)
    monkeypatch.setattr("fanin.report._html.available", lambda: False)
    text = report_page(report)
    page = Page(text)
    assert "pip install 'fanin[figures]'" in text
    assert page.unbalanced == []
    assert len(page.of("svg", "lines")) >= 3
    assert text.count("<table") >= 8


@pytest.mark.skipif(not DRAWS, reason="vl-convert-python is not installed")
def test_with_the_converter_charts_are_inline(text: str) -> None:
    assert text.count('<svg role="img"') >= 8
    assert "fanin[figures]" not in text
    assert "var(--fanin-series-0," in text
    phase = text[text.index('id="figure-phase"') :]
    drawn = phase[phase.index("<svg") : phase.index("</svg>")]
    assert "var(" not in drawn, "colours that stand for numbers do not follow the screen"


class Block(nn.Module):
    """A bottleneck block of ResNet-50 (He et al., 2015)."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow)
        self.conv2, self.bn2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow)
        self.conv3, self.bn3 = nn.Conv2d(narrow, 4 * narrow, 1, bias=False), nn.BatchNorm2d(4 * narrow)
        same = wide == 4 * narrow
        self.downsample = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(wide, 4 * narrow, 1), nn.BatchNorm2d(4 * narrow))
        )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.downsample(x))


def test_a_page_of_resnet50_is_small() -> None:
    """As many layers, parameters and nonlinearities as ResNet-50; only narrower, which changes no page."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    wide = 8
    for blocks, narrow in ((3, 8), (4, 16), (6, 24), (3, 32)):
        for _ in range(blocks):
            layers.append(Block(wide, narrow))
            wide = 4 * narrow
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000))
    x, y = torch.randn(4, 3, 12, 12), torch.randint(0, 1000, (4,))
    made = replace(fanin.check(model, x, y), recipe=fanin.plan(model, x, y))
    text = report_page(made)
    assert text.count('<tr id="layer-') == 54
    assert len(text.encode()) <= 2_000_000


def test_saved(report: Report, text: str, tmp_path: Path) -> None:
    report.save(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == text
    picture = report.figure("gradients")
    picture.save(tmp_path / "g.html")
    made = Page((tmp_path / "g.html").read_text(encoding="utf-8"))
    assert made.unbalanced == []
    assert loads((tmp_path / "g.html").read_text(encoding="utf-8")) == []
    assert len(made.of("table")) == 1


def test_notebook_bundles(report: Report) -> None:
    bundle = report._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert "does not start healthy" in bundle["text/plain"]
    assert "<html" not in bundle["text/html"]
    assert Page(bundle["text/html"]).unbalanced == []
    assert report_fragment(report) == bundle["text/html"]
    picture = Figure.example("gradients")._repr_mimebundle_()
    assert set(picture) >= {VEGA_LITE, "text/html", "text/plain"}
    assert ("image/png" in picture) is DRAWS
    assert picture[VEGA_LITE]["$schema"].endswith("v5.json")
    json.dumps(picture)


# -- in a real browser


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A proxy that forwards nothing and remembers which hosts were asked for."""
    hosts: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                try:
                    line = connection.recv(4096).decode("latin-1").split("\r\n")[0]
                    hosts.append(line)
                    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1], hosts
    finally:
        stop.set()
        thread.join()
        server.close()


def browse(path: Path, folder: Path) -> tuple[str, list[str]]:
    """The page as the browser has it, and the requests it made."""
    assert CHROMIUM is not None
    quiet = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    quiet += " disable-component-update disable-sync disable-dev-shm-usage disable-extensions"
    folder.mkdir()
    with listening() as (port, requests):
        done = subprocess.run(
            [
                CHROMIUM,
                *(f"--{flag}" for flag in quiet.split()),
                f"--proxy-server=127.0.0.1:{port}",
                f"--user-data-dir={folder}",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return done.stdout, [line for line in requests if "probe.invalid" in line or not _own(line)]


def _own(line: str) -> bool:
    """Requests that a browser makes for itself, whatever page is open."""
    return bool(re.search(r"\b[\w.-]*(google|gstatic|googleapis|gvt1)\.com\b", line))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_asks_for_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text(text, encoding="utf-8")
    dom, requests = browse(tmp_path / "r.html", tmp_path / "one")
    assert "does not start healthy" in dom
    assert dom.count("<svg") == text.count("<svg")
    assert requests == []
    probe = '<!doctype html><img src="http://probe.invalid/x.png"><p>loaded</p>'
    (tmp_path / "probe.html").write_text(probe, encoding="utf-8")
    dom, requests = browse(tmp_path / "probe.html", tmp_path / "two")
    assert "loaded" in dom
    assert any("probe.invalid" in line for line in requests), "this browser's requests would not have been seen"
