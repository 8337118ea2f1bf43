"""Correctly rounded float32 arithmetic in NumPy: the operations that every backend shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["F32", "fma", "horner", "to_bfloat16_bits"]

F32 = npt.NDArray[np.float32]


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F32:
    """a·b + c in float32 with a single rounding, as the fused instruction does.

    The product of two float32 is exact in float64. Its sum with c is rounded to odd (the inexact result whose last
    bit is 1), after which rounding once more to float32 gives the correctly rounded value: 53 >= 24 + 2 bits.

    Source: Boldo & Melquiond, 2008 (round to odd); Knuth, 1969 (the exact error of a sum).
    """
    product = np.asarray(np.asarray(a, np.float32), np.float64) * np.asarray(np.asarray(b, np.float32), np.float64)
    addend = np.asarray(np.asarray(c, np.float32), np.float64)
    total = np.asarray(product + addend)
    back = total - product
    error = (product - (total - back)) + (addend - back)
    bits = total.view(np.int64)
    towards = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits & 1 == 0), bits + towards, bits)
    return np.asarray(odd.view(np.float64).astype(np.float32))


def horner(coefficients: F32, x: F32) -> F32:
    """Σ coefficients[k] x^k, from the highest power down, one fma each."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fma(value, x, coefficient)
    return value


def to_bfloat16_bits(values: F32) -> npt.NDArray[np.uint16]:
    """The bits of each finite float32 rounded to the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.asarray(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16))
