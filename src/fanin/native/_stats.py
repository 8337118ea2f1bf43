"""Statistics of a tensor in one pass, for the tracer; callers check :func:`available` first."""

from __future__ import annotations

import ctypes
import math
import os
from dataclasses import dataclass

from fanin.errors import InputError
from fanin.native._library import DTYPES, ISAS, StatsStruct, library

__all__ = ["Stats", "dead_units", "histogram", "row_products", "stats"]

_BINS = 64
_PROCESSORS = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Stats:
    """What one pass over a tensor yields; sums and extremes are over finite values.

    Args:
        count: number of values, finite or not.
        sum: sum, in float64.
        sum_of_squares: sum of squares, in float64.
        max_abs: largest magnitude; NaN where no value is finite, as are ``min`` and ``max``.
        min: smallest value.
        max: largest value.
        zeros: number of values that are exactly 0.
        nonfinite: number of NaN and infinities.
        saturated: number of finite values <= low or >= high, as asked.
    """

    count: int
    sum: float
    sum_of_squares: float
    max_abs: float
    min: float
    max: float
    zeros: int
    nonfinite: int
    saturated: int


def stats(
    address: int,
    count: int,
    dtype: str = "float32",
    low: float = -math.inf,
    high: float = math.inf,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> Stats:
    """Statistics of ``count`` contiguous values at ``address``.

    Args:
        address: of the first value (``tensor.data_ptr()``).
        count: number of values; >= 0.
        dtype: "float32", "float64", "float16" or "bfloat16".
        low: values <= low count as saturated; compared in the tensor's precision.
        high: values >= high count as saturated.
        threads: at most so many; None for the number of processors. The result does not depend on it.
        isa: "avx512", "avx2" or "scalar", for tests; None for the best.

    Returns:
        The statistics; the same to the last bits for every instruction set, and exactly for every number of threads.

    Raises:
        InputError: if the dtype is another.
    """
    out = StatsStruct()
    number = -1 if isa is None else ISAS[isa]
    _loaded().fanin_stats(
        _readable(address, count), count, _code(dtype), low, high, threads or _PROCESSORS, number, ctypes.addressof(out)
    )
    return Stats(
        count,
        out.sum,
        out.sum_of_squares,
        out.max_abs,
        out.min,
        out.max,
        out.zeros,
        out.nonfinite,
        out.saturated,
    )


def histogram(
    address: int, count: int, dtype: str, low: float, high: float, *, limit: int = 0
) -> tuple[tuple[int, ...], int]:
    """Counts of the finite values in 64 equal bins over [low, high].

    Args:
        address: of the first value.
        count: number of contiguous values.
        dtype: as for :func:`stats`.
        low: left end of the first bin.
        high: right end of the last bin, which includes it.
        limit: look at no more than so many values, spread evenly with varying steps; 0 for all.

    Returns:
        The 64 counts, and how many values were looked at.

    Raises:
        InputError: if the dtype is another.
    """
    bins = (ctypes.c_int64 * _BINS)()
    looks = _loaded().fanin_histogram(_readable(address, count), count, _code(dtype), low, high, limit, bins)
    return tuple(bins), int(looks)


def row_products(
    address: int, rows: int, columns: int, dtype: str = "float32", *, threads: int | None = None
) -> tuple[float, float]:
    """Σ_m (Σ_b x_bm)² and Σ x² of a contiguous (rows, columns) matrix, for the correlation of its rows.

    With S and Q these two sums, the mean inner product of two different rows is (S − Q) / (rows (rows − 1)) and that
    of a row with itself Q / rows.

    Args:
        address: of the first value.
        rows: number of samples.
        columns: values per sample.
        dtype: as for :func:`stats`.
        threads: as for :func:`stats`.

    Returns:
        (S, Q); not finite where a value is not.

    Raises:
        InputError: if the dtype is another.
    """
    squared, total = ctypes.c_double(), ctypes.c_double()
    _loaded().fanin_row_products(
        _readable(address, rows * columns),
        rows,
        columns,
        _code(dtype),
        threads or _PROCESSORS,
        ctypes.addressof(squared),
        ctypes.addressof(total),
    )
    return squared.value, total.value


def dead_units(address: int, batch: int, units: int, inner: int, dtype: str = "float32") -> int:
    """How many units of a contiguous (batch, units, inner) tensor are exactly 0 in every sample and place.

    Args:
        address: of the first value.
        batch: number of samples.
        units: number of units (channels).
        inner: values per unit and sample; 1 for a linear layer.
        dtype: as for :func:`stats`.

    Returns:
        The number of dead units.

    Raises:
        InputError: if the dtype is another.
    """
    return int(_loaded().fanin_dead_units(_readable(address, batch * units * inner), batch, units, inner, _code(dtype)))


def _readable(address: int, count: int) -> int:
    if not address and count:
        raise InputError.of("address", address, f"where {count} values are in memory")
    return address


def _code(dtype: str) -> int:
    if dtype not in DTYPES:
        raise InputError.of("dtype", dtype, f"one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _loaded() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise RuntimeError("the compiled kernel is not there; ask fanin.native.available() first")
    return found
