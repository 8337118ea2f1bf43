"""Act two: thirty ReLU layers on handwritten digits from three starts; what each start is, then what it learns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fanin.report import Report, decades, dot, line_chart, number, verdict

if TYPE_CHECKING:
    from torch import nn

    from fanin.compare import Curve
    from fanin.data import Dataset
    from fanin.report import Screen

__all__ = ["Contender", "build", "conclude", "play"]

DEPTH, WIDTH = 30, 100
RATES = (0.003, 0.01, 0.03, 0.1)
EPOCHS, BATCH = 20, 64
REPEATS = 3

STARTS = {
    "torch's default": None,
    "Xavier": "glorot",
    "fanin.init_": "auto",
}
"""Name → scheme; None leaves what the constructor of nn.Linear drew."""


@dataclass(frozen=True)
class Contender:
    """One start and all that came of it.

    Args:
        name: of the start.
        report: of the check before training.
        rates: learning rate → curve of the first seed.
        rate: the one with the lowest training loss at the end.
        repeats: curves at that rate, one per seed.
    """

    name: str
    report: Report
    rates: dict[float, Curve]
    rate: float
    repeats: tuple[Curve, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each repeat; a diverged one counts as 0."""
        return tuple(curve.test_accuracy or 0.0 for curve in self.repeats)

    @property
    def mean(self) -> float:
        """Mean of them."""
        return sum(self.accuracies) / len(self.accuracies)


