"""transformer-depth: why deep post-norm transformers need warm-up from the usual start, and what does without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from fanin import compare
from fanin.data import Batch, Dataset, alice
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._races import curves, losses, margin, retitled, rows
from fanin.experiments._transformers import Norm, Transformer, admin, bits, unigram
from fanin.initializers import GlorotNormal, Initializer, LecunNormal, Normal, Ones, VarianceScaling, Zeros
from fanin.materialize import write
from fanin.recipe import Line, Recipe
from fanin.report.figures import figure
from fanin.schemes import plan
from fanin.schemes.deepnorm import constants
from fanin.signals import Signal, Signals
from fanin.slots import find
from fanin.trace import trace

if TYPE_CHECKING:
    from fanin.compare import Race
    from fanin.report.figures import Figure

__all__ = ["EXPERIMENT"]

CONTEXT, CLASSES, WIDTH = 32, 70, 48
EMBEDDING = math.sqrt(0.5)
"""Of tokens and of positions: their sum starts the stream at unit scale, as Xiong et al. (2020, §3.3) assume."""

RATE = 1e-3
"""Of the single Adam step whose effect on the output is measured."""

Depths = tuple[int, ...]
NORMS: tuple[Norm, ...] = ("post", "pre")


def glorot(model: Transformer, ends: Initializer | None = None, weights: Initializer | None = None) -> Recipe:
    """Glorot on every map (or ``weights``; ``ends`` at the ends of branches), embeddings at unit scale in sum."""
    laws: dict[str, Initializer] = {"weight": weights or GlorotNormal(), "bias": Zeros(), "gain": Ones()}
    laws |= {"shift": Zeros(), "embedding": Normal(std=EMBEDDING)}
    lines = []
    for slot in find(model).values():
        ending = ends is not None and slot.name.endswith((".o.weight", ".fc2.weight"))
        law = ends if ending and ends is not None else laws[slot.role]
        assert slot.fans is not None
        lines.append(Line(slot.name, law, "as the experiment asks", slot.shape, slot.fans))
    return Recipe(lines, scheme="Glorot")


def measure(settings: Settings) -> Measured:
    """Gradients at the start, one step's effect on the output, growth of the stream, then training."""
    data = alice(CONTEXT)
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    depths: Depths = settings.pick((6, 12, 24), (6, 12), (2, 4))
    figures = {"gradient": _gradients(settings, data, depths, table, numbers)}
    _updates(settings, data, depths, table, numbers)
    figures["variance"] = _stream(settings, data, depths, table, numbers)
    race = _training(settings, data, table, numbers)
    shown = curves({name: members for one in race.values() for name, members in _runs(one).items()})
    layers = settings.pick(24, 12, 2)
    title = "After {updates:.0f} updates without warm-up: {glorot_bits:.2f} bits Glorot, {deepnorm_bits:.2f} DeepNorm"
    source = f"post-norm, {layers} blocks of width 32; Adam, constant rate; unigrams {numbers['unigram_bits']:.2f} bits"
    figures["training"] = retitled(figure("race", shown, source=source), title.format(**numbers))
    words = f"{data.source}, windows of {CONTEXT} characters"
    return Measured(table, numbers, figures, words)


def _runs(race: Race) -> dict[str, Any]:
    return {name: race.of(name) for name in race.schemes}


def _gradients(
    settings: Settings, data: Dataset, depths: Depths, table: list[dict[str, Any]], numbers: dict[str, float]
) -> Figure:
    """Gradient of each block's last map and at its output, from Glorot, with norms after and before the sum."""
    shown = {}
    for norm in NORMS:
        for layers in depths:
            runs = []
            for seed in settings.seeds(settings.pick(12, 3, 1)):
                model = Transformer(layers, WIDTH, CONTEXT, CLASSES, norm)
                write(model, glorot(model), seed)
                runs.append(_backward(model, data.batch(settings.pick(32, 32, 4), seed=seed)))
            maps, outputs = ([sum(values) / len(values) for values in zip(*part)] for part in zip(*runs))
            for block, (of_map, at_output) in enumerate(zip(maps, outputs), start=1):
                row = {"part": "gradient", "norm": norm, "layers": layers, "block": block}
                table.append({**row, "norm of fc2's gradient": of_map, "rms at the output": at_output})
            numbers[f"{norm}_{layers}_last"] = maps[-1]
            shown[f"{norm}-norm, {layers} blocks"] = Signals(
                Signal(f"block {k}", k, "backward", "measured", WIDTH, 0.0, value**2)
                for k, value in enumerate(outputs, start=1)
            )
        few, many = depths[0], depths[-1]
        ratio = numbers[f"{norm}_{many}_last"] / numbers[f"{norm}_{few}_last"]
        numbers[f"{norm}_exponent"] = math.log(ratio) / math.log(many / few)
    numbers["last_post_over_pre"] = numbers[f"post_{depths[-1]}_last"] / numbers[f"pre_{depths[-1]}_last"]
    title = "The last block's map: gradient ∝ L^{post_exponent:.2f} post-norm, L^{pre_exponent:.2f} pre-norm"
    return retitled(figure("gradients", shown), title.format(**numbers))


