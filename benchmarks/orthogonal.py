"""Random orthogonal matrices against torch.nn.init.orthogonal_, interleaved in one process.

    OMP_NUM_THREADS=1 python benchmarks/orthogonal.py

Prints the ratio of times (theirs / ours), median and range over the rounds, and the error of QᵀQ.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from fanin.fans import linear
from fanin.initializers import Orthogonal
from fanin.keys import Key


def timed(call, *arguments):
    start = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - start, result


def theirs_at(n):
    return torch.nn.init.orthogonal_(torch.empty(n, n))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512, 1024, 2048])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} thread(s); ratio > 1: ours is faster")
    for n in arguments.sizes:
        ratios = []
        for repeat in range(arguments.rounds + 1):
            theirs, _ = timed(theirs_at, n)
            ours, q = timed(Orthogonal().draw, Key(repeat, "bench"), (n, n), linear((n, n)))
            ratios.append(theirs / ours)
        ratios = sorted(ratios[1:])  # the first round warms up
        error = np.abs(q.astype(np.float64).T @ q - np.eye(n)).max()
        median = statistics.median(ratios)
        print(f"n = {n:5d}  {median:5.2f}x  ({ratios[0]:.2f} … {ratios[-1]:.2f})  |QᵀQ − I| ≤ {error:.1e}")


if __name__ == "__main__":
    main()
