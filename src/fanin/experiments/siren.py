"""siren: what flows through networks of sines, and what they fit, from Sitzmann's start and from torch's default."""

from __future__ import annotations

import math
from functools import partial
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fanin import compare
from fanin.data import Dataset
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._nets import recipe, started
from fanin.experiments._races import curves, margin, retitled, rows
from fanin.initializers import Initializer, SirenFirst, SirenHidden, Uniform, VarianceScaling
from fanin.report.figures import figure
from fanin.signals import Signal, Signals

if TYPE_CHECKING:
    from fanin.compare import Race
    from fanin.recipe import Recipe
    from fanin.report.figures import Figure

__all__ = ["EXPERIMENT", "Sines", "fixed_point"]

OMEGA = 30.0
"""ω₀ of Sitzmann et al., 2020."""

SIREN, DEFAULT, PLAIN = "SIREN", "torch's default", "torch's default, ω₀ = 1"


class Sines(nn.Module):
    """sin(ω₀(Wx + b)), layer by layer, over two coordinates; then a linear map to one value.

    Args:
        width: units.
        depth: layers of sines.
        omega: ω₀.
    """

    def __init__(self, width: int, depth: int, omega: float = OMEGA) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width if index else 2, width) for index in range(depth))
        self.head = nn.Linear(width, 1)
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """(points, 2) → (points, 1)."""
        for layer in self.maps:
            x = torch.sin(self.omega * layer(x))
        out: Tensor = self.head(x)
        return out

    def flow(self, x: Tensor) -> list[Tensor]:
        """ω₀(Wx + b) of each layer."""
        found = []
        with torch.no_grad():
            for layer in self.maps:
                found.append(self.omega * layer(x))
                x = torch.sin(found[-1])
        return found


def siren(model: Sines, bias: bool) -> Recipe:
    """U(±1/fan_in), then U(±√(6/fan_in)/ω₀); biases as torch draws them, which the authors leave, or 0."""
    hidden = SirenHidden(model.omega)
    return recipe(model, hidden, only={"maps.0.weight": SirenFirst()} | (_biases(model) if bias else {}), name=SIREN)


def default(model: Sines) -> Recipe:
    """torch's default: U(±1/√fan_in) for weights and biases."""
    return recipe(model, VarianceScaling(1 / 3, "fan_in", "uniform"), only=_biases(model), name=DEFAULT)


