"""Drawing from a key: into a new array, or into memory that the caller owns."""

from __future__ import annotations

import ctypes
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fanin import native
from fanin.errors import InputError
from fanin.keys._key import Key
from fanin.keys._law import Law
from fanin.keys._plan import plan
from fanin.keys._reference import STORAGE, reference_fill

__all__ = ["REFERENCE", "backend", "backends", "fill", "fill_rows", "sample"]

REFERENCE = "reference"
_END = 1 << 63
_SLOW_FROM = 1 << 22  # elements that take the reference about a second: worth telling why
_told = False


def fill(
    law: Law,
    key: Key,
    address: int,
    count: int,
    *,
    start: int = 0,
    dtype: str = "float32",
    threads: int | None = None,
    using: str | None = None,
) -> None:
    """Write elements start … start + count of the stream of ``key`` into the caller's memory.

    The support is exact in float32: a uniform value v has float32(location) <= v < float32(location + scale) (equal to
    the former where no float32 lies between), a truncated normal one lies between the float32 of location ± scale ·
    bound. Rounding to 16 bits may then reach a uniform's upper end. A constant is rounded to the dtype directly. For
    scales below 1e-25 the numbers of the law itself become subnormal: values are then off by up to 1e-35.

    Args:
        law: distribution of an entry.
        key: the stream; element i depends on (key, i) alone.
        address: where the first element goes, aligned to its size; the caller keeps the memory alive.
        count: number of elements, contiguous.
        start: index of the first element in the full tensor, in [0, 2^63 - count].
        dtype: "float32"; "float16" or "bfloat16" (the float32 value rounded to nearest even); "float64" (widened).
        threads: at most so many; None for as many as there are processors. The bits do not depend on it.
        using: one of :func:`backends`, for tests; None for the best.

    Raises:
        InputError: if an argument is out of range; nothing was written.
    """
    if dtype not in STORAGE or count < 0 or not 0 <= start <= _END - count:
        raise _refusal(dtype, count, start)
    if not address and count:  # such as the data pointer of a fake tensor
        raise InputError.of("address", address, f"where {count} elements fit in memory")
    if using is None and native.available():
        native.fill(_struct(law)[1], key.number, address, count, start, dtype, threads)
    elif using is None or using == REFERENCE:
        if using is None and count >= _SLOW_FROM:
            _tell_once()
        _reference(law, key, address, count, start, dtype)
    else:
        native.fill(_struct(law)[1], key.number, address, count, start, dtype, threads, _checked(using))


def fill_rows(
    law: Law,
    key: Key,
    address: int,
    rows: int,
    count: int,
    *,
    stride: int,
    start: int = 0,
    dtype: str = "float32",
    threads: int | None = None,
    using: str | None = None,
) -> None:
    """Write ``rows`` runs of ``count`` elements, ``stride`` apart in the stream, one after another in memory.

    Row r holds elements start + r · stride … + count: the part of a matrix of ``stride`` columns that a column-wise
    shard owns.

    Args:
        law: distribution of an entry.
        key: the stream.
        address: where the first element goes; rows · count elements are written.
        rows: number of runs.
        count: elements in a run.
        stride: distance in the full tensor between the first elements of two runs; >= 0.
        start: index of the first element of the first run.
        dtype: as for :func:`fill`.
        threads: as for :func:`fill`.
        using: as for :func:`fill`.

    Raises:
        InputError: if an argument is out of range; nothing was written.
    """
    reach = start + max(rows - 1, 0) * stride
    if dtype not in STORAGE or count < 0 or not 0 <= start <= reach <= _END - count:
        raise _refusal(dtype, count, start)
    if not address and rows * count:
        raise InputError.of("address", address, f"where {rows * count} elements fit in memory")
    if rows < 0 or stride < 0:
        raise InputError.of("rows, stride", (rows, stride), "two integers >= 0")
    chosen = using or backend()
    if chosen != REFERENCE:
        isa = None if using is None else _checked(using)
        native.fill_rows(_struct(law)[1], key.number, address, rows, count, start, stride, dtype, threads, isa)
        return
    size = np.dtype(STORAGE[dtype]).itemsize
    for row in range(rows):
        _reference(law, key, address + row * count * size, count, start + row * stride, dtype)


def sample(
    law: Law,
    key: Key,
    count: int,
    *,
    start: int = 0,
    dtype: str = "float32",
    threads: int | None = None,
    using: str | None = None,
) -> npt.NDArray[Any]:
    """Elements start … start + count of the stream of ``key`` as a new array.

    Args:
        law: distribution of an entry.
        key: the stream.
        count: number of elements.
        start: index of the first one in the full tensor.
        dtype: as for :func:`fill`; "bfloat16" comes as uint16 bits.
        threads: as for :func:`fill`.
        using: as for :func:`fill`.

    Returns:
        A 1-d array of ``count`` elements.

    Raises:
        InputError: if an argument is out of range.

    Example:
        >>> from fanin.keys import Key, Law
        >>> law, key = Law("uniform", 0.0, 1.0), Key(0, "layer.weight")
        >>> whole = sample(law, key, 100)
        >>> bool((sample(law, key, 10, start=90) == whole[90:]).all())
        True
    """
    if dtype not in STORAGE or count < 0:
        raise _refusal(dtype, count, start)
    out = np.empty(count, STORAGE[dtype])
    fill(law, key, out.ctypes.data, count, start=start, dtype=dtype, threads=threads, using=using)
    return out


def backend() -> str:
    """What draws on this machine: an instruction set of the compiled kernel, or "reference" (NumPy).

    Example:
        >>> backend() in backends()
        True
    """
    return backends()[0]


def backends() -> tuple[str, ...]:
    """Everything that can draw here, best first; all give the same bits. The last one is the readable reference."""
    return (*native.backends(), REFERENCE)


@lru_cache(maxsize=4096)
def _struct(law: Law) -> tuple[native.PlanStruct, int]:
    numbers = plan(law)
    struct = native.PlanStruct(
        kind=native.KINDS[numbers.kind],
        clip=numbers.clip,
        reach=numbers.reach,
        location=numbers.location,
        scale=numbers.scale,
        low=numbers.low,
        high=numbers.high,
        step=numbers.step,
        inside=numbers.inside,
        outside=numbers.outside,
        exact=numbers.exact,
    )
    return struct, ctypes.addressof(struct)


def _reference(law: Law, key: Key, address: int, count: int, start: int, dtype: str) -> None:
    storage = np.dtype(STORAGE[dtype])
    numbers = plan(law)
    if count:
        memory = memoryview((ctypes.c_char * (count * storage.itemsize)).from_address(address))
        reference_fill(np.ndarray(count, storage, memory), numbers, key.words, start, dtype)


def _checked(using: str) -> str:
    if using not in backends():
        raise InputError.of("using", using, f"one of {', '.join(backends())}")
    return using


def _refusal(dtype: str, count: int, start: int) -> InputError:
    if dtype not in STORAGE:
        return InputError.of("dtype", dtype, f"one of {', '.join(STORAGE)}")
    if count < 0:
        return InputError.of("count", count, "an integer >= 0")
    return InputError.of("start", start, "an integer in [0, 2**63 - count]")


def _tell_once() -> None:
    global _told
    if not _told:
        _told = True
        warnings.warn(
            "fanin was installed without its compiled kernel (no working C++ compiler), so random fills use NumPy and "
            "are hundreds of times slower; the values are the same. Install a C++ compiler and reinstall fanin.",
            RuntimeWarning,
            stacklevel=4,
        )
