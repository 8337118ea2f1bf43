"""``--input``: every specification reads back as it was written, everything else is refused with what is accepted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fanin.cli._inputs import InputSpec, make_inputs, parse_input
from fanin.errors import InputError

SHAPES = st.lists(st.integers(1, 500), max_size=4).map(tuple)
NAMES = st.none() | st.sampled_from(["x", "input_ids", "_mask", "ids", "ones", "normal"])


@given(SHAPES, st.sampled_from(["normal", "uniform", "ones", "ids"]), st.integers(1, 10**6), NAMES)
def test_what_is_written_reads_back(shape: tuple[int, ...], kind: str, below: int, name: str | None) -> None:
    spec = InputSpec(shape, kind, below if kind == "ids" else 0, name)
    if not shape and kind == "normal":
        return  # nothing to write; refused below
    assert parse_input(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("784", InputSpec((784,))),
        ("3x224x224", InputSpec((3, 224, 224))),
        ("3×8*8", InputSpec((3, 8, 8))),
        ("128:ids=50257", InputSpec((128,), "ids", 50257)),
        ("128:int<50257>", InputSpec((128,), "ids", 50257)),
        ("ids=10", InputSpec((), "ids", 10)),
        ("mask=16:ones", InputSpec((16,), "ones", 0, "mask")),
    ],
)
def test_spellings(text: str, expected: InputSpec) -> None:
    assert parse_input(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "3x", "x3", "3x-1", "0", "3x0", "3:ids", "3:ids=0", "3:ids=-1", "3:ones=2", "3:gauss", "a=", "3.5"],
)
def test_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"NAME=\]SHAPE") as caught:
        parse_input(text)
    assert repr(text) in str(caught.value)


def test_tensors() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one = make_inputs([parse_input("3x4")], 5, 0)
    assert one.shape == (5, 3, 4)
    assert torch.equal(one, make_inputs([parse_input("3x4")], 5, 0))
    assert not torch.equal(one, make_inputs([parse_input("3x4")], 5, 1))
    ids = make_inputs([parse_input("200:ids=7")], 50, 0)
    assert ids.dtype == torch.int64
    assert ids.unique().tolist() == list(range(7))
    uniform = make_inputs([parse_input("100:uniform")], 100, 0)
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
    assert [t.shape for t in make_inputs([parse_input("2"), parse_input("ids=3")], 4, 0)] == [(4, 2), (4,)]
    assert set(make_inputs([parse_input("a=2"), parse_input("b=2:ones")], 4, 0)) == {"a", "b"}
    assert torch.equal(torch.get_rng_state(), state)


def test_names_are_all_or_none() -> None:
    with pytest.raises(InputError, match="either all"):
        make_inputs([parse_input("a=2"), parse_input("2")], 4, 0)
    with pytest.raises(InputError, match="each name once"):
        make_inputs([parse_input("a=2"), parse_input("a=3")], 4, 0)