def _backward(model: Transformer, batch: Batch) -> tuple[list[float], list[float]]:
    """Norms of the gradients of the blocks' last maps; root mean squares of the gradients at the blocks' outputs."""
    x, outputs = model.embedded(batch.inputs), []
    for block in model.each():
        x = block(x)
        x.retain_grad()
        outputs.append(x)
    bits(model.head(model.last(x)), batch.target).backward()
    maps = [float(torch.linalg.vector_norm(block.fc2.weight.grad)) for block in model.each()]
    return maps, [float(out.grad.square().mean().sqrt()) for out in outputs if out.grad is not None]


def _forwards(layers: int, width: int) -> dict[str, Callable[[], Transformer]]:
    alpha, _ = constants("only", layers)
    settings: dict[str, tuple[Norm, float | str]] = {"glorot": ("post", 1.0), "deepnorm": ("post", alpha)}
    settings |= {"t_fixup": ("none", 1.0), "admin": ("post", "omega")}
    return {name: partial(Transformer, layers, width, CONTEXT, CLASSES, *value) for name, value in settings.items()}


def _started(model: Transformer, start: str, data: Dataset, seed: int) -> None:
    tokens = data.batch(16, seed=0).inputs
    if start == "admin":
        return admin(model, tokens, seed)
    graph = trace(model, tokens, statistics=False).graph
    write(model, plan(start, find(model, graph), graph), seed)
    return None


def _updates(
    settings: Settings, data: Dataset, depths: Depths, table: list[dict[str, Any]], numbers: dict[str, float]
) -> None:
    """How far one Adam step moves the features before the head, relative to their size."""
    starts = ("glorot", "deepnorm", "t_fixup")
    for layers in (depths[0], depths[-1]):
        for start in starts:
            moved = []
            for seed in settings.seeds(settings.pick(4, 3, 1)):
                model = _forwards(layers, WIDTH)[start]()
                _started(model, start, data, seed)
                moved.append(_moved(model, data, seed))
            numbers[f"{start}_{layers}_moved"] = median(moved)
            table.append({"part": "one step", "start": start, "layers": layers, "moved": median(moved)})
    few, many = depths[0], depths[-1]
    for start in starts:
        numbers[f"{start}_moved"] = numbers[f"{start}_{many}_moved"]
    numbers["moved_glorot_over_deepnorm"] = numbers["glorot_moved"] / numbers["deepnorm_moved"]
    numbers["deepnorm_moved_growth"] = numbers[f"deepnorm_{many}_moved"] / numbers[f"deepnorm_{few}_moved"]


def _moved(model: Transformer, data: Dataset, seed: int) -> float:
    """Root mean square of the change over that of the features, on a batch other than the one of the step."""
    batch, other = data.batch(16, seed=seed), data.batch(16, seed=seed + 1000)
    with torch.no_grad():
        before = _features(model, other.inputs)
    bits(model(batch.inputs), batch.target).backward()
    torch.optim.Adam(model.blocks.parameters(), RATE).step()
    with torch.no_grad():
        after = _features(model, other.inputs)
    return float((after - before).square().mean().sqrt() / before.square().mean().sqrt())


