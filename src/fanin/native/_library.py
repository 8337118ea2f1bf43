"""Finding and loading the shared library that native/ builds; None where it was not built."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

__all__ = ["DTYPES", "ISAS", "KINDS", "PlanStruct", "StatsStruct", "library"]

# The enumerations of native/fanin.h.
KINDS = {"constant": 0, "uniform": 1, "normal": 2, "truncated_normal": 3}
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
ISAS = {"scalar": 0, "avx2": 1, "avx512": 2, "neon": 3}


class PlanStruct(ctypes.Structure):
    """``struct Plan`` of native/fanin.h; :mod:`fanin.keys` fills it."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("clip", ctypes.c_int32),
        ("reach", ctypes.c_int32),
        ("location", ctypes.c_float),
        ("scale", ctypes.c_float),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("step", ctypes.c_float),
        ("inside", ctypes.c_float),
        ("outside", ctypes.c_float),
        ("exact", ctypes.c_double),
    )


class StatsStruct(ctypes.Structure):
    """``struct Stats`` of native/fanin.h."""

    _fields_ = (
        ("sum", ctypes.c_double),
        ("sum_of_squares", ctypes.c_double),
        ("max_abs", ctypes.c_double),
        ("min", ctypes.c_double),
        ("max", ctypes.c_double),
        ("zeros", ctypes.c_int64),
        ("nonfinite", ctypes.c_int64),
        ("saturated", ctypes.c_int64),
    )


_POINTER, _INT32, _INT64, _UINT64, _DOUBLE = (
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.c_int64,
    ctypes.c_uint64,
    ctypes.c_double,
)
_SIGNATURES = {
    "fanin_backends": (_INT32, (_POINTER,)),
    "fanin_philox": (None, (_POINTER, _POINTER, _POINTER)),
    "fanin_fill_packed": (_INT32, (ctypes.c_char_p,)),
    "fanin_fill_rows": (
        _INT32,
        (_POINTER, _INT64, _INT64, _UINT64, _UINT64, _POINTER, _UINT64, _INT32, _INT32, _INT32),
    ),
    "fanin_stats": (None, (_POINTER, _INT64, _INT32, _DOUBLE, _DOUBLE, _INT32, _INT32, _POINTER)),
    "fanin_histogram": (_INT64, (_POINTER, _INT64, _INT32, _DOUBLE, _DOUBLE, _INT64, _POINTER)),
    "fanin_row_products": (None, (_POINTER, _INT64, _INT64, _INT32, _INT32, _POINTER, _POINTER)),
    "fanin_dead_units": (_INT64, (_POINTER, _INT64, _INT64, _INT64, _INT32)),
}


def load(folders: Iterable[str]) -> ctypes.CDLL | None:
    """The library in the first of ``folders`` that has one which this machine can load, with its signatures set."""
    for folder in folders:
        path = Path(folder) / "_fanin.so"
        if not path.is_file():
            continue
        try:
            found = ctypes.CDLL(str(path))
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(found, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):  # built for another machine, or an older build left behind
            continue
        return found
    return None


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The library, looked for in every folder of this package: an editable install has two."""
    import fanin.native

    return load(fanin.native.__path__)
