"""rnn-memory: how long a recurrent network remembers at its start, and what it can therefore learn."""

from __future__ import annotations

import math
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fanin import compare
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._copy_task import LETTERS, Recaller, copies
from fanin.experiments._races import accuracies, curves, retitled, rows
from fanin.materialize import write
from fanin.report.figures import figure
from fanin.schemes import plan
from fanin.signals import Signal, Signals
from fanin.slots import find

if TYPE_CHECKING:
    from fanin.report.figures import Figure

__all__ = ["EXPERIMENT", "gates"]

DELAY = 100
STARTS: dict[str, dict[str, Any]] = {
    "forget 0": {"scheme": "lstm", "forget_bias": 0.0},
    "forget 1": {"scheme": "lstm", "forget_bias": 1.0},
    "chrono": {"scheme": "lstm", "max_time": float(DELAY)},
}
GAUSSIAN = 0.9
"""Entries N(0, 0.9²/H): eigenvalues fill a disc of radius 0.9 (Ginibre, 1965)."""

GATES = "σ(b_f); geometric mean over units and steps, which orthogonal weights and one-hot inputs move by a percent"


def measure(settings: Settings) -> Measured:
    """What the gates keep, what the copy task's gradient keeps, what is learned; and plain recurrences over time."""
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    figures = {"gradients": _retention(settings, table, numbers)}
    figures["training"] = _training(settings, table, numbers)
    figures["variance"] = _plain(settings, table, numbers)
    return Measured(table, numbers, figures, f"copy task: one of {LETTERS} symbols over up to {DELAY} steps")


