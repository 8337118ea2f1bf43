"""Readers of the file formats: IDX (the format of MNIST), .npz and the embedded table; each says what is wrong."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_idx"]

# http://yann.lecun.com/exdb/mnist: the third byte of the magic number is the element type, the fourth the rank.
_UINT8 = 0x08


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: the file; gzip is recognised by its first two bytes, not by its name.
        rank: number of axes that are expected: 3 for images, 1 for labels.

    Returns:
        A uint8 array of that rank.

    Raises:
        DataError: if it is truncated, damaged, or not such a file; the text names the file.
    """
    raw = _bytes(path)
    if len(raw) < 4 + 4 * rank:
        raise DataError(f"{path}: {len(raw)} bytes; an IDX file of rank {rank} has a header of {4 + 4 * rank}.")
    if raw[0] or raw[1] or raw[2] != _UINT8 or raw[3] != rank:
        raise DataError(
            f"{path}: starts with bytes {raw[:4].hex(' ')}; expected 00 00 08 {rank:02x}, "
            f"an IDX file of unsigned bytes with {rank} axes."
        )
    shape = tuple(int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank))
    body = len(raw) - 4 - 4 * rank
    if body != math.prod(shape):
        state = "truncated" if body < math.prod(shape) else "longer than its header says"
        raise DataError(f"{path}: {state}: {body:,} values for shape {shape}, which needs {math.prod(shape):,}.")
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged or truncated gzip file ({error}); get it again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
