"""Training many small networks as one stack, against one after another.

A five-layer perceptron on the embedded digits, 20 runs (as 4 seeds at 5 learning rates), plain SGD. Both roads do the
same updates and give the same numbers up to rounding; they alternate in one process. Prints seconds of each pair and
the median of their ratios for several batch sizes. ``python -m benchmarks.many_runs``
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from fanin.compare._task import make_task
from fanin.compare._together import train_together
from fanin.compare._train import train_alone
from fanin.data import load

RUNS, WIDTH, STEPS = 20, 100, 60


def perceptron(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    hidden = [layer for _ in range(3) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    return nn.Sequential(nn.Linear(64, WIDTH), nn.Tanh(), *hidden, nn.Linear(WIDTH, 10))


def once(together: bool, batch_size: int, steps: int) -> tuple[float, list[float]]:
    task = make_task(load("digits").flat(), None, batch_size)
    seeds = [run % 4 for run in range(RUNS)]
    rates = [0.01 * 2 ** (run // 4) for run in range(RUNS)]
    models = [perceptron(seed) for seed in seeds]
    begin = time.perf_counter()
    if together:
        results = train_together(models, task, optimizer="sgd", rates=rates, seeds=seeds, steps=steps)
    else:
        results = [
            train_alone(model, task, optimizer="sgd", lr=lr, seed=seed, steps=steps)
            for model, lr, seed in zip(models, rates, seeds)
        ]
    return time.perf_counter() - begin, [curve.losses[-1] for curve, _ in results]


def main(pairs: int = 5, steps: int = STEPS) -> None:
    print(f"{RUNS} runs of a five-layer perceptron, {steps} updates, {torch.get_num_threads()} thread(s)")
    for together in (False, True):
        once(together, 16, 5)  # first-use costs, outside the measurement
    for batch_size in (16, 32, 64):
        ratios, apart = [], 0.0
        for _ in range(pairs):
            alone, left = once(False, batch_size, steps)
            stacked, right = once(True, batch_size, steps)
            ratios.append(alone / stacked)
            apart = max(apart, *(abs(a - b) / abs(a) for a, b in zip(left, right)))
            print(f"  batch {batch_size:3d}: alone {alone:5.2f} s   together {stacked:5.2f} s   ratio {ratios[-1]:.2f}")
        print(
            f"batch {batch_size:3d}: median ratio {statistics.median(ratios):.2f}; losses differ by {apart:.1e} at most"
        )


if __name__ == "__main__":
    main()
