"""Act one: five layers, five ways to draw the weights, three activations; what each layer puts out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fanin.report import Report, number, sparkline, spread

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fanin.initializers import Initializer
    from fanin.report import Screen
    from fanin.signals import Signal

__all__ = ["Start", "build", "measure", "play"]

LAYERS, UNITS, INPUTS = 5, 100, 1000
ACTIVATIONS = ("sigmoid", "tanh", "relu")


@dataclass(frozen=True)
class Start:
    """One network as it was drawn.

    Args:
        activation: "sigmoid", "tanh" or "relu".
        label: how the weights were drawn, in words.
        report: what the check said.
        outputs: signal after each layer's activation, first layer first.
    """

    activation: str
    label: str
    report: Report
    outputs: tuple[Signal, ...]


def build(activation: str, initializer: Initializer | None, inputs: torch.Tensor, seed: int) -> nn.Module:
    """Five linear layers of 100 units, each followed by the activation; biases zero.

    Args:
        activation: "sigmoid", "tanh" or "relu".
        initializer: of every weight; None leaves all to ``fanin.init_``.
        inputs: the batch.
        seed: of the weights.
    """
    from torch import nn

    import fanin

    kinds = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
    linears = [nn.Linear(UNITS, UNITS) for _ in range(LAYERS)]
    model = nn.Sequential(*(layer for linear in linears for layer in (linear, kinds[activation]())))
    if initializer is None:
        fanin.init_(model, inputs, seed=seed, force=True)
        return model
    for index, linear in enumerate(linears):
        fans = fanin.fans.linear((UNITS, UNITS))
        fanin.fill_(linear.weight, initializer, seed=seed, name=f"layer{index}", fans=fans)
        nn.init.zeros_(linear.bias)
    return model


def measure(seed: int) -> list[Start]:
    """All fifteen networks, each checked on the same 1,000 normal inputs."""
    import torch

    import fanin
    from fanin.initializers import GlorotNormal, HeNormal, Normal

    inputs = torch.randn(INPUTS, UNITS, generator=torch.Generator().manual_seed(seed))
    ways: list[tuple[str, Initializer | None]] = [
        ("std 1", Normal(std=1.0)),
        ("std 0.01", Normal(std=0.01)),
        ("Xavier (Glorot & Bengio, 2010)", GlorotNormal()),
        ("He (He et al., 2015)", HeNormal()),
        ("fanin.init_ (looks at what follows each layer)", None),
    ]
    starts = []
    for label, initializer in ways:
        for activation in ACTIVATIONS:
            report = fanin.check(build(activation, initializer, inputs, seed), inputs, seed=seed)
            nodes = [] if report.graph is None else [n for n in report.graph.nodes if n.kind == "activation"]
            signals = (report.signals.at(node.place) for node in nodes)
            starts.append(Start(activation, label, report, tuple(s for s in signals if s is not None)))
    return starts


def play(screen: Screen, seed: int) -> None:
    """Measure and print."""
    starts = measure(seed)
    screen.rule("1  Five layers of 100 units, 1,000 inputs")
    screen.print(
        "What each layer puts out, as a histogram: sigmoid drawn over 0 … 1, tanh over −1 … 1, ReLU from 0 to the "
        "largest value of its five layers. The number is the standard deviation. Inputs are normal with variance 1. "
        "Heights are square roots of counts, so that tails stay visible."
    )
    for label in dict.fromkeys(start.label for start in starts):
        screen.print()
        screen.print(_block(label, [start for start in starts if start.label == label], screen))
    screen.print()
    _read_off(starts, screen)


def _block(label: str, starts: list[Start], screen: Screen) -> Table:
    margin = 8
    cell = (screen.width - margin) // len(starts) - 2
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    table.title = screen.text(f"weights: {label}", "bold")
    table.add_column("", width=margin - 2, no_wrap=True, style="dim")
    for start in starts:
        table.add_column(start.activation, width=cell, overflow="fold")
    ranges = [_range(start) for start in starts]
    for index in range(LAYERS):
        row = [Text(f"layer {index + 1}"[: margin - 2] if margin > 8 else f"{index + 1:>6}")]
        for start, (low, high) in zip(starts, ranges):
            signal = start.outputs[index]
            bars = "" if signal.histogram is None else _bars(signal, low, high, cell - 8)
            row.append(Text(bars, style="cyan") + Text(f" {number(signal.std, 2):>7}"))
        table.add_row(*row)
    table.add_row(Text("check"), *(_said(start, screen) for start in starts))
    return table


def _range(start: Start) -> tuple[float, float]:
    if start.activation == "sigmoid":
        return 0.0, 1.0
    if start.activation == "tanh":
        return -1.0, 1.0
    top = max((s.histogram.high for s in start.outputs if s.histogram is not None), default=1.0)
    return 0.0, top or 1.0


def _bars(signal: Signal, low: float, high: float, width: int) -> str:
    assert signal.histogram is not None
    return sparkline([math.sqrt(mass) for mass in spread(signal.histogram, low, high, width)])


def _said(start: Start, screen: Screen) -> Text:
    if not start.report.findings:
        return screen.text("✓ nothing", "green")
    worst = start.report.findings[0].severity
    style = {"error": "red", "warning": "yellow", "info": "blue"}[worst]
    words = (f"{category} {' '.join(codes)}" for category, codes in _categories(start).items())
    return screen.text(f"{'⚠' if start.report.ok else '✗'} {', '.join(words)}", style)


def _categories(start: Start) -> dict[str, list[str]]:
    """Kind of fault → the codes that found it."""
    found: dict[str, list[str]] = {}
    for finding in start.report.findings:
        codes = found.setdefault(finding.category, [])
        if finding.code not in codes:
            codes.append(finding.code)
    return found


def _read_off(starts: list[Start], screen: Screen) -> None:
    """What follows from the reports, in words."""
    from fanin.checks import rules

    titles = {rule.code: rule.title().rstrip(".") for rule in rules()}
    codes = sorted({finding.code for start in starts for finding in start.report.findings})
    for code in codes:
        screen.print(Text.assemble((code, "bold"), screen.text(f"  {titles.get(code, '')}")), indent=2, hang=8)
    screen.print()
    clean = sum(not start.report.findings for start in starts)
    screen.print(f"The check finds nothing wrong with {clean} of these {len(starts)} starts:")
    for activation in ACTIVATIONS:
        mine = [start for start in starts if start.activation == activation]
        said = []
        for start in mine:
            name = start.label.partition(" (")[0]
            fault = ", ".join(_categories(start))
            said.append(f"{name} ✗ {fault}" if fault else f"{name} ✓")
        line = screen.text(f"{activation}: ", "bold") + screen.text("; ".join(said))
        screen.print(line, indent=2, hang=4)
