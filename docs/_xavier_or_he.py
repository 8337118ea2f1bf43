"""Write docs/xavier-or-he.md from outcomes of experiments.

python docs/_xavier_or_he.py build/experiments    takes numbers and pictures from what `fanin experiment` wrote there
python docs/_xavier_or_he.py                      writes the page again from the numbers kept in docs/pictures
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "xavier-or-he.md"
PICTURES = HERE / "pictures"
KEPT = PICTURES / "outcomes.json"

USED = {
    "xavier-or-he": ("variance",),
    "he30": ("training",),
    "mnist-curves": (),
    "mnist-tanh": (),
    "sigmoid-4x": (),
    "residual": (),
    "mitigations": (),
}
"""Experiment → pictures that the page shows."""

FUNCTIONS = {
    "linear": "none",
    "tanh": "tanh",
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "sigmoid": "sigmoid",
}


def keep(folder: Path) -> None:
    """Copy what the page needs out of ``folder``."""
    PICTURES.mkdir(exist_ok=True)
    kept = {}
    for name, pictures in USED.items():
        outcome = json.loads((folder / name / "outcome.json").read_text(encoding="utf-8"))
        if outcome["size"] != "full":
            raise SystemExit(f"{name}: a {outcome['size']} run; the page is made from full ones")
        for picture in pictures:
            shutil.copyfile(folder / name / f"{picture}.svg", PICTURES / f"{name}-{picture}.svg")
        wanted = ("verdict", "claims", "numbers", "data", "size", "seed")
        kept[name] = {key: outcome[key] for key in wanted}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def text(outcomes: dict[str, Any]) -> str:
    """The page, from what the experiments of USED found."""
    found = {name: outcome["numbers"] for name, outcome in outcomes.items()}
    flow, deep, curves = found["xavier-or-he"], found["he30"], found["mnist-curves"]
    tanh, residual, others, logistic = (found[name] for name in ("mnist-tanh", "residual", "mitigations", "sigmoid-4x"))
    held = sum(claim["holds"] for outcome in outcomes.values() for claim in outcome["claims"])
    total = sum(len(outcome["claims"]) for outcome in outcomes.values())
    return f"""# Xavier or He?

**ReLU and its relatives: He. Tanh, or no nonlinearity: Xavier. For anything else neither is the answer.** Then take the
exact gain of *your* activation, or let the network decide:

```python
import fanin

fanin.init_(model, x)  # reads from the graph how each weight is used, and what follows it
```

Every number on this page was measured by `fanin experiment` ({held} of {total} claims of its experiments hold); the
page is written by `docs/_xavier_or_he.py`.

## Why

A layer multiplies the power (mean square) of its signal by `n · Var W · E f²`, and that of the gradient by
`n · Var W · E f′²`, for a signal of power 1. Over depth these factors are raised to a power, so they must be 1.

- Xavier takes f for the identity: `Var W = 1/n` (2/(fan_in + fan_out) where layers are not square).
- ReLU throws half of the power away: `E f² = ½`. He makes up for it: `Var W = 2/n`.

Factor of the power per layer, in the deeper half of 30 layers of 500 units, for N(0, 1) inputs; bold where signal and
gradient are both within 5 % of 1:

| activation | Xavier: signal | Xavier: gradient | He: signal | He: gradient |
| --- | --- | --- | --- | --- |
{_factors(flow)}

Tanh with Xavier loses its power in the first layers, while the signal is large: a factor 1 − 1/l at layer l, a power
law. With He the gradient grows exponentially.

![Variance of the signal by layer for tanh and ReLU, from Xavier and He](pictures/xavier-or-he-variance.svg)

## What it does to training

Measured on {outcomes["he30"]["data"].rpartition(" and")[0].replace("mnist", "MNIST")} images, with SGD:

| network | start | result |
| --- | --- | --- |
| 30 ReLU layers, each start at its own best rate | Xavier | \
loss {deep["xavier_loss"]:.2f} (all classes equal: {curves["chance_loss"]:.2f}), \
test accuracy {deep["xavier_accuracy"]:.0%} |
| | **He** | loss {deep["he_loss"]:.2f}, test accuracy {deep["he_accuracy"]:.0%} |
| 5 ReLU layers | std 0.01 | loss {curves["relu_small_loss"]:.2f} after 2,000 updates |
| | Xavier | a loss of 1 {_after(curves["relu_xavier_updates"])} |
| | **He** | a loss of 1 {_after(curves["relu_he_updates"])} |
| 6 tanh layers | N(0, 1) | \
test accuracy {tanh["normal_accuracy"]:.0%}; {tanh["normal_saturated"]:.0%} of the last hidden units are saturated |
| | U(±1/√n), torch's default | {tanh["heuristic_accuracy"]:.0%} in the same time |
| | **Xavier** | {tanh["xavier_accuracy"]:.0%} |