def gates(cell: nn.LSTM, x: Tensor) -> Tensor:
    """The forget gates of every step, by the cell's own equations.

    Args:
        cell: one layer, batch first.
        x: (batch, time, inputs).

    Returns:
        (time, batch, units), values in (0, 1).
    """
    found = []
    h = c = torch.zeros(len(x), cell.hidden_size)
    w_x, w_h, b_x, b_h = (getattr(cell, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    for step in x.unbind(1):
        i, f, g, o = (step @ w_x.T + b_x + h @ w_h.T + b_h).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        found.append(f.sigmoid())
    return torch.stack(found)


def _started(model: nn.Module, how: dict[str, Any], seed: int) -> None:
    options = dict(how)
    write(model, plan(options.pop("scheme"), find(model), **options), seed)


def predicted_retention(how: dict[str, Any], steps: int, top: float = DELAY) -> float:
    """Share of a cell's content left after so many steps: σ(b_f)^T, for chrono the mean over u of (u/(1+u))^T."""
    if "max_time" not in how:
        return float((1 / (1 + math.exp(-how["forget_bias"]))) ** steps)
    u = 1 + (np.arange(100_000) + 0.5) / 100_000 * (top - 2)
    return float(((u / (1 + u)) ** steps).mean())


def _retention(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """Product of the forget gates over the delay, and the loss gradient at the state of each step."""
    units, delay = settings.pick(128, 64, 8), settings.pick(DELAY, DELAY, 6)
    data = copies(delay, train=32, test=0)
    x, y = (torch.from_numpy(part) for part in (data.train_x, data.train_y))
    shown = {}
    for name, how in STARTS.items():
        runs = []
        for seed in settings.seeds(settings.pick(5, 3, 1)):
            model = Recaller(units)
            _started(model, how, seed)
            with torch.no_grad():
                logs = gates(model.memory, x)[1:].log()  # type: ignore[arg-type]
            runs.append((float(logs.sum(0).exp().mean()), float(logs.mean().exp()), _slopes(model, x, y)))
        kept, each, slopes = zip(*runs)
        key = name.replace(" ", "_")
        numbers[f"{key}_kept"], numbers[f"{key}_per_step"] = median(kept), median(each)
        numbers[f"{key}_expected"] = predicted_retention(how, delay)
        path = [median(values) for values in zip(*slopes)]
        numbers[f"{key}_gradient"] = path[0] / path[-1]
        table += [{"part": "gradient", "start": name, "step": k, "rms": value} for k, value in enumerate(path)]
        row = {"kept": numbers[f"{key}_kept"], "per step": numbers[f"{key}_per_step"]}
        table.append({"part": "retention", "start": name, **row, "expected": numbers[f"{key}_expected"]})
        shown[name] = Signals(
            Signal(f"step {k}", k, "backward", "measured", units, 0.0, value**2) for k, value in enumerate(path)
        )
    numbers["chrono_kept_over_expected"] = numbers["chrono_kept"] / numbers["chrono_expected"]
    title = "Of the gradient at the last step {chrono_gradient:.2g} reaches the first with chrono biases, "
    title += "{forget_1_gradient:.2g} with forget bias 1"
    return retitled(figure("gradients", shown), title.format(**numbers))


def _slopes(model: Recaller, x: Tensor, y: Tensor) -> list[float]:
    """Root mean square of the loss gradient at the cell state after each step."""
    model.zero_grad()
    state: tuple[Tensor, Tensor] | None = None
    cells, out = [], x
    for step in x.unbind(1):
        out, state = model.memory(step[:, None], state)
        assert state is not None
        state[1].retain_grad()
        cells.append(state[1])
    nn.functional.cross_entropy(model.head(out[:, -1]), y[:, 0]).backward()
    return [float(cell.grad.square().mean().sqrt()) for cell in cells if cell.grad is not None]


def _training(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """The copy task over a short and the long delay, each start at its own best rate."""
    shown: dict[str, Any] = {}
    for place, delay in zip(("short", "long"), settings.pick((10, DELAY), (10, DELAY), (3, 6))):
        race = compare(
            partial(Recaller, settings.pick(32, 32, 4)),
            copies(delay, train=settings.pick(8000, 8000, 64), test=settings.pick(1000, 500, 16)),
            STARTS,
            seeds=settings.seeds(settings.pick(5, 2, 1)),
            optimizer="adam",
            lrs=settings.pick((3e-3, 1e-2), (3e-3,), (1e-2,)),
            steps=settings.pick(600, 500, 2),
            batch_size=32,
            tuning_seeds=1,
            test_every=settings.pick(600, 500, 2),
            together=False,
            n_jobs=settings.jobs,
            progress=False,
        )
        table += rows(race, part="training", delay=delay)
        for name in race.schemes:
            key = f"{name.replace(' ', '_')}_{place}"
            numbers[f"{key}_lowest"] = min(accuracies(race, name))
            numbers[f"{key}_median"] = median(accuracies(race, name))
        shown |= {f"{name}, delay {delay}": race.of(name) for name in race.schemes}
    title = "One of {} symbols over {} steps: recalled by {:.0%} with chrono biases, {:.0%} with forget bias 1"
    ends = numbers["chrono_long_lowest"], numbers["forget_1_long_median"]
    picture = figure("race", curves(shown), source="copy task; Adam, each at its own best rate, band: all seeds")
    return retitled(picture, title.format(LETTERS, DELAY, *ends))


def _plain(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """Power of the state of a plain recurrent layer without inputs, over time."""
    units, steps = settings.pick(256, 128, 8), settings.pick(1000, 1000, 20)
    starts: dict[str, tuple[str, str, dict[str, Any]]] = {
        "IRNN": ("relu", "irnn", {}),
        "orthogonal": ("tanh", "orthogonal", {}),
        "Gaussian": ("tanh", "normal", {"std": GAUSSIAN / math.sqrt(units)}),
    }
    shown = {}
    for name, (nonlinearity, scheme, options) in starts.items():
        runs = []
        for seed in settings.seeds(settings.pick(5, 3, 1)):
            cell = nn.RNN(1, units, nonlinearity=nonlinearity, batch_first=True)
            write(cell, plan(scheme, find(cell), **options), seed)
            runs.append(_powers(cell, steps, seed))
        path = [median(values) for values in zip(*runs)]
        key = name.lower()
        numbers[f"{key}_kept"] = math.sqrt(path[-1] / path[0])
        early = settings.pick(40, 40, 5)  # before its eigenvalues tell apart, a Gaussian matrix shrinks all alike
        numbers[f"{key}_per_step"] = (path[early] / path[0]) ** (0.5 / early)
        table += [{"part": "plain", "start": name, "step": k, "power": path[k]} for k in range(0, steps + 1, 20)]
        places = [k for k in range(0, steps + 1, max(1, steps // 50)) if path[k] > 0]
        shown[name] = Signals(Signal(f"step {k}", k, "forward", "measured", units, 0.0, path[k]) for k in places)
    title = "After {} steps without input: {:.3g} of the state with IRNN, {:.3g} orthogonal, {:.2g} Gaussian"
    kept = (numbers[f"{key}_kept"] for key in ("irnn", "orthogonal", "gaussian"))
    return retitled(figure("variance", shown), title.format(steps, *kept))


@torch.no_grad()
def _powers(cell: nn.RNN, steps: int, seed: int) -> list[float]:
    """Mean square of the state from 32 non-negative starts so small that tanh is straight."""
    first = 1e-3 * torch.randn(32, cell.hidden_size, generator=torch.Generator().manual_seed(seed)).abs()
    states, _ = cell(torch.zeros(32, steps, 1), first[None])
    powers = states.double().square().mean((0, 2))
    return [float(first.double().square().mean()), *map(float, powers)]


EXPERIMENT = Experiment(
    name="rnn-memory",
    question="How long does a recurrent network remember at its start, and can it learn what it forgets?",
    known="A cell keeps σ(b_f) of its content per step: half with bias 0, 0.73 with 1; chrono biases spread the memory "
    "over 1 to T steps, and only they learn to recall over T = 100. A plain recurrence keeps its state for 1000 steps "
    "if it is the identity or orthogonal; a Gaussian one of radius 0.9 loses it at 0.9 per step.",
    source="Hochreiter & Schmidhuber, 1997; Gers et al., 2000; Jozefowicz et al., 2015; Tallec & Ollivier, 2018; "
    "Le, Jaitly & Hinton, 2015; Saxe et al., 2013",
    claims=(
        Claim("forget bias 0 keeps half per step", "forget_0_per_step", 0.48, 0.52, GATES),
        Claim("forget bias 1 keeps σ(1) = 0.731", "forget_1_per_step", 0.711, 0.751, GATES),
        Claim(
            "chrono biases keep the predicted share over 100 steps",
            "chrono_kept_over_expected",
            0.8,
            1.25,
            "E(u/(1+u))^100 = 0.15 for u ~ U(1, 99); a mean over 128 units, median of five networks",
        ),
        Claim("with them the gradient reaches the first step", "chrono_gradient", low=0.1, why="first over last step"),
        Claim("with forget bias 1 it does not", "forget_1_gradient", high=0.05, why="first over last step"),
        Claim("forget bias 1 learns to recall over 10 steps", "forget_1_short_lowest", low=0.95, why="every seed"),
        Claim("but not over 100", "forget_1_long_median", high=0.3, why="median of the seeds; chance is 0.125"),
        Claim("chrono biases do", "chrono_long_lowest", low=0.95, why="every seed"),
        Claim("IRNN keeps a state for 1000 steps", "irnn_kept", 0.999999, 1.000001, "exactly; non-negative, ReLU"),
        Claim("orthogonal weights do", "orthogonal_kept", 0.98, 1.001, "tanh takes 1 − x²/3 of 10⁻³ at each step"),
        Claim(
            "Gaussian ones of radius 0.9 lose it at 0.9 per step",
            "gaussian_per_step",
            0.87,
            0.93,
            "over 40 steps; 256 units know the radius within 2 %",
        ),
    ),
    measure=measure,
)
