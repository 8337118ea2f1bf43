"""What is drawn follows its law: moments, Kolmogorov and Smirnov, tails; tolerances from the sample size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fanin.keys import Key, Law, sample

COUNT = 1 << 20
LAWS = [
    Law("uniform", 0.0, 1.0),
    Law("uniform", -0.3, 0.2),
    Law("normal", 0.0, 1.0),
    Law("normal", 5.0, 0.02),
    *(Law("truncated_normal", 0.0, 1.0, bound) for bound in (0.1, 1.0, 2.0, 3.0, 8.0)),
    Law("truncated_normal", -1.0, 0.5, 2.0),
]
KOLMOGOROV = 1.95  # sqrt(n) D exceeds it once in 1000 times (Kolmogorov, 1933)


def distribution(law: Law) -> stats.rv_frozen:
    if law.kind == "uniform":
        return stats.uniform(law.location, law.scale)
    if law.kind == "normal":
        return stats.norm(law.location, law.scale)
    return stats.truncnorm(-law.bound, law.bound, law.location, law.scale)


def moment_errors(values: np.ndarray, expected: stats.rv_frozen) -> list[float]:
    """Mean and variance of a sample, as errors in standard errors."""
    mean, variance, _, excess = (float(entry) for entry in expected.stats("mvsk"))
    centred = values.astype(float) - mean
    n = len(values)
    return [
        abs(centred.mean()) / math.sqrt(variance / n),
        abs((centred**2).mean() - variance) / (variance * math.sqrt((excess + 2) / n)),
    ]


def kolmogorov(values: np.ndarray, expected: stats.rv_frozen) -> float:
    ordered = np.sort(values.astype(float))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    cdf = expected.cdf(ordered)
    return float(np.sqrt(len(ordered)) * max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()))


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_draws_follow_the_law(law: Law) -> None:
    values = sample(law, Key(20, "law"), COUNT)
    assert max(moment_errors(values, distribution(law))) < 5
    assert kolmogorov(values[: 1 << 17], distribution(law)) < KOLMOGOROV


@pytest.mark.parametrize("law", [LAWS[0], LAWS[2], LAWS[6]], ids=str)
def test_one_percent_off_is_seen(law: Law) -> None:
    """The negative twin: 1 % of the scale would fail both."""
    wrong = Law(law.kind, law.location, law.scale * 1.01, law.bound)
    values = sample(wrong, Key(20, "law"), COUNT)
    assert max(moment_errors(values, distribution(law))) > 5
    assert kolmogorov(sample(wrong, Key(20, "law"), COUNT), distribution(law)) > KOLMOGOROV


def test_normal_tails_have_their_share() -> None:
    values = np.abs(np.concatenate([sample(Law("normal", 0.0, 1.0), Key(seed, "tail"), COUNT) for seed in range(4)]))
    for sigmas in (3.0, 4.0, 4.75):
        expected = len(values) * 2 * stats.norm.sf(sigmas)
        assert abs((values > sigmas).sum() - expected) < 5 * math.sqrt(expected)


def test_truncating_at_two_is_not_clipping_at_two() -> None:
    """Clipped values pile up at the bound; truncated ones thin out towards it."""
    values = np.abs(sample(Law("truncated_normal", 0.0, 1.0, 2.0), Key(3), COUNT))
    share = (stats.norm.cdf(2.0) - stats.norm.cdf(1.99)) / (stats.norm.cdf(2.0) - 0.5)
    near = (values > 1.99).sum()
    assert abs(near - share * COUNT) < 5 * math.sqrt(share * COUNT)
    clipped = np.minimum(np.abs(sample(Law("normal", 0.0, 1.0), Key(3), COUNT)), 2.0)
    assert (clipped > 1.99).sum() > 5 * near


def test_standard_deviation_of_the_truncated() -> None:
    """std at two sigmas = 0.8796256610, the constant that variance scaling divides by."""
    values = sample(Law("truncated_normal", 0.0, 1.0, 2.0), Key(4), COUNT).astype(float)
    excess = float(stats.truncnorm(-2, 2).stats("k"))
    error = 0.8796256610342398 * math.sqrt((excess + 2) / COUNT) / 2
    assert abs(values.std() - 0.8796256610342398) < 5 * error
    assert abs(values.std() - 1.0) > 5 * error


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Key(0, "w"), Key(1, "w")),
        (Key(0, "w"), Key(0, "w1")),
        (Key(0, "layers.1.weight"), Key(0, "layers.2.weight")),
        (Key(0, ""), Key(256, "")),
        (Key(0, "w"), Key(0, "w").child("0")),
        (Key(2**63, "w"), Key(2**64 - 1, "w")),
    ],
)
def test_neighbouring_keys_are_unrelated(one: Key, other: Key) -> None:
    law, count = Law("normal", 0.0, 1.0), 1 << 17
    a, b = sample(law, one, count).astype(float), sample(law, other, count).astype(float)
    limit = 5 / math.sqrt(count)
    assert abs((a * b).mean()) < limit
    assert abs((a**2 * b**2).mean() - 1) < limit * math.sqrt(8)  # E z^4 = 3: the product's variance is 8
    assert abs((a * a).mean()) > limit


@pytest.mark.parametrize("lag", [1, 2, 15, 16, 17, 32, 48, 63, 64, 128, 4096])
def test_elements_of_a_stream_are_unrelated(lag: int) -> None:
    """16 elements apart share a block, and with it the point of the plane."""
    for law in (Law("normal", 0.0, 1.0), Law("truncated_normal", 0.0, 1.0, 2.0)):
        z = sample(law, Key(5, "lag"), 1 << 17).astype(float)
        z = z / z.std()
        n = len(z) - lag
        assert abs((z[lag:] * z[:-lag]).mean()) < 5 / math.sqrt(n)
        square = z**2 - 1
        assert abs((square[lag:] * square[:-lag]).mean()) < 5 * 2 / math.sqrt(n)
