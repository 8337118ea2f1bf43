"""The transforms at chosen words: ends of the range, exactness of the inverse, supports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from fanin.keys import Key, Law
from fanin.keys._philox import words_of_tiles
from fanin.keys._plan import plan
from fanin.keys._reference import values_of

CORNERS = [0, 1, 2, 0xFF, 0x400000, 0x7FFFFF, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFE, 0x7FFFFFFF]
CORNERS += [0x80000000, 0x80000001, 0xBFFFFFFF, 0xC0000000, 0xFFFFFF00, 0xFFFFFF7F, 0xFFFFFF80, 0xFFFFFFFE, 0xFFFFFFFF]
BOUNDS = [1e-6, 0.1, 0.5, 1.0, 2.0, 2.0001, 2.5, 2.9, 2.95, 3.0, 4.0, 6.0, 8.0, 40.0]


def tiles_of(words: list[int] | np.ndarray) -> np.ndarray:
    """The words as the first row of as many tiles as it takes, with the corners in the other rows."""
    words = np.asarray(words, np.uint32)
    rows = np.resize(np.array(CORNERS, np.uint32), (4, -(-len(words) // 16), 16)).copy()
    rows[0] = np.resize(words, rows[0].shape)
    return rows


def every_pair() -> np.ndarray:
    first, second = np.meshgrid(CORNERS, CORNERS)
    rows = np.empty((4, -(-first.size // 16), 16), np.uint32)
    rows[0::2], rows[1::2] = (np.resize(words.astype(np.uint32), rows[0].shape) for words in (first, second))
    return rows


def exact_inverse(words: np.ndarray, bound: float) -> np.ndarray:
    """The truncated normal's inverse distribution function at the place a word names, in float64 by SciPy."""
    place = words.view(np.int32).astype(float)
    from_zero = np.abs(place) / 2**31
    from_bound = ((words.view(np.int32) ^ (words.view(np.int32) >> 31) ^ 0x7FFFFFFF).astype(float) + 0.5) / 2**31
    inside, outside = special.erf(bound / math.sqrt(2)), special.erfc(bound / math.sqrt(2))
    centre = math.sqrt(2) * special.erfinv(from_zero * inside)
    tail = -special.ndtri((from_bound * inside + outside) / 2)
    return np.copysign(np.where(from_zero * inside < 0.5, centre, tail), place)


@pytest.mark.parametrize("bound", BOUNDS)
def test_truncated_normal_is_the_exact_inverse(bound: float) -> None:
    """Within 5 units in the last place of float32 at max(|z|, min(bound, 1)), at random places and at the ends."""
    words = np.concatenate([tiles_of(CORNERS), words_of_tiles(Key(1).words, 0, 400)], axis=1)
    z = values_of(words, plan(Law("truncated_normal", 0.0, 1.0, bound))).astype(float)
    exact = exact_inverse(words, bound)
    unit = np.spacing(np.maximum(np.abs(exact), min(bound, 1.0)).astype(np.float32)).astype(float)
    error = np.abs(z - exact) / unit
    assert error.max() < 5
    assert np.abs(z - exact * (1 + 2**-19)).max() > 5 * unit.max()  # the bound would notice 16 units


@pytest.mark.parametrize("bound", [0.1, 1.0, 2.0, 3.5])
def test_exact_inverse_agrees_with_truncnorm(bound: float) -> None:
    """The yardstick above is SciPy's own distribution."""
    words = np.arange(0, 2**32, 2**24 + 1, dtype=np.uint64).astype(np.uint32)
    place = (words.view(np.int32).astype(float) + 2.0**31) / 2.0**32
    np.testing.assert_allclose(
        exact_inverse(words, bound), stats.truncnorm(-bound, bound).ppf(place), rtol=1e-6, atol=1e-8
    )


def test_normal_at_its_ends() -> None:
    values = values_of(every_pair(), plan(Law("normal", 0.0, 1.0)))
    assert np.isfinite(values).all()
    assert np.abs(values).max() == pytest.approx(math.sqrt(2 * 33 * math.log(2)), rel=1e-6)  # u = 2^-33: 6.76 sigma


def test_normal_is_a_point_of_the_plane() -> None:
    """Radius and angle of a pair, recomputed in float64 from the same words."""
    words = words_of_tiles(Key(2).words, 0, 400)
    z = values_of(words, plan(Law("normal", 0.0, 1.0))).astype(float)
    u = (words[0::2].astype(float) + 0.5) / 2**32
    radius = np.sqrt(-2 * np.log(u))
    found = np.hypot(z[0::2], z[1::2])
    near_one = 1 - u < 1e-4  # there float32 rounds u, not the radius
    assert np.abs(found / radius - 1)[~near_one].max() < 4e-7 + 2**-24 / 1e-4
    second = words[1::2]
    angle = ((second & 0x7FFFFF) / 2.0**22 - 1) * np.pi / 4
    cosine, sine = np.cos(angle) * np.where(second >> 31, -1, 1), np.sin(angle)
    swap = (second >> 30) & 1 == 1
    np.testing.assert_allclose(z[0::2], found * np.where(swap, sine, cosine), atol=4e-7)
    np.testing.assert_allclose(z[1::2], found * np.where(swap, cosine, sine), atol=4e-7)


@given(
    st.floats(-1e6, 1e6, width=32),
    st.floats(2**-20, 1e6, width=32),
)
def test_uniform_keeps_its_half_open_interval(low: float, width: float) -> None:
    law = Law("uniform", low, width)
    values = values_of(tiles_of([0, 0xFFFFFF, 0xFFFFFFFF, 0x1000000]), plan(law))
    bottom, top = np.float32(low), np.float32(low + width)
    assert (values >= bottom).all()
    assert (values < top).all() or (np.nextafter(bottom, np.float32(np.inf)) >= top and (values == bottom).all())


def test_uniform_would_reach_its_end_uncut() -> None:
    """The negative twin: at location 1 and scale 1e-3 rounding does arrive at the upper end."""
    numbers = plan(Law("uniform", 1.0, 1e-3))
    assert numbers.clip
    uncut = np.float32(1.0 + 1e-3 * (1 - 2.0**-24))
    assert uncut == np.float32(1.001)
    assert values_of(tiles_of([0xFFFFFF]), numbers).max() < np.float32(1.001)
    assert not plan(Law("uniform", -0.1, 0.2)).clip


@given(st.floats(-100, 100), st.floats(1e-6, 100), st.floats(1e-3, 9))
def test_truncated_normal_keeps_its_closed_interval(location: float, scale: float, bound: float) -> None:
    values = values_of(tiles_of(CORNERS), plan(Law("truncated_normal", location, scale, bound)))
    assert values.min() >= np.float32(location - scale * bound)
    assert values.max() <= np.float32(location + scale * bound)
