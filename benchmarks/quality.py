"""Statistical quality of the streams on many draws: distribution, moments, tails, correlation within and between keys.

Every number is a z-score (normal, mean 0, deviation 1, if the law holds) or a p-value; the worst is named at the end.

    python benchmarks/quality.py [--draws 100000000] [--keys 4]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy import special, stats

from fanin.keys import Key, Law, backend, sample

CHUNK = 1 << 22
LAGS = (1, 2, 16, 32, 48, 64, 1 << 10, 1 << 20)
CELLS = 1 << 16
LAWS = {
    "uniform": (Law("uniform", 0.0, 1.0), stats.uniform()),
    "normal": (Law("normal", 0.0, 1.0), stats.norm()),
    "truncated ±2": (Law("truncated_normal", 0.0, 1.0, 2.0), stats.truncnorm(-2, 2)),
    "truncated ±4": (Law("truncated_normal", 0.0, 1.0, 4.0), stats.truncnorm(-4, 4)),
}


def place_in_law(name: str, values: np.ndarray) -> np.ndarray:
    """The distribution function, fast."""
    if name == "uniform":
        return values
    if name == "normal":
        return special.ndtr(values)
    bound = LAWS[name][0].bound
    return (special.ndtr(values) - special.ndtr(-bound)) / (special.ndtr(bound) - special.ndtr(-bound))


def study(name: str, key: Key, draws: int, scores: dict[str, float]) -> None:
    """Add the scores of one stream."""
    law, exact = LAWS[name]
    mean, variance, _, excess = (float(entry) for entry in exact.stats("mvsk"))
    cells = np.zeros(CELLS, np.int64)
    powers = np.zeros(2)
    products = dict.fromkeys(LAGS, 0.0)
    beyond = dict.fromkeys((4.0, 5.0, 5.5), 0)
    pairs = dict.fromkeys(LAGS, 0)
    for start in range(0, draws, CHUNK):
        count = min(CHUNK, draws - start)
        values = sample(law, key, count + max(LAGS), start=start).astype(np.float64)
        head = values[:count]
        cell = np.minimum((place_in_law(name, head) * CELLS).astype(np.int64), CELLS - 1)
        cells += np.bincount(cell, minlength=CELLS)
        z = (values - mean) / math.sqrt(variance)
        powers += [float((z[:count] ** power).sum()) for power in (1, 2)]
        for lag in LAGS:
            products[lag] += float(z[:count] @ z[lag : lag + count])
            pairs[lag] += count
        for sigmas in beyond:
            beyond[sigmas] += int((np.abs(head) > sigmas).sum())
    title = f"{name}, seed {key.seed}"
    expected = draws / CELLS
    chi = float(((cells - expected) ** 2).sum() / expected)
    scores[f"{title}: chi-square of {CELLS} cells"] = (chi - (CELLS - 1)) / math.sqrt(2 * (CELLS - 1))
    distance = float(np.abs(np.cumsum(cells) / draws - np.arange(1, CELLS + 1) / CELLS).max())
    scores[f"{title}: Kolmogorov-Smirnov"] = float(stats.norm.isf(special.kolmogorov(distance * math.sqrt(draws)) / 2))
    scores[f"{title}: mean"] = powers[0] / math.sqrt(draws)
    scores[f"{title}: variance"] = (powers[1] - draws) / math.sqrt(draws * (excess + 2))
    for lag in LAGS:
        scores[f"{title}: correlation at lag {lag}"] = products[lag] / math.sqrt(pairs[lag])
    for sigmas, found in beyond.items():
        share = float(exact.sf(sigmas) + exact.cdf(-sigmas))
        if share > 0 and share * draws < draws:
            spread = math.sqrt(max(draws * share, 1.0))
            heading = f"{title}: {found} beyond {sigmas} sigma, {draws * share:.1f} expected"
            scores[heading] = (found - draws * share) / spread


def between_keys(draws: int, keys: int, scores: dict[str, float]) -> None:
    """Correlations of streams of neighbouring seeds and names."""
    law = LAWS["normal"][0]
    count = min(draws, CHUNK)
    addresses = [Key(seed, "w") for seed in range(keys)] + [Key(0, f"layers.{layer}.weight") for layer in range(keys)]
    streams = np.stack([sample(law, key, count) for key in addresses]).astype(np.float64)
    gram = streams @ streams.T / math.sqrt(count)
    for row in range(len(addresses)):
        for column in range(row):
            scores[f"{addresses[row]} with {addresses[column]}"] = float(gram[row, column])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000_000)
    parser.add_argument("--keys", type=int, default=4)
    arguments, _ = parser.parse_known_args()
    print(f"{arguments.draws:,} draws for each law and key; backend {backend()}")
    scores: dict[str, float] = {}
    for name in LAWS:
        before = len(scores)
        for seed in range(arguments.keys):
            study(name, Key(seed, "quality"), arguments.draws, scores)
        fresh = list(scores.items())[before:]
        for title, score in fresh:
            if "beyond" in title or "chi" in title or "Kolm" in title:
                print(f"    {score:+6.2f}  {title}")
        print(f"{name}: largest |z| of {len(fresh)}: {max(abs(score) for _, score in fresh):.2f}")
    between_keys(arguments.draws, arguments.keys, scores)
    worst = max(scores, key=lambda title: abs(scores[title]))
    chance = 1 - (1 - 2 * stats.norm.sf(abs(scores[worst]))) ** len(scores)
    print(f"worst of {len(scores)}: {scores[worst]:+.2f}, {worst}; so large a one has a chance of {chance:.2f}")


if __name__ == "__main__":
    main()
