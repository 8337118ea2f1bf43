"""Philox: the block function and the layout of the tiles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanin.keys._philox import TILE, philox4x32, words_of_tiles

word = st.integers(0, 2**32 - 1)


def philox_in_integers(counter: list[int], key: list[int], rounds: int = 10) -> list[int]:
    """The definition in Python integers, one block."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@given(st.lists(word, min_size=4, max_size=4), st.lists(word, min_size=2, max_size=2))
def test_block_is_the_definition(counter: list[int], key: list[int]) -> None:
    found = [int(entry) for entry in philox4x32(counter, (key[0], key[1]))]
    assert found == philox_in_integers(counter, key)
    assert found != philox_in_integers(counter, key, rounds=9)


@given(st.integers(0, 2**63 - 1), word, word)
def test_element_reads_its_word(element: int, k0: int, k1: int) -> None:
    """Element i reads word (i // 16) % 4 of block 16 (i // 64) + i % 16, whose counter is (low, high, 0, 0)."""
    tile, place = divmod(element, TILE)
    block = 16 * tile + place % 16
    expected = philox_in_integers([block & 0xFFFFFFFF, block >> 32, 0, 0], [k0, k1])[place // 16]
    found = words_of_tiles((k0, k1), tile, 1)
    assert found.shape == (4, 1, 16)
    assert int(found[place // 16, 0, place % 16]) == expected


def test_bits_are_balanced_and_unrelated() -> None:
    """Each of the 32 bits is 1 half of the time, within 5 standard errors, and no two of them go together."""
    words = words_of_tiles((7, 11), 0, 512).reshape(-1)
    bits = ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1).astype(float) - 0.5
    error = 5 * 0.5 / np.sqrt(len(bits))
    assert np.abs(bits.mean(0)).max() < error
    products = bits.T @ bits / len(bits)
    np.fill_diagonal(products, 0)
    assert np.abs(products).max() < error  # the product of two bits ± 1/2 has half the deviation: a 10 sigma bound
    assert np.abs((bits[:, :1] * bits[:, :1]).mean()) > error  # a bit and itself do go together