def _features(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    x = model.embedded(tokens)
    for block in model.blocks:
        x = block(x)
    return x


def _stream(
    settings: Settings, data: Dataset, depths: Depths, table: list[dict[str, Any]], numbers: dict[str, float]
) -> Any:
    """Power of a pre-norm stream after each block, over that of the embeddings."""
    shown = {}
    for layers in depths:
        laws = {"plain": None, "scaled": VarianceScaling(1 / (2 * layers), "fan_in", "normal")}
        for name, ends in laws.items():
            runs = []
            for seed in settings.seeds(settings.pick(4, 3, 1)):
                model = Transformer(layers, WIDTH, CONTEXT, CLASSES, "pre")
                write(model, glorot(model, ends, LecunNormal()), seed)
                runs.append(_powers(model, data.batch(32, seed=seed).inputs))
            path = [median(values) for values in zip(*runs)]
            path = [value / path[0] for value in path]
            numbers[f"{name}_{layers}_growth"] = path[-1]
            table += [{"part": "stream", "ends": name, "layers": layers, "block": k, "power": v}
                      for k, v in enumerate(path)]  # fmt: skip
            shown[f"{'ends ×1/√(2L)' if ends else 'unscaled'}, {layers} blocks"] = Signals(
                Signal(f"block {k}", k, "forward", "measured", WIDTH, 0.0, value) for k, value in enumerate(path)
            )
    few, many = depths[0], depths[-1]
    numbers["plain_added"] = (numbers[f"plain_{many}_growth"] - 1) / (numbers[f"plain_{few}_growth"] - 1) * few / many
    numbers["scaled_highest"] = max(numbers[f"scaled_{layers}_growth"] for layers in depths)
    return figure("variance", shown)


@torch.no_grad()
def _powers(model: Transformer, tokens: torch.Tensor) -> list[float]:
    x = model.embedded(tokens)
    found = [float(x.square().mean())]
    for block in model.blocks:
        x = block(x)
        found.append(float(x.square().mean()))
    return found


def _training(
    settings: Settings, data: Dataset, table: list[dict[str, Any]], numbers: dict[str, float]
) -> dict[str, Race]:
    """Each start with its own forward, its own best rate, no warm-up; test loss in bits per character."""
    layers, steps = settings.pick(24, 12, 2), settings.pick(150, 60, 2)
    taken = data.take(len(data.train_x), settings.pick(447, 200, 8))
    races = {}
    for start, make in _forwards(layers, 32).items():
        races[start] = compare(
            make,
            taken,
            {start: start} if start != "admin" else {"admin": _admin(data)},
            seeds=settings.seeds(settings.pick(3, 2, 1)),
            optimizer="adam",
            lrs=settings.pick((1e-3, 3e-3), (1e-3, 3e-3), (1e-3,)),
            steps=steps,
            batch_size=16,
            loss=bits,
            tuning_seeds=1,
            test_every=steps,
            together=False,
            n_jobs=settings.jobs,
            progress=False,
        )
        table += rows(races[start], part="training", layers=layers)
        numbers[f"{start}_bits"] = median(run.test_loss or math.inf for run in races[start].of(start))
    numbers["updates"] = float(steps)
    numbers["unigram_bits"] = unigram(data)
    numbers["glorot_under_unigram"] = numbers["unigram_bits"] - numbers["glorot_bits"]
    for start in ("deepnorm", "t_fixup"):
        best, usual = losses(races[start], start), losses(races["glorot"], "glorot")
        numbers[f"{start}_margin"] = margin(usual, best)
    return races


def _admin(data: Dataset) -> Callable[[Any], None]:
    def start(model: Any) -> None:
        admin(model, data.batch(16, seed=0).inputs, torch.initial_seed() % (1 << 31))

    return start


EXPERIMENT = Experiment(
    name="transformer-depth",
    question="Why does a deep post-norm transformer need warm-up, and what does without it?",
    known="At Glorot's start the gradient of the last block does not depend on depth with norms after the sums, and "
    "falls as 1/√L with norms before the branches; a step of Adam then moves the output of a deep post-norm "
    "transformer as far as it can go, unless the branches start small and the skip path is scaled up (DeepNorm).",
    source="Xiong et al., ICML 2020; Liu et al. (Admin), EMNLP 2020; Huang et al. (T-Fixup), ICML 2020; Wang et al. "
    "(DeepNorm), 2022; Radford et al. (GPT-2), 2019",
    claims=(
        Claim(
            "post-norm: the last block's gradient does not depend on depth",
            "post_exponent",
            -0.25,
            0.25,
            "L^0 (Xiong et al., theorem 1): nearer to that than to L^±½; fitted between 6 and 24 blocks, 12 networks",
        ),
        Claim("pre-norm: it falls as 1/√L", "pre_exponent", -0.75, -0.25, "L^-½ (the same theorem)"),
        Claim(
            "Glorot: one step of Adam at 0.001 turns the features of a deep post-norm net over",
            "glorot_moved",
            low=0.7,
            why="change over size; √2 means that nothing is left of what was there",
        ),
        Claim(
            "DeepNorm moves them several times less",
            "moved_glorot_over_deepnorm",
            low=4,
            why="Wang et al., 2022, theorem 4.1: bounded in depth",
        ),
        Claim(
            "pre-norm: unscaled branches make the stream grow in proportion to depth",
            "plain_added",
            0.6,
            1.7,
            "power added per block by 24 blocks over that by 6; 1 if every branch adds the same",
        ),
        Claim(
            "with ends × 1/√(2L) it stays below e at every depth", "scaled_highest", high=math.e, why="(1 + 1/2L)^2L"
        ),
        Claim(
            "24 post-norm blocks from Glorot, without warm-up: no better than single characters' shares",
            "glorot_under_unigram",
            high=0.1,
            why="bits on held-out text, best of two rates, median",
        ),
        Claim("DeepNorm beats it with every seed", "deepnorm_margin", low=0.3, why="training loss, bits per character"),
        Claim("so does T-Fixup, without any norm", "t_fixup_margin", low=0.3, why="training loss, bits per character"),
    ),
    measure=measure,
)
