"""Drawing from a key: into a new array, or into memory that the caller owns."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fanin.errors import InputError
from fanin.keys._plan import plan
from fanin.keys._reference import STORAGE, reference_fill

if TYPE_CHECKING:
    from fanin.keys._key import Key
    from fanin.keys._law import Law

__all__ = ["backend", "fill", "sample"]

_END = 1 << 63


def fill(
    law: Law, key: Key, address: int, count: int, *, start: int = 0, dtype: str = "float32", threads: int | None = None
) -> None:
    """Write elements start … start + count of the stream of ``key`` into the caller's memory.

    Args:
        law: distribution of an entry.
        key: the stream; element i depends on (key, i) alone.
        address: where the first element goes; the caller keeps the memory alive.
        count: number of elements, contiguous.
        start: index of the first element in the full tensor, in [0, 2^63 - count].
        dtype: "float32"; "float16" or "bfloat16" (the float32 value rounded to nearest even); "float64" (widened).
        threads: at most so many; None for as many as there are processors.

    Raises:
        InputError: if an argument is out of range; nothing was written.
    """
    storage = _storage(dtype)
    _check_range(start, count)
    if count:
        memory = (ctypes.c_char * (count * storage.itemsize)).from_address(address)
        reference_fill(np.frombuffer(memory, storage), plan(law), key.words, start, dtype)


def sample(
    law: Law, key: Key, count: int, *, start: int = 0, dtype: str = "float32", threads: int | None = None
) -> npt.NDArray[Any]:
    """Elements start … start + count of the stream of ``key`` as a new array.

    Args:
        law: distribution of an entry.
        key: the stream.
        count: number of elements.
        start: index of the first one in the full tensor.
        dtype: as for :func:`fill`; "bfloat16" comes as uint16 bits.
        threads: as for :func:`fill`.

    Returns:
        A 1-d array of ``count`` elements.

    Raises:
        InputError: if an argument is out of range.

    Example:
        >>> law, key = Law("uniform", 0.0, 1.0), Key(0, "layer.weight")
        >>> whole = sample(law, key, 100)
        >>> bool((sample(law, key, 10, start=90) == whole[90:]).all())
        True
    """
    _check_range(start, count)
    out = np.empty(count, _storage(dtype))
    fill(law, key, out.ctypes.data, count, start=start, dtype=dtype, threads=threads)
    return out


def backend() -> str:
    """What draws on this machine, in a few words.

    Example:
        >>> bool(backend())
        True
    """
    return "reference (NumPy)"


def _storage(dtype: str) -> np.dtype[Any]:
    if dtype not in STORAGE:
        raise InputError.of("dtype", dtype, f"one of {', '.join(STORAGE)}")
    return np.dtype(STORAGE[dtype])


def _check_range(start: int, count: int) -> None:
    if count < 0:
        raise InputError.of("count", count, "an integer >= 0")
    if not 0 <= start <= _END - count:
        raise InputError.of("start", start, "an integer in [0, 2**63 - count]")
