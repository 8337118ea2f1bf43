"""How fast tensors are filled: ratios to torch's own calls, interleaved in one process, medians over rounds.

Read the ratios, not the rates: a loaded machine slows both sides.

    python benchmarks/fill.py [--mi 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from fanin.keys import Key, Law, backends, fill

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
KEY = Key(0, "benchmark")


@dataclass(frozen=True)
class Row:
    """One rival and the law that replaces it."""

    name: str
    law: Law
    rival: Callable[[torch.Tensor], object]
    dtype: torch.dtype = torch.float32
    fresh: bool = False


ROWS = (
    Row("uniform_(-.1, .1)", Law("uniform", -0.1, 0.2), lambda t: t.uniform_(-0.1, 0.1)),
    Row("normal_(0, .02)", Law("normal", 0.0, 0.02), lambda t: t.normal_(0, 0.02)),
    Row(
        "trunc_normal_(std=1, a=-2, b=2)",
        Law("truncated_normal", 0.0, 1.0, 2.0),
        lambda t: torch.nn.init.trunc_normal_(t, std=1.0, a=-2.0, b=2.0),
    ),
    Row(
        "trunc_normal_(std=.02), which truncates nothing",
        Law("truncated_normal", 0.0, 0.02, 2.0),
        lambda t: torch.nn.init.trunc_normal_(t, std=0.02),
    ),
    Row("normal_ in bfloat16", Law("normal", 0.0, 0.02), lambda t: t.normal_(0, 0.02), dtype=torch.bfloat16),
    Row("randn into fresh memory", Law("normal", 0.0, 1.0), lambda t: t.normal_(), fresh=True),
)


def rate(work: Callable[[torch.Tensor], object], tensor: torch.Tensor | None, count: int, dtype: torch.dtype) -> float:
    """Elements per second of one call; a new tensor inside the clock where none is given."""
    begin = time.perf_counter()
    if tensor is None:
        tensor = torch.empty(count, dtype=dtype)
    work(tensor)
    return count / (time.perf_counter() - begin)


def ours(tensor: torch.Tensor, law: Law, threads: int, using: str) -> None:
    fill(law, KEY, tensor.data_ptr(), tensor.numel(), dtype=NAMES[tensor.dtype], threads=threads, using=using)


def compare(row: Row, count: int, rounds: int, threads: int) -> None:
    """Print rates and the medians of the ratios within each round."""
    tensor = None if row.fresh else torch.zeros(count, dtype=row.dtype)
    variants: dict[str, Callable[[torch.Tensor], object]] = {}
    for using in backends():
        if using in ("reference", "scalar") and using != backends()[0]:
            continue
        for number in sorted({1, threads}):
            variants[f"{using} x{number}"] = partial(ours, law=row.law, threads=number, using=using)
    theirs: list[float] = []
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        theirs.append(rate(row.rival, tensor, count, row.dtype))
        for name, work in variants.items():
            rates[name].append(rate(work, tensor, count, row.dtype))
    print(f"{row.name}: torch {statistics.median(theirs) / 1e6:.0f} M/s")
    for name, found in rates.items():
        ratio = statistics.median(mine / rival for mine, rival in zip(found, theirs))
        best = max(found) / max(theirs)
        print(
            f"    {name:12} {statistics.median(found) / 1e6:7.0f} M/s   {ratio:6.1f}x   best against best {best:6.1f}x"
        )


def calls(rounds: int) -> None:
    """Small tensors, where the call itself counts."""
    print("small float32 tensors, 1 thread, microseconds: torch's call, ours, ratio; normal_, then uniform_")
    for count in (64, 256, 1024, 4096, 65536, 1 << 20):
        tensor, repeat = torch.empty(count), max(3, 200_000 // count)
        cells = []
        for row in ROWS[:2][::-1]:
            pairs = []
            for _ in range(rounds):
                seconds = []
                for work in (row.rival, lambda t, row=row: fill(row.law, KEY, t.data_ptr(), t.numel(), threads=1)):
                    begin = time.perf_counter()
                    for _ in range(repeat):
                        work(tensor)
                    seconds.append((time.perf_counter() - begin) / repeat * 1e6)
                pairs.append(seconds)
            theirs, mine = (statistics.median(column) for column in zip(*pairs))
            cells.append(f"{theirs:9.1f} {mine:8.1f} {theirs / mine:6.2f}x")
        print(f"    {count:8}  " + "   ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mi", type=int, default=64, help="elements in Mi")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments, _ = parser.parse_known_args()
    torch.set_num_threads(1)  # torch's random fills do not use more
    print(f"{arguments.mi} Mi elements, medians of {arguments.rounds} rounds; backends {', '.join(backends())}")
    for row in ROWS:
        compare(row, arguments.mi << 20, arguments.rounds, arguments.threads)
    calls(arguments.rounds)


if __name__ == "__main__":
    main()