def _biases(model: Sines) -> dict[str, Initializer]:
    bounds = {name: 1 / math.sqrt(m.in_features) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    return {f"{name}.bias": Uniform(-bound, bound) for name, bound in bounds.items()}


def fixed_point(bound: float = 0.0) -> float:
    """Variance of ω₀Wx in deep layers of a SIREN: the root of q = 1 − e^(−2q)·sin(2B)/(2B), biases ω₀b ~ U(±B).

    For z ~ N(0, q) and β ~ U(±B), E sin²(z + β) = ½(1 − e^(−2q)·sin(2B)/(2B)), and SIREN's weights double it.

    Example:
        >>> round(fixed_point(), 8)
        0.79681213
    """
    damping = math.sin(2 * bound) / (2 * bound) if bound else 1.0
    q = 1.0
    for _ in range(200):  # slope 2e^(−2q) < 0.41 at the root: 200 rounds are far more than enough
        q = 1 - math.exp(-2 * q) * damping
    return q


def from_normal(values: Tensor, variance: float) -> float:
    """Largest distance between the distribution of the values and that of N(0, variance) (Kolmogorov)."""
    ordered = np.sort(values.flatten().double().numpy())
    normal = NormalDist(0.0, math.sqrt(variance))
    theory = np.array([normal.cdf(value) for value in ordered])
    rank = np.arange(1, len(ordered) + 1) / len(ordered)
    return float(np.maximum(np.abs(rank - theory), np.abs(rank - 1 / len(ordered) - theory)).max())


def plate(side: int) -> np.ndarray:
    """(side, side) pixels in [−1, 1]: a zone plate whose stripes are four pixels apart at the middle of an edge."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    pixels: np.ndarray = np.cos(0.5 * math.pi * side * (x**2 + y**2)).astype(np.float32)
    return pixels


def picture(side: int, seed: int) -> Dataset:
    """Three quarters of the pixels to fit, one quarter to test on; coordinates in [−1, 1]²."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    y = plate(side).reshape(-1, 1)
    order = np.random.default_rng(seed).permutation(len(x))
    fitted, kept = order[len(x) // 4 :], order[: len(x) // 4]
    words = f"a computed zone plate of {side} × {side} pixels, a quarter of them left out"
    return Dataset("zone plate", x[fitted], y[fitted], x[kept], y[kept], source=words)


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of values in [−1, 1]."""
    return 10 * math.log10(4 / error) if error > 0 else math.inf


def measure(settings: Settings) -> Measured:
    """The signal through ten layers of sines, then fitting a picture."""
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    figures = {"variance": _flow(settings, table, numbers)}
    data = picture(settings.pick(64, 48, 8), settings.seed)
    figures["training"] = _fit(settings, data, table, numbers)
    return Measured(table, numbers, figures, data.source)


def _flow(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """Pre-activations of wide networks over a grid of points."""
    width, depth = settings.pick(512, 256, 16), settings.pick(10, 8, 4)
    bound = OMEGA / math.sqrt(width)
    kinds = {"SIREN, biases 0": OMEGA, SIREN: OMEGA, DEFAULT: OMEGA, PLAIN: 1.0}
    shown = {}
    for name, omega in kinds.items():
        runs = []
        for seed in settings.seeds(settings.pick(5, 5, 1)):
            model = Sines(width, depth, omega)
            plan = siren(model, name == SIREN) if name.startswith(SIREN) else default(model)
            started(model, plan, seed)
            points = torch.rand(settings.pick(512, 256, 32), 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
            runs.append([_described(model, index, z) for index, z in enumerate(model.flow(points))])
        path = [{key: median(run[layer][key] for run in runs) for key in runs[0][layer]} for layer in range(depth)]
        table += [{"part": "flow", "start": name, "layer": layer, **row} for layer, row in enumerate(path, start=1)]
        shown[name] = Signals(
            Signal(f"layer {layer}", layer, "forward", "measured", width, 0.0, row["between_points"])
            for layer, row in enumerate(path, start=1)
        )
        deep = path[3:]
        key = {"SIREN, biases 0": "siren", SIREN: "biased", DEFAULT: "default", PLAIN: "plain"}[name]
        numbers[f"{key}_lowest"] = min(row["variance"] for row in deep)
        numbers[f"{key}_highest"] = max(row["variance"] for row in deep)
        if key == "siren":
            numbers["siren_distance"] = max(row["from_normal"] for row in deep)
        if key == "biased":
            expected = fixed_point(bound)
            numbers["biased_off"] = max(abs(row["of_weights"] / expected - 1) for row in deep)
        if key == "plain":
            first, last = path[1]["between_points"], path[-1]["between_points"]
            numbers["plain_factor"] = (last / first) ** (1 / (depth - 2))
    return figure("variance", shown)


def _described(model: Sines, index: int, z: Tensor) -> dict[str, float]:
    """Of the pre-activations (points, width) of a layer: second moments, and how far from the normal of theory."""
    bias = model.omega * model.maps[index].bias.detach()  # type: ignore[operator]
    return {
        "variance": float(z.square().mean()),
        "of_weights": float((z - bias).square().mean()),
        "between_points": float(z.var(0).mean()),
        "from_normal": from_normal(z, fixed_point()),
    }


def _fit(settings: Settings, data: Dataset, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """Each start at its own best rate, all pixels in every update."""
    width, depth, steps = settings.pick(64, 48, 8), 4, settings.pick(200, 120, 3)
    deep, flat = partial(Sines, width, depth), partial(Sines, width, depth, 1.0)
    races: dict[str, Race] = {}
    for name, make in ((SIREN, deep), (DEFAULT, deep), (PLAIN, flat)):
        model = make()
        races[name] = compare(
            make,
            data,
            {name: siren(model, True) if name == SIREN else default(model)},
            optimizer="adam",
            seeds=settings.seeds(settings.pick(3, 2, 1)),
            lrs=settings.pick((0.0001, 0.0003, 0.001, 0.003), (0.0003, 0.001, 0.003), (0.001,)),
            steps=steps,
            batch_size=len(data.train_x),
            tuning_seeds=1,
            test_every=steps,
            n_jobs=settings.jobs,
            progress=False,
        )
        table += rows(races[name], part="fit")
    fits = {name: [psnr(run.final_loss) for run in race.of(name)] for name, race in races.items()}
    left = {name: [psnr(run.test_loss or math.inf) for run in race.of(name)] for name, race in races.items()}
    for name, key in ((SIREN, "siren"), (DEFAULT, "default"), (PLAIN, "plain")):
        numbers[f"{key}_psnr"], numbers[f"{key}_psnr_left_out"] = median(fits[name]), median(left[name])
    numbers["siren_over_default"] = margin(fits[SIREN], fits[DEFAULT])
    numbers["siren_over_plain"] = margin(fits[SIREN], fits[PLAIN])
    numbers["left_out_over_default"] = margin(left[SIREN], left[DEFAULT])
    shown = curves({name: race.of(name) for name, race in races.items()})
    title = "Fit of the picture: {siren_psnr:.0f} dB from SIREN's start, {default_psnr:.0f} dB from torch's default"
    title += ", {plain_psnr:.0f} dB from it at ω₀ = 1"
    return retitled(
        figure("race", shown, source=f"{data.source}; Adam, each at its own best rate"), title.format(**numbers)
    )


EXPERIMENT = Experiment(
    name="siren",
    question="What flows through a network of sines, and what does it take to fit a picture?",
    known="From SIREN's start the pre-activations have the same distribution at every depth, of variance 0.797, the "
    "root of q = 1 − e^(−2q) (not 1); from torch's default the signal collapses where ω₀ = 1 and aliases where "
    "ω₀ = 30, and the picture is fitted worse.",
    source="Sitzmann et al. (SIREN), NeurIPS 2020",
    claims=(
        Claim(
            "SIREN without biases: the variance of pre-activations is the root of q = 1 − e^(−2q) at least,",
            "siren_lowest",
            0.74,
            0.86,
            "0.79681; from layer 4 on, medians of five networks; 1 would be N(0, 1)",
        ),
        Claim("and at most", "siren_highest", 0.74, 0.86, "the same"),
        Claim(
            "their distribution is the same at every depth: N(0, 0.797)",
            "siren_distance",
            high=0.015,
            why="largest Kolmogorov distance from layer 4 on; N(0, 1) lies 0.027 from it",
        ),
        Claim(
            "with torch's biases, as in the authors' code: the root of q = 1 − e^(−2q)·sin(2B)/(2B), B = ω₀/√n",
            "biased_off",
            high=0.1,
            why="largest relative deviation of the part that the weights make, from layer 4 on; 0.797 is 0.18 off",
        ),
        Claim(
            "torch's default at ω₀ = 1: each layer keeps a third of the variance between points",
            "plain_factor",
            0.28,
            0.38,
            "weights of variance 1/(3·fan_in), and sin x ≈ x",
        ),
        Claim(
            "torch's default at ω₀ = 30: pre-activations so large that the sine wraps around many times",
            "default_lowest",
            low=100.0,
            why="variance 150 = ω₀²/3 · E sin², 1/2 where the phase is uniform",
        ),
        Claim("SIREN's start fits the picture better with every seed", "siren_over_default", low=3.0, why="dB"),
        Claim("and far better than torch's default at ω₀ = 1", "siren_over_plain", low=10.0, why="dB, every seed"),
        Claim("pixels left out are predicted better, too", "left_out_over_default", low=0.0, why="dB, with every seed"),
    ),
    measure=measure,
)
