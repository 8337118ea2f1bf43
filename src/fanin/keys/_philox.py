"""Philox4x32-10, and which word of which block an element reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["ROWS", "TILE", "philox4x32", "words_of_tiles"]

Words = npt.NDArray[np.uint32]

# A tile is 64 consecutive elements: 16 blocks whose words lie one after another as 4 rows of 16, so that vector
# registers store whole rows. Element i reads word (i // 16) % 4 of block 16 (i // 64) + i % 16.
ROWS, WIDTH = 4, 16
TILE = ROWS * WIDTH

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter: npt.ArrayLike, key: tuple[int, int], rounds: int = 10) -> Words:
    """The Philox4x32 block function.

    Args:
        counter: (4, ...) 32-bit words, lowest first.
        key: two 32-bit words.
        rounds: 10 in fanin and in the published test vectors.

    Returns:
        (4, ...) uint32 words.

    Example:
        >>> [hex(int(word)) for word in philox4x32([0, 0, 0, 0], (0, 0))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']

    Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    c0, c1, c2, c3 = np.asarray(counter, np.uint64)
    for turn in range(rounds):
        k0, k1 = (np.uint64((word + turn * step) & 0xFFFFFFFF) for word, step in zip(key, _WEYL))
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def words_of_tiles(key: tuple[int, int], first: int, count: int) -> Words:
    """Random words of ``count`` tiles from tile ``first`` on, as (4, count, 16): row, tile, place in the row."""
    block = np.uint64(first * WIDTH) + np.arange(count * WIDTH, dtype=np.uint64)
    zero = np.zeros_like(block)
    return philox4x32(np.stack([block & _LOW, block >> _HALF, zero, zero]), key).reshape(ROWS, count, WIDTH)
