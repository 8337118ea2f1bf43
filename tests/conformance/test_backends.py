"""Every backend gives the bits of the readable reference: known answers, and laws nobody thought of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin import native
from fanin.keys import Key, Law, backends, fill, sample
from fanin.keys._philox import philox4x32
from fanin.keys._plan import plan

TABLE = Path(__file__).parents[2] / "native" / "kat_vectors.txt"
LINES = [line.split() for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
FILLS = [words[1:] for words in LINES if words[0] == "fill"]
PHILOX = [words[1:] for words in LINES if words[0] == "philox4x32"]
NUMBERS = ("location", "scale", "low", "high", "step", "inside", "outside")
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def fnv1a(data: bytes) -> str:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def test_the_table_is_whole() -> None:
    assert len(PHILOX) == 3
    assert {(words[0], words[18]) for words in FILLS} >= {
        (kind, dtype)
        for kind in ("uniform", "normal", "truncated_normal")
        for dtype in ("float32", "float64", "float16", "bfloat16")
    }


@pytest.mark.parametrize("words", PHILOX, ids=lambda words: words[1])
def test_philox_known_answers(words: list[str]) -> None:
    numbers = [int(word, 16) for word in words[1:]]
    counter, key, answer = numbers[:4], numbers[4:6], numbers[6:]
    assert [int(word) for word in philox4x32(counter, (key[0], key[1]), int(words[0]))] == answer
    if native.available():
        assert list(native.philox4x32(counter, key)) == answer
    assert [int(word) for word in philox4x32(counter, (key[0], key[1]), 9)] != answer


@pytest.mark.parametrize("using", backends())
@pytest.mark.parametrize("words", FILLS, ids=lambda words: "-".join((*words[:4], *words[17:19])))
def test_fill_known_answers(words: list[str], using: str) -> None:
    law = Law(words[0], *(float(word) for word in words[1:4]))  # type: ignore[arg-type]
    key = Key(int(words[4]), words[5])
    assert key.words == (int(words[6], 16), int(words[7], 16))
    numbers = plan(law)
    assert [int(numbers.clip), int(numbers.reach)] == [int(word) for word in words[8:10]]
    found = [f"{np.float32(getattr(numbers, name)).view(np.uint32):08x}" for name in NUMBERS]
    assert found == words[10:17]
    start, dtype, count, digest, first = int(words[17]), words[18], int(words[19]), words[20], words[21:]
    values = sample(law, key, count, start=start, dtype=dtype, using=using)
    bits = values.view(BITS[values.itemsize])
    assert [f"{int(word):0{2 * values.itemsize}x}" for word in bits[:4]] == first
    assert fnv1a(values.tobytes()) == digest
    bits[-1] ^= 1
    assert fnv1a(values.tobytes()) != digest


laws = st.one_of(
    st.builds(Law, st.just("uniform"), st.floats(-1e3, 1e3), st.floats(0, 1e3)),
    st.builds(Law, st.just("normal"), st.floats(-1e3, 1e3), st.floats(0, 1e3)),
    st.builds(Law, st.just("truncated_normal"), st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(1e-3, 12)),
)


@pytest.mark.parametrize("using", [name for name in backends() if name != "reference"])
@settings(max_examples=60, deadline=None)
@given(
    law=laws,
    seed=st.integers(0, 2**64 - 1),
    start=st.integers(0, 2**63 - 3000),
    count=st.integers(0, 3000),
    dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    offset=st.integers(0, 17),
)
def test_any_law_anywhere_gives_the_reference_bits(
    using: str, law: Law, seed: int, start: int, count: int, dtype: str, offset: int
) -> None:
    expected = sample(law, Key(seed, "w"), count, start=start, dtype=dtype, using="reference")
    memory = np.zeros(count + offset, expected.dtype)
    fill(law, Key(seed, "w"), memory[offset:].ctypes.data, count, start=start, dtype=dtype, using=using)
    assert memory[offset:].tobytes() == expected.tobytes()


@pytest.mark.parametrize("using", [name for name in backends() if name != "reference"])
@pytest.mark.parametrize(
    "law", [Law("uniform", 1.0, 1e-3), Law("normal", 0.0, 1.0), Law("truncated_normal", 0.0, 1.0, 3.5)], ids=str
)
def test_many_elements_give_the_reference_bits(using: str, law: Law) -> None:
    """Long runs, so that rare branches, the border of 2^32 blocks, streaming stores and several threads take part."""
    count, start = (1 << 20) + (1 << 16) + 5, (1 << 34) - (1 << 19) - 3
    expected = sample(law, Key(5), count, start=start, using="reference")
    assert sample(law, Key(5), count, start=start, threads=2, using=using).tobytes() == expected.tobytes()


@pytest.mark.parametrize("using", [name for name in backends() if name != "reference"])
def test_flushing_subnormals_changes_nothing(using: str) -> None:
    """A setting of the calling thread; the kernel computes under its own."""
    law = Law("normal", 0.0, 1e-38)
    expected = sample(law, Key(1), 1000, using="reference")
    assert (np.abs(expected[expected != 0]) < np.finfo(np.float32).tiny).any()
    sample(law, Key(1), 1, using=using)  # the numbers of the law are prepared once, in Python
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        found = sample(law, Key(1), 1000, using=using).tobytes()
    finally:
        torch.set_flush_denormal(False)
    assert found == expected.tobytes()
