"""fill_ and put: the same values whatever the memory, nothing written on error, autograd told."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin import fans
from fanin.errors import InputError
from fanin.initializers import Constant, HeNormal, Normal, Orthogonal, Uniform, Zeros
from fanin.keys import Key, Law
from fanin.materialize import fill_, fill_law_, put

LAWS = [Normal(std=0.5), Uniform(-1, 2), HeNormal(), Orthogonal(), Constant(0.3)]
FULL = torch.Size((6, 10))


def filled(initializer, tensor, **options):
    return fill_(tensor, initializer, seed=3, name="w", **options)


@pytest.mark.parametrize("initializer", LAWS, ids=str)
def test_layout_and_leaf_do_not_change_the_values(initializer):
    expected = filled(initializer, torch.empty(FULL))
    assert torch.equal(filled(initializer, torch.empty(FULL, requires_grad=True)).detach(), expected)
    assert torch.equal(filled(initializer, torch.empty(10, 6).t()), expected)
    assert torch.equal(filled(initializer, torch.empty(12, 20)[::2, ::2]), expected)
    assert torch.equal(filled(initializer, torch.empty(1, 6, 10)[0]), expected)
    with torch.inference_mode():
        assert torch.equal(filled(initializer, torch.empty(FULL)), expected)


@pytest.mark.parametrize("initializer", LAWS[:4], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_types_hold_the_float32_value(initializer, dtype):
    expected = filled(initializer, torch.empty(FULL)).to(dtype)
    got = filled(initializer, torch.empty(FULL, dtype=dtype))
    assert torch.equal(got.float(), expected.float())
    assert got.dtype == dtype


def test_strided_writes_touch_nothing_else():
    around = torch.full((12, 20), 7.0)
    filled(Normal(), around[::2, ::2])
    assert torch.equal(around[1::2], torch.full((6, 20), 7.0))


@given(shape=st.lists(st.integers(0, 5), max_size=4))
@settings(max_examples=30, deadline=None)
def test_any_shape(shape):
    tensor = filled(Normal(), torch.full(shape, float("nan")))
    assert not tensor.isnan().any()


def test_names_and_seeds_are_separate_streams():
    first = fill_(torch.empty(50), Normal(), seed=0, name="a")
    assert not torch.equal(first, fill_(torch.empty(50), Normal(), seed=0, name="b"))
    assert not torch.equal(first, fill_(torch.empty(50), Normal(), seed=1, name="a"))


def test_fans_default_to_linear_conv_or_elementwise():
    big = 400
    assert filled(HeNormal(), torch.empty(big, 50)).std() == pytest.approx(0.2, rel=5 / (2 * big * 50) ** 0.5)
    kernel = filled(HeNormal(), torch.empty(big, 2, 5, 5)).std()
    assert kernel == pytest.approx(0.2, rel=5 / (2 * big * 50) ** 0.5)
    given_fans = filled(HeNormal(), torch.empty(50, big), fans=fans.linear((50, big), out_axis=1, in_axis=0)).std()
    assert given_fans == pytest.approx(0.2, rel=5 / (2 * big * 50) ** 0.5)
    # twin: without the fans an (in, out) matrix is read as (out, in)
    assert filled(HeNormal(), torch.empty(50, big)).std() != pytest.approx(0.2, rel=0.5)


REFUSED = {
    "integers": (lambda: torch.zeros(3, 3, dtype=torch.long), "int64"),
    "complex": (lambda: torch.zeros(3, 3, dtype=torch.complex64), "complex64"),
    "expanded": (lambda: torch.zeros(3, 1).expand(3, 4), r"expanded view of shape \(3, 4\).*clone"),
    "sparse": (lambda: torch.zeros(3, 3).to_sparse(), "sparse_coo"),
    "meta": (lambda: torch.zeros(3, 3, device="meta"), "meta"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused_by_name(name):
    make, text = REFUSED[name]
    with pytest.raises(InputError, match=text) as caught:
        fill_(make(), Normal(), name="layer.weight")
    assert "layer.weight" in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: fill_(t, "normal"),
        lambda t: fill_(t, Normal(), seed=-1),
        lambda t: fill_(t[0], Orthogonal()),
        lambda t: fill_([1.0], Normal()),
    ],
)
def test_bad_arguments_leave_the_tensor_untouched(call):
    tensor = torch.full((3, 3), 7.0)
    with pytest.raises(InputError):
        call(tensor)
    assert torch.equal(tensor, torch.full((3, 3), 7.0))


def test_autograd_notices_a_write():
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    fill_(weight, Normal())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_rows_are_zeroed_after_the_draw():
    table = torch.empty(5, 3)
    put(table, Normal(), Key(0, "t"), fans.embedding((5, 3)), zero_rows=(2,))
    whole = torch.empty(5, 3)
    put(whole, Normal(), Key(0, "t"), fans.embedding((5, 3)))
    assert table[2].eq(0).all()
    assert torch.equal(table[[0, 1, 3, 4]], whole[[0, 1, 3, 4]])


def test_a_slice_continues_the_stream_of_the_whole():
    law, key = Law("normal", 0.0, 1.0), Key(1, "w")
    whole = fill_law_(torch.empty(30), law, key)
    assert torch.equal(fill_law_(torch.empty(10), law, key, start=20), whole[20:])
    assert torch.equal(fill_law_(torch.empty(5, 2).t(), law, key, start=20).flatten(), whole[20:])


def test_zeros_are_exact():
    assert filled(Zeros(), torch.full(FULL, 3.0)).eq(0).all()
