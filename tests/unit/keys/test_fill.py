"""Element i depends on (key, i) alone: slices, threads, places in memory; and what is refused."""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.errors import InputError
from fanin.keys import Key, Law, backend, backends, fill, fill_rows, sample
from fanin.keys import _fill as module

LAWS = [
    Law("constant", 0.1),
    Law("uniform", -1.0, 2.0),
    Law("normal", 0.0, 0.02),
    Law("truncated_normal", 0.0, 1.0, 2.0),
]
laws = st.sampled_from(LAWS)
dtypes = st.sampled_from(["float32", "float64", "float16", "bfloat16"])


@settings(max_examples=60)
@given(laws, dtypes, st.integers(0, 2**63 - 2000), st.integers(0, 1000), st.integers(0, 1000))
def test_any_slicing_gives_the_same_bits(law: Law, dtype: str, start: int, head: int, tail: int) -> None:
    key = Key(9, "layer.weight")
    whole = sample(law, key, head + tail, start=start, dtype=dtype)
    parts = [
        sample(law, key, head, start=start, dtype=dtype),
        sample(law, key, tail, start=start + head, dtype=dtype),
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_another_start_gives_other_bits() -> None:
    law, key = LAWS[2], Key(9, "layer.weight")
    assert sample(law, key, 64).tobytes() != sample(law, key, 64, start=1).tobytes()
    assert sample(law, key, 64).tobytes() != sample(law, key, 64, start=2**32).tobytes()
    assert sample(law, key, 64).tobytes() != sample(law, key, 64, start=2**38).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("law", LAWS[1:], ids=str)
def test_threads_change_nothing(law: Law, threads: int) -> None:
    if backend() == "reference":
        pytest.skip("the reference has no threads")
    count, start = (1 << 20) + 77, 12345
    one = sample(law, Key(1), count, start=start, threads=1)
    assert sample(law, Key(1), count, start=start, threads=threads).tobytes() == one.tobytes()


def test_callers_at_the_same_time_do_not_mix() -> None:
    def draw(seed: int) -> bytes:
        return sample(LAWS[2], Key(seed), 300_000, threads=2).tobytes()

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, [0, 1, 2, 3] * 3))
    assert together == [draw(seed) for seed in [0, 1, 2, 3]] * 3


def test_a_forked_child_draws_the_same() -> None:
    """Threads do not survive a fork; the child starts its own instead of waiting for them for ever."""
    code = """
import os, sys
from fanin.keys import Key, Law, sample
draw = lambda: sample(Law("uniform", 0.0, 1.0), Key(0), 1 << 20, threads=2).tobytes()
parent = draw()
child = os.fork()
if child == 0:
    os._exit(0 if draw() == parent else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False, timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_nothing_beside_the_elements_is_touched(dtype: str, offset: int) -> None:
    expected = sample(LAWS[2], Key(2), 777, start=5, dtype=dtype)
    memory = np.full(777 + 16, 7, expected.dtype)
    fill(LAWS[2], Key(2), memory[offset:].ctypes.data, 777, start=5, dtype=dtype)
    assert (memory[offset : offset + 777] == expected).all()
    assert (memory[:offset] == 7).all()
    assert (memory[offset + 777 :] == 7).all()


def test_count_zero_writes_nothing() -> None:
    fill(LAWS[2], Key(2), 0, 0)  # not even this address is looked at
    assert sample(LAWS[2], Key(2), 0).shape == (0,)


@given(laws, st.integers(0, 2**62), st.integers(0, 6), st.integers(0, 40), st.integers(40, 90))
def test_rows_are_the_columns_of_the_whole(law: Law, start: int, rows: int, count: int, stride: int) -> None:
    whole = sample(law, Key(3), rows * stride + count, start=start)
    expected = [whole[row * stride : row * stride + count] for row in range(rows)]
    for using in (None, "reference"):
        out = np.zeros(rows * count, np.float32)
        fill_rows(law, Key(3), out.ctypes.data, rows, count, stride=stride, start=start, using=using)
        assert out.tobytes() == b"".join(part.tobytes() for part in expected)


def test_constants_are_exact_in_every_dtype() -> None:
    law = Law("constant", 0.1)
    assert sample(law, Key(0), 2, dtype="float64")[1] == 0.1
    assert sample(law, Key(0), 2)[1] == np.float32(0.1)
    assert sample(law, Key(0), 2, dtype="float16")[1] == np.float16(0.1)
    assert sample(law, Key(0), 2, dtype="bfloat16")[1] == 0x3DCD


def test_wider_and_narrower_dtypes_are_the_float32_value() -> None:
    law = Law("normal", 0.0, 300.0)
    single = sample(law, Key(6), 5000)
    np.testing.assert_array_equal(sample(law, Key(6), 5000, dtype="float64"), single.astype(np.float64))
    np.testing.assert_array_equal(sample(law, Key(6), 5000, dtype="float16"), single.astype(np.float16))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"count": -1}, "count"),
        ({"count": 1, "start": -1}, "start"),
        ({"count": 2, "start": 2**63 - 1}, "start"),
        ({"count": 1, "dtype": "int8"}, "dtype"),
        ({"count": 1, "using": "abacus"}, "using"),
    ],
)
def test_refusals_name_the_argument(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        sample(LAWS[1], Key(0), **arguments)  # type: ignore[arg-type]


def test_values_beyond_float32_are_refused() -> None:
    with pytest.raises(InputError, match="scale"):
        sample(Law("normal", 0.0, 1e38), Key(0), 1)


def test_a_missing_kernel_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.native, "available", lambda: False)
    monkeypatch.setattr(module, "_SLOW_FROM", 100)
    monkeypatch.setattr(module, "_told", False)
    sample(LAWS[1], Key(0), 99)
    with pytest.warns(RuntimeWarning, match="compiler"):
        slow = sample(LAWS[1], Key(0), 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = sample(LAWS[1], Key(0), 100)
    assert slow.tobytes() == again.tobytes() == sample(LAWS[1], Key(0), 100, using=backends()[0]).tobytes()
