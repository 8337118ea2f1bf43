"""Calls into the fills; arguments are taken as they are, :mod:`fanin.keys` has checked them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from functools import lru_cache

from fanin.errors import InputError
from fanin.native._library import DTYPES, ISAS, library

__all__ = ["available", "backends", "fill", "fill_rows", "philox4x32"]

_BEST = -1
_PACK = struct.Struct("=QQQQqiiii").pack  # the argument of fanin_fill_packed in native/fill.cpp
_PROCESSORS = os.cpu_count() or 1


def available() -> bool:
    """Whether the compiled kernel was found and loaded.

    Example:
        >>> available() == bool(backends())
        True
    """
    return library() is not None


@lru_cache(maxsize=1)
def backends() -> tuple[str, ...]:
    """The instruction sets that the kernel holds and this processor runs, best first; () without a kernel."""
    found = library()
    if found is None:
        return ()
    isas = (ctypes.c_int32 * len(ISAS))()
    count = found.fanin_backends(isas)
    names = {number: name for name, number in ISAS.items()}
    return tuple(names[number] for number in isas[:count])


def fill(
    plan: int,
    key: int,
    address: int,
    count: int,
    start: int,
    dtype: str,
    threads: int | None = None,
    isa: str | None = None,
) -> None:
    """Write elements start … start + count of a stream to ``address``.

    Args:
        plan: address of a :class:`PlanStruct`.
        key: both words of the key, the first one in the low half.
        address: where the first element goes.
        count: number of elements; >= 0.
        start: index of the first element in the full tensor.
        dtype: "float32", "float64", "float16" or "bfloat16".
        threads: at most so many; None for the number of processors.
        isa: one of :func:`backends`, for tests; None for the best.

    Raises:
        InputError: if ``isa`` is not available.
    """
    number = _BEST if isa is None else _number(isa)
    packed = _PACK(address, plan, key, start, count, DTYPES[dtype], threads or _PROCESSORS, number, 0)
    failed = _function("fanin_fill_packed")(packed)
    if failed:
        raise InputError.of("isa", isa, f"one of {', '.join(backends())}")


def fill_rows(
    plan: int,
    key: int,
    address: int,
    rows: int,
    count: int,
    start: int,
    stride: int,
    dtype: str,
    threads: int | None = None,
    isa: str | None = None,
) -> None:
    """Write ``rows`` runs of ``count`` elements, ``stride`` apart in the stream, one after another in memory.

    Args:
        plan: address of a :class:`PlanStruct`.
        key: both words of the key.
        address: where the first element goes.
        rows: number of runs.
        count: elements in a run.
        start: index of the first element of the first run in the full tensor.
        stride: distance between the runs in the full tensor.
        dtype: as for :func:`fill`.
        threads: as for :func:`fill`.
        isa: as for :func:`fill`.

    Raises:
        InputError: if ``isa`` is not available.
    """
    number = _BEST if isa is None else _number(isa)
    failed = _function("fanin_fill_rows")(
        address, rows, count, start, stride, plan, key, DTYPES[dtype], threads or _PROCESSORS, number
    )
    if failed:
        raise InputError.of("isa", isa, f"one of {', '.join(backends())}")


def philox4x32(counter: Sequence[int], key: Sequence[int]) -> tuple[int, ...]:
    """The kernel's Philox4x32-10 block function: four words of counter, two of key, four of output."""
    out = (ctypes.c_uint32 * 4)()
    _function("fanin_philox")((ctypes.c_uint32 * 4)(*counter), (ctypes.c_uint32 * 2)(*key), out)
    return tuple(out)


@lru_cache(maxsize=8)
def _function(name: str) -> ctypes._FuncPtr:  # type: ignore[name-defined]
    return getattr(library(), name)


def _number(isa: str) -> int:
    if isa not in backends():
        raise InputError.of("isa", isa, f"one of {', '.join(backends())}")
    return ISAS[isa]
