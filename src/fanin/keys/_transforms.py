"""From random words to a standard distribution, in correctly rounded float32 operations of a written order.

Each function takes the words of whole tiles, (4, tiles, 16) uint32, and returns as many float32. The native kernel
(native/transforms.h) is the same text in C++; both must give the same bits, so the order of operations is part of the
format.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fanin.keys import _coefficients as c
from fanin.keys._float32 import F32, fma, horner

__all__ = ["minus_2_log", "normal", "truncated_normal", "uniform"]

Words = npt.NDArray[np.uint32]
_ONE, _TWO = np.float32(1), np.float32(2)


def uniform(words: Words) -> F32:
    """Multiples of 2^-24 in [0, 1), all equally likely."""
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def minus_2_log(u: F32) -> F32:
    """-2 log u for 0 < u <= 1, never negative; relative error below 2e-7.

    u = 2^e (1+f) with 1+f in [2/3, 4/3), so that e = 0 near u = 1 and nothing cancels.
    """
    shifted = u.view(np.int32) - np.int32(0x3F2AAAAB)  # the bits of 2/3
    e = (shifted >> 23).astype(np.float32)
    f = ((shifted & np.int32(0x7FFFFF)) + np.int32(0x3F2AAAAB)).view(np.float32) - _ONE
    return fma(f * f, horner(c.LOG, f), fma(e, c.MINUS_2_LN2, -_TWO * f))


def normal(words: Words) -> F32:
    """Standard normal by Box & Muller (1958): rows 0 and 1 of a tile share a point of the plane, and rows 2 and 3.

    The first word of a pair gives the squared radius -2 log u with u in steps of 2^-32, so |z| reaches 6.76; of the
    second, bit 31 is the sign of the cosine, bit 30 swaps the axes, and the rest is an angle in [-45°, 45°).
    """
    first, second = words[0::2], words[1::2]
    u = fma(first.astype(np.float32), np.float32(2**-32), np.float32(2**-33))
    radius = np.sqrt(minus_2_log(u))
    y = (second << np.uint32(2)).view(np.int32).astype(np.float32) * np.float32(2**-31)
    square = y * y
    sine = y * horner(c.SIN, square)
    cosine = fma(square, horner(c.COS, square), _ONE)
    cosine = (cosine.view(np.uint32) ^ (second & np.uint32(0x80000000))).view(np.float32)
    swap = (second & np.uint32(0x40000000)) != 0
    z = np.empty(words.shape, np.float32)
    z[0::2] = radius * np.where(swap, sine, cosine)
    z[1::2] = radius * np.where(swap, cosine, sine)
    return z


def truncated_normal(words: Words, inside: np.float32, outside: np.float32) -> F32:
    """Standard normal conditioned on |z| <= bound, by the inverse of its distribution function.

    Args:
        words: random words; bit 31 is the sign, the rest the magnitude in steps of 2^-31.
        inside: P(|Z| < bound) = erf(bound / √2).
        outside: 1 - inside = erfc(bound / √2), given apart because float32 cannot hold both sides of 1.

    With p = P(|Z| < |z|) uniform in (0, inside) and q = 1 - p computed on its own, 1 - p² = q (2 - q) never cancels;
    in t = -2 log(1 - p²) the inverse is smooth: p times a polynomial, beyond t = 10 a polynomial in √t.

    Source: Giles, "Approximating the erfinv function", 2011 (the variable t); coefficients: fit_coefficients.py.
    """
    magnitude = words & np.uint32(0x7FFFFFFF)
    from_bound = fma(magnitude.astype(np.float32), np.float32(2**-31), np.float32(2**-32))
    from_zero = fma((magnitude ^ np.uint32(0x7FFFFFFF)).astype(np.float32), np.float32(2**-31), np.float32(2**-32))
    p = from_zero * inside
    q = fma(from_bound, inside, outside)
    t = minus_2_log(q * (_TWO - q))
    z = p * horner(c.CENTRE, t - c.CENTRE_AT)
    tail = t >= c.SPLIT
    z[tail] = horner(c.TAIL, np.sqrt(t[tail]) - c.TAIL_AT)
    return (z.view(np.uint32) ^ (words & np.uint32(0x80000000))).view(np.float32)
