"""The float32 operations against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from fanin.keys._float32 import fma, to_bfloat16_bits

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest_float32(exact: Fraction) -> float:
    """The float32 nearest to a rational number, ties to even, by integer arithmetic."""
    if exact == 0:
        return 0.0
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - 23, -149)
    steps, rest = divmod(magnitude, quantum)
    steps += int(rest > quantum / 2 or (rest == quantum / 2 and steps % 2 == 1))
    rounded = steps * quantum
    value = float("inf") if rounded >= Fraction(2) ** 128 else float(rounded)
    return value if exact > 0 else -value


@given(floats, floats, floats)
@example(1.0000001192092896, 1.0000001192092896, -1.0)
@example(1.0, 1.401298464324817e-45, 1.401298464324817e-45)
@example(3.4028234663852886e38, 1.5, -3.4028234663852886e38)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    with np.errstate(over="ignore"):
        found = float(fma(np.float32([a]), np.float32([b]), np.float32([c]))[0])
    assert found == nearest_float32(Fraction(a) * Fraction(b) + Fraction(c))


def test_rounding_twice_is_not_the_same() -> None:
    """The negative twin: without round-to-odd, float64 first gives another float32."""
    a, b = np.float32(1 + 2**-12), np.float32(1 + 2**-12)  # a b = 1 + 2^-11 + 2^-24: a tie in float32 …
    c = np.float32(2**-70)  # … which this decides upwards, and float64 cannot hold
    exact = nearest_float32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    twice = float(np.float32(float(a) * float(b) + float(c)))
    assert twice != exact
    assert float(fma(np.array([a]), np.array([b]), np.array([c]))[0]) == exact


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_bfloat16_as_torch_rounds(values: list[float]) -> None:
    array = np.array(values, np.float32)
    theirs = torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(to_bfloat16_bits(array), theirs)
