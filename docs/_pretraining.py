"""Write docs/pretraining.md from the committed results of the training table `pretraining`.

python docs/_pretraining.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "pretraining.md"
RESULTS = HERE.parent / "benchmarks" / "training" / "results"
SOURCES = ("pretraining-mnist", "pretraining-fashion-mnist")
GREEDY = ("rbm", "autoencoder")


def results() -> dict[str, Any]:
    """Name → committed result."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in SOURCES}


def table(found: dict[str, Any]) -> str:
    """Starts down, rows of the training table across; the best random start and all above it in bold."""
    rows = [(result["on"], row) for result in found.values() for row in result["rows"]]
    names = list(rows[0][1]["starts"])
    heads = [f"{on}, {row['labels']['depth']} hidden layers" for on, row in rows]
    lines = ["| start | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(rows)]
    for name in names:
        cells = []
        for _, row in rows:
            entry = row["starts"][name]
            best = max(row["starts"][other]["median"] for other in names if other not in GREEDY)
            cell = f"{entry['median']:.1%} ({entry['low']:.1%} to {entry['high']:.1%})"
            cells.append(f"**{cell}**" if entry["median"] >= best else cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sentences(found: dict[str, Any]) -> str:
    """The best pre-trained start beside the best random one, row by row."""
    told = []
    for result in found.values():
        for row in result["rows"]:
            starts = row["starts"]
            greedy = max(GREEDY, key=lambda name: starts[name]["median"])
            random = max((name for name in starts if name not in GREEDY), key=lambda name: starts[name]["median"])
            gain = 100 * (starts[greedy]["median"] - starts[random]["median"])
            apart = starts[greedy]["low"] > starts[random]["high"] or starts[greedy]["high"] < starts[random]["low"]
            told.append(
                f"- {result['on']}, {row['labels']['depth']} hidden layers: {greedy} {gain:+.1f} points "
                f"against {random} ({'intervals apart' if apart else 'intervals overlap'})."
            )
    return "\n".join(told)


def text(found: dict[str, Any]) -> str:
    """The page."""
    first = next(iter(found.values()))["rows"][0]
    labels = first["labels"]
    return f"""# Greedy pre-training

Before there were good random starts, deep networks were started by training one layer after the other without labels
(Hinton, Osindero & Teh, 2006; Bengio et al., 2007). With few labels and many samples without it can still help; against
a random start that is made for depth the gain depends on the data, as measured below.

```python
import fanin

fanin.init_(model, x, scheme="rbm", data=unlabeled, resume="rbm.pt")          # restricted Boltzmann machines, CD-k
fanin.init_(model, x, scheme="autoencoder", data=unlabeled, corruption=0.25)  # denoising autoencoders, tied weights
```

`x` is a batch from which the network is traced; `data` is all there is to train on (an array, a tensor, a `Dataset`, or
an iterable of batches). The result is a recipe like any other: it says for each layer what was trained, and in its
notes the reconstruction error before and after.

## What is trained

- Layers in order of execution: linear maps and convolutions with a nonlinearity of their own. The inputs of each are
  those it has when the model itself is run with the weights found so far, so pooling, flattening and norms in between
  are the model's own; dropout is off. Heads, ends of residual branches, recurrent cells and attention are left to the
  scheme `base` ("auto"), and named.
- `rbm` takes sigmoid, tanh (by tanh(z) = 2σ(2z) − 1) and ReLU (noisy rectified units); `autoencoder` takes any
  nonlinearity. A convolution is one machine for all patches, or an autoencoder decoded by its own transpose.
- Inputs become what a machine models, v = scale · x + shift: Bernoulli units in [0, 1], or standardised Gaussian ones.
  That is undone exactly in weights and biases, so the network computes the very features that were trained.
- With `resume=FILE` an interrupted run goes on from its last epoch, to the same bits; a file of other data, options,
  shapes or another seed is refused, with what differs.
- `fanin.compare` plans a start anew for every run; pre-train once for each seed and race the recipes.

## Measured

Sigmoid layers of 100 units, {labels["labels"]:,} labels, {labels["unlabeled"]:,} images without; test accuracy after
{first["steps"]:,} updates, median of {first["seeds"]} seeds with its interval; every start with the best of
{len(first["lrs"])} learning rates. Bold: the best random start, and what beats it. Random starts do not see the images
without labels.

{table(found)}

The best pre-trained start against the best random one, which is made for depth where the small Gaussians are not:

{sentences(found)}

`python -m benchmarks training pretraining` measures it again, `fanin experiment pretraining` tells the story in short,
`python docs/_pretraining.py` writes this page.
"""


if __name__ == "__main__":
    TARGET.write_text(text(results()), encoding="utf-8")