At five layers Xavier with ReLU is merely slower; depth turns slower into never.

![Training loss of thirty ReLU layers from Xavier and from He](pictures/he30-training.svg)

## Where the rule of thumb fails

| where | measured | what to do |
| --- | --- | --- |
| **GELU, SiLU** | \
He: signal ×{flow["gelu_he_late_forward"]:.2f} and ×{flow["silu_he_late_forward"]:.2f} a layer. \
The exact gain at unit power: ×{flow["gelu_exact_late_forward"]:.2f} and ×{flow["silu_exact_late_forward"]:.2f}, \
for its fixed point is unstable | \
with normalization `theory.gain("gelu")`, without it `theory.critical("gelu")` |
| **sigmoid** | \
gradient ×{flow["sigmoid_xavier_late_backward"]:.3f} a layer with Xavier, \
×{flow["sigmoid_he_late_backward"]:.2f} with He. Four times Xavier's bound (which texts often give to tanh): \
×{logistic["sigmoid_4x_gradient"]:.2f}; training leaves the plateau {_after(logistic["sigmoid_4x_updates"])}, \
with Xavier {_after(logistic["sigmoid_1x_updates"])} | \
another activation: no start keeps its gradients |
| **residual blocks** | \
He: each block multiplies the power by {residual["he_factor"]:.2f}; 80 such layers start at a loss of \
{_round(residual["he_first_loss"])} and {_reach(residual["he_accuracy"])}. \
Branch ends at 0: ×{residual["zero_factor"]:.0f}, and they {_reach(residual["zero_accuracy"])} | \
He inside, the last map of each branch at 0 or ×1/√(blocks) |
| **normalized nets** | \
output power {flow["normalised_net"]:.2f} with Xavier, \
{flow["normalised_net_of_weights_ten_times_larger"]:.2f} with weights ten times larger. \
LayerNorm takes std 0.01 from {others["relu_bad"]:.0%} to {others["relu_layernorm_bad"]:.0%} test accuracy | \
the scale hardly matters forward; it sets the effective learning rate |
| **transposed convolutions** | \
`torch.nn.init` swaps the fans: 64 → 16 channels come out ×{flow["transposed_convolution"]:.2f} | \
fans from use: `fanin.init_`, `fanin.fans.conv_transpose` |
| **grouped, depthwise convolutions** | \
`mode="fan_out"` counts all groups: 256 channels come out ×{flow["depthwise_convolution"]:.4f} instead of ×2 | \
fans from use: `fanin.init_`, `fanin.fans.conv(shape, groups=…)` |
| **Adam** | \
it takes std 0.01 from {others["relu_bad"]:.0%} to {others["relu_adam_bad"]:.0%} test accuracy; \
from He it reaches {others["relu_adam_good"]:.0%}, and so does plain SGD: {others["relu_good"]:.0%} | \
a good start still counts |

## fan_in or fan_out?

`fan_in` keeps the signal, `fan_out` the gradient. Along a chain the ratios fan_in/fan_out cancel except at the ends, so
either will do; Xavier takes the mean. `fanin experiment glorot-variance` shows all three; [Theory](theory.md) derives
them.
"""


def _after(updates: float | str) -> str:
    return "never" if isinstance(updates, str) else f"after {updates:.0f} updates"


def _reach(accuracy: float) -> str:
    """A run that diverged counts as accuracy 0."""
    return "diverge at every learning rate tried" if accuracy == 0 else f"reach {accuracy:.0%} test accuracy"


def _factors(flow: dict[str, float]) -> str:
    lines = []
    for fn, name in FUNCTIONS.items():
        cells = []
        for rule in ("xavier", "he"):
            pair = [flow[f"{fn}_{rule}_late_{way}"] for way in ("forward", "backward")]
            bold = "**" if all(abs(value - 1) <= 0.05 for value in pair) else ""
            cells += [f"{bold}{value:.2f}{bold}" if value >= 0.1 else f"{value:.3f}" for value in pair]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _round(value: float | str) -> str:
    return str(value) if isinstance(value, str) else f"{float(f'{value:.1g}'):,.0f}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep(Path(sys.argv[1]))
    TARGET.write_text(text(json.loads(KEPT.read_text(encoding="utf-8"))), encoding="utf-8")