def build(seed: int) -> nn.Module:
    """64 pixels → 29 hidden layers of 100 units with ReLU → 10 classes; torch's own start."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = [layer for _ in range(DEPTH - 2) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), *hidden, nn.Linear(WIDTH, 10))


def start(name: str, data: Dataset, seed: int) -> nn.Module:
    """The network from one of the starts."""
    import fanin

    model, scheme = build(seed), STARTS[name]
    if scheme is not None:
        fanin.init_(model, data.batch(256, seed=seed).inputs, scheme=scheme, seed=seed, force=True)
    return model


def contend(name: str, data: Dataset, seed: int) -> Contender:
    """Check one start, find its learning rate, repeat it."""
    import fanin
    from fanin.compare import train

    batch = data.batch(256, seed=seed)
    report = fanin.check(start(name, data, seed), batch.inputs, batch.target, seed=seed)

    def run(rate: float, run_seed: int) -> Curve:
        model = start(name, data, run_seed)
        return train(model, data, lr=rate, epochs=EPOCHS, batch_size=BATCH, seed=run_seed)

    rates = {rate: run(rate, seed) for rate in RATES}
    best = min(RATES, key=lambda rate: _end(rates[rate]))
    repeats = (rates[best], *(run(best, seed + extra) for extra in range(1, REPEATS)))
    return Contender(name, report, rates, best, repeats)


def _end(curve: Curve) -> float:
    """Training loss over the last updates; infinite where it diverged, so that such a rate is never chosen."""
    return math.inf if curve.diverged else curve.smoothed()[-1]


def play(screen: Screen, seed: int) -> None:
    """Measure and print."""
    from fanin.data import load

    data = load("digits").flat()
    screen.rule(f"2  {DEPTH} layers with ReLU, handwritten digits")
    screen.print(
        f"{data.source}: {len(data.train_x):,} images to train on, {len(data.test_x):,} to test on. The same network "
        f"from three starts; the last one is a single line: fanin.init_(model, x)."
    )
    screen.print()
    contenders = []
    with screen.console.status("", spinner="line") as status:
        for name in STARTS:
            status.update(f"training from {name}: {len(RATES)} learning rates, then {REPEATS - 1} more seeds")
            contenders.append(contend(name, data, seed))
    _depths(contenders, screen)
    for contender in contenders:
        screen.print(verdict(replace(contender.report, model=contender.name)), hang=2)
        for finding in contender.report.findings:
            screen.print(f"{finding.code} {finding.category}: {finding.message}", indent=4, hang=9)
    screen.print()
    screen.print(
        f"Plain SGD, {EPOCHS} epochs, batches of {BATCH}. Each start gets the learning rate, of "
        f"{', '.join(f'{rate:g}' for rate in RATES)}, at which it trains best, and then {REPEATS} seeds."
    )
    screen.print()
    _curves(contenders, screen)
    screen.print()
    _scores(contenders, screen)
    screen.print()
    for line in conclude(contenders, len(data.test_x), data.classes or 1):
        screen.print(line, hang=2)


def _depths(contenders: list[Contender], screen: Screen) -> None:
    """How the signal fares on its way down, and what theory says about it."""
    profiles = [_profile(contender.report) for contender in contenders]
    scale = decades([value for profile in profiles for value in profile])
    track = max(9, (screen.width - 10) // len(contenders) - 12)
    screen.print(f"Root mean square of each layer's output before ReLU, on a track from 1e{scale[0]} to 1e{scale[1]}:")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("layer", justify="right", style="dim")
    for contender in contenders:
        table.add_column(contender.name)
    for layer in (1, 2, 5, 10, 15, 20, 25, DEPTH - 1):
        cells = [
            Text(dot(profile[layer - 1], scale, track), style="cyan") + Text(f" {number(profile[layer - 1], 2):>7}")
            for profile in profiles
        ]
        table.add_row(str(layer), *cells)
    factors = (f"×{number((profile[-2] / profile[0]) ** (1 / (len(profile) - 2)))} a layer" for profile in profiles)
    table.add_row("", *(screen.text(factor, "bold") for factor in factors))
    screen.print(table)
    from fanin import theory

    halved = 1 / theory.gain("relu")
    screen.print(
        f"Theory for wide layers: a layer multiplies it by √(n·Var W) / gain, and the gain of ReLU is "
        f"{number(theory.gain('relu'), 5)}. torch draws n·Var W = 1/3: ×{number(math.sqrt(1 / 3) * halved)}. Xavier "
        f"takes 1: ×{number(halved)}. He takes 2: ×{number(math.sqrt(2) * halved)}."
    )
    screen.print()


def _profile(report: Report) -> list[float]:
    """Forward rms at each linear map, first to last."""
    assert report.graph is not None
    signals = (report.signals.at(node.place) for node in report.graph.weight_ops())
    return [signal.rms for signal in signals if signal is not None]


def _curves(contenders: list[Contender], screen: Screen) -> None:
    series = {f"{c.name} (learning rate {c.rate:g})": (c.repeats[0].steps, c.repeats[0].smoothed()) for c in contenders}
    letters = screen.ascii or screen.console.color_system is None
    chart = line_chart(
        series,
        width=min(screen.width, 100),
        height=12,
        x_label="updates",
        y_label="training loss, mean of 20 updates",
        y_range=(0.0, max((y for _, ys in series.values() for y in ys if math.isfinite(y)), default=1.0)),
        letters=letters,
    )
    for line in chart:
        screen.print(line)


def _scores(contenders: list[Contender], screen: Screen) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("start", "learning rate", "training loss", f"test accuracy, {REPEATS} seeds", "mean"):
        table.add_column(heading, justify="left" if heading == "start" else "right", no_wrap=True)
    best = max(contender.mean for contender in contenders)
    for contender in contenders:
        first = contender.repeats[0]
        table.add_row(
            contender.name,
            f"{contender.rate:g}",
            screen.text(f"{number(first.losses[0])} → {number(_end(first))}"),
            "  ".join(f"{share:.1%}" for share in contender.accuracies),
            Text(f"{contender.mean:.1%}", style="bold green" if contender.mean == best else ""),
        )
    screen.print(table)


def conclude(contenders: list[Contender], tests: int, classes: int) -> list[str]:
    """What the accuracies say, in words: nothing here knows who should win.

    Args:
        contenders: the starts with their accuracies.
        tests: images in the test part.
        classes: number of classes; guessing is right once in that many.
    """
    chance = 1 / classes
    # Guessing n images is right within three standard deviations of the mean 99.7 % of the time.
    bar = chance + 3 * math.sqrt(chance * (1 - chance) / tests)
    learned = [c for c in contenders if min(c.accuracies) > bar]
    stuck = [c for c in contenders if max(c.accuracies) <= bar]
    lines = []
    if stuck:
        names = " and ".join(c.name for c in stuck)
        lines.append(f"{names}: no better than guessing ({chance:.0%}, up to {bar:.1%} by luck), with any seed.")
    mixed = [c for c in contenders if c not in learned and c not in stuck]
    lines += [f"{c.name}: learns with some seeds and not with others." for c in mixed]
    ranked = sorted(contenders, key=lambda c: c.mean, reverse=True)
    if not learned:
        return [*lines, "No start learned reliably here."]
    if len(ranked) > 1 and min(ranked[0].accuracies) > max(ranked[1].accuracies):
        lead = ranked[0].mean - ranked[1].mean
        lines.append(
            f"{ranked[0].name} is best with every seed: {ranked[0].mean:.1%} against {ranked[1].mean:.1%} for "
            f"{ranked[1].name}, {lead * 100:.0f} points more. Same network, same data, same optimizer."
        )
    else:
        lines.append(
            f"{ranked[0].name} has the best mean, {ranked[0].mean:.1%}, but the seeds overlap: no clear winner."
        )
    return lines
