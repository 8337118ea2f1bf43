"""The readable backend: what every other one must reproduce bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fanin.keys._float32 import F32, to_bfloat16_bits
from fanin.keys._philox import TILE, words_of_tiles
from fanin.keys._transforms import normal, truncated_normal, uniform

if TYPE_CHECKING:
    from fanin.keys._plan import Plan

__all__ = ["STORAGE", "reference_fill", "values_of"]

# bfloat16 has no NumPy dtype; its bits are stored as uint16
STORAGE = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": np.uint16}
_TRANSFORMS = {"uniform": uniform, "normal": normal, "truncated_normal": truncated_normal}
_TILES_AT_ONCE = 2048  # bounds the float64 temporaries of the emulated fma to a few MiB


def reference_fill(out: npt.NDArray[Any], plan: Plan, key: tuple[int, int], start: int, dtype: str) -> None:
    """Write elements start … start + len(out) of the stream into a 1-d array of the storage type of ``dtype``."""
    if plan.kind == "constant":
        with np.errstate(over="ignore"):
            out[:] = to_bfloat16_bits(np.full(1, plan.exact, np.float32)) if dtype == "bfloat16" else plan.exact
        return
    done, count = 0, len(out)
    while done < count:
        first, skipped = divmod(start + done, TILE)
        tiles = min(_TILES_AT_ONCE, -(-(skipped + count - done) // TILE))
        taken = min(tiles * TILE - skipped, count - done)
        values = values_of(words_of_tiles(key, first, tiles), plan).transpose(1, 0, 2).reshape(-1)
        values = values[skipped : skipped + taken]
        with np.errstate(over="ignore"):
            out[done : done + taken] = to_bfloat16_bits(values) if dtype == "bfloat16" else values
        done += taken


def values_of(words: npt.NDArray[np.uint32], plan: Plan) -> F32:
    """The values that a law makes of the words of whole tiles, (4, tiles, 16), cut to its support."""
    values = _TRANSFORMS[plan.kind](words, plan)
    values = np.where(plan.low > values, plan.low, values)  # not np.maximum: a zero keeps its sign
    return np.where(plan.high < values, plan.high, values)
