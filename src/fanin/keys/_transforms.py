"""From random words to the values of a law, in correctly rounded float32 operations of a written order.

Each function takes the words of whole tiles, (4, tiles, 16) uint32, and the numbers of a law, and returns as many
float32, not yet cut to the law's support. The native kernel (native/transforms.h) is the same text in C++; both must
give the same bits, so the order of operations is part of the format.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fanin.keys import _coefficients as c
from fanin.keys._float32 import F32, fma, horner
from fanin.keys._plan import Plan

__all__ = ["minus_2_log_of_half", "normal", "truncated_normal", "uniform"]

Words = npt.NDArray[np.uint32]


def uniform(words: Words, plan: Plan) -> F32:
    """location + scale u, with u one of the multiples of 2^-24 in [0, 1), all equally likely."""
    return fma((words & np.uint32(0xFFFFFF)).astype(np.float32), plan.step, plan.location)


def minus_2_log_of_half(doubled: F32, added: float = 0.0) -> F32:
    """added - 2 log(doubled / 2) for 0 < doubled <= 2.

    doubled / 2 = 2^e m with m in [1/2, 1), so that for doubled < 2 both terms of -2 log = -2 e log 2 - 2 log m are
    >= 0 and nothing cancels: relative error below 4e-7.
    """
    bits = doubled.view(np.uint32)
    e = ((bits >> np.uint32(23)).astype(np.int32) - 127).astype(np.float32)
    m = ((bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F000000)).view(np.float32)
    f = m - np.float32(1)
    return fma(e, c.MINUS_2_LN2, fma(f, horner(c.LOG, f), np.float32(added)))


def normal(words: Words, plan: Plan) -> F32:
    """Normal by Box & Muller (1958): rows 0 and 1 of a tile share a point of the plane, and so do rows 2 and 3.

    The first word of a pair gives the squared radius -2 log u, with u in (0, 1) in steps of 2^-32 so that |z| reaches
    6.76; 1 is avoided by a factor of 1 - 2^-24. Of the second word, bit 31 is the sign of the cosine, bit 30 swaps the
    axes, and bits 0 to 22 are an angle in [-45°, 45°).
    """
    first, second = words[0::2], words[1::2]
    doubled = fma(first.astype(np.float32), np.float32(2**-31 * (1 - 2**-24)), np.float32(2**-32))
    radius = np.sqrt(minus_2_log_of_half(doubled)) * plan.scale
    y = ((second & np.uint32(0x7FFFFF)) | np.uint32(0x40000000)).view(np.float32) - np.float32(3)
    square = y * y
    sine = y * horner(c.SIN, square)
    cosine = _flip_sign(fma(square, horner(c.COS, square), np.float32(1)), second)
    swap = (second & np.uint32(0x40000000)) != 0
    values = np.empty(words.shape, np.float32)
    values[0::2] = fma(radius, np.where(swap, sine, cosine), plan.location)
    values[1::2] = fma(radius, np.where(swap, cosine, sine), plan.location)
    return values


def truncated_normal(words: Words, plan: Plan) -> F32:
    """Normal conditioned on |z| <= bound, by the inverse of its distribution function.

    A word is a signed place in the interval. With p = P(|Z| < |z|) proportional to it and q = 1 - p computed on its
    own, from the distance to the bound, 1 - p² = q (2 - q) never cancels, near 0 and near the bound alike. Up to
    |z| = 2 the inverse is p times a quotient of polynomials in it. Further out it is smooth in t = -2 log(1 - p²):
    p times a polynomial, and beyond t = 10 a polynomial in √t.

    Source: Giles, "Approximating the erfinv function", 2011 (the variable t).
    """
    place = words.view(np.int32)
    from_bound = place ^ (place >> 31) ^ np.int32(0x7FFFFFFF)
    q = fma(from_bound.astype(np.float32), plan.step, plan.outside)  # 2 q
    doubled = q * fma(q, np.float32(-0.5), np.float32(2))  # 2 (1 - p²)
    p = place.astype(np.float32) * plan.inside  # times scale
    if plan.reach == 0:
        return fma(p, horner(c.NARROW_ABOVE, doubled) / horner(c.NARROW_BELOW, doubled), plan.location)
    t = minus_2_log_of_half(doubled, -float(c.CENTRE_AT))
    values = fma(p, horner(c.CENTRE, t), plan.location)
    tail = t >= c.CENTRE_AT if plan.reach == 2 else np.zeros(t.shape, bool)
    z = horner(c.TAIL, np.sqrt(t[tail] + c.CENTRE_AT) - c.TAIL_AT)
    values[tail] = fma(plan.scale, _flip_sign(z, words[tail]), plan.location)
    return values


def _flip_sign(values: F32, words: Words) -> F32:
    return (values.view(np.uint32) ^ (words & np.uint32(0x80000000))).view(np.float32)
