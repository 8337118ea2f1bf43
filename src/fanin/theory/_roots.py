"""Roots of a vectorised function of one variable: bracketed on a grid, then bisected together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanin.theory._quadrature import Array

__all__ = ["roots"]


def roots(function: Callable[[Array], Array], grid: Array, values: Array | None = None, steps: int = 90) -> Array:
    """Every sign change of a function between neighbouring grid points, to rounding.

    Args:
        function: vectorised.
        grid: ascending.
        values: function(grid) where it is already known.
        steps: iterations of the Illinois variant of regula falsi, which converges superlinearly and keeps the bracket.

    Returns:
        The roots, ascending.
    """
    values = function(grid) if values is None else values
    at = np.nonzero((np.sign(values[1:]) != np.sign(values[:-1])) & (values[:-1] != 0))[0]
    low, high, f_low, f_high = grid[at].copy(), grid[at + 1].copy(), values[at].copy(), values[at + 1].copy()
    for step in range(steps if len(at) else 0):
        slope = f_high - f_low
        middle = np.where(slope != 0, (low * f_high - high * f_low) / np.where(slope != 0, slope, 1), (low + high) / 2)
        if step % 3 == 2:  # a plain bisection now and then, so that no bracket can stall near a double root
            middle = (low + high) / 2
        f_middle = function(middle)
        left = np.sign(f_middle) == np.sign(f_low)
        f_high = np.where(left, f_high * 0.5, f_middle)
        f_low = np.where(left, f_middle, f_low * 0.5)
        low, high = np.where(left, middle, low), np.where(left, high, middle)
        if np.all((high - low <= 1e-15 * np.abs(middle)) | (f_middle == 0)):
            return np.asarray(middle)
    return np.asarray((low + high) / 2)
