"""Packed tensors: every block as if it were a tensor of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanin import fans
from fanin.errors import InputError
from fanin.initializers import Blocks, GlorotUniform, HeNormal, Identity, Normal, Orthogonal, PerGate, Zeros
from fanin.initializers.blocks import _Packed
from fanin.keys import Key

GQA = Blocks(0, (("q", 64, GlorotUniform()), ("k", 16, GlorotUniform()), ("v", 16, Zeros())))


def test_packing_changes_nothing():
    packed = GQA.draw(Key(7, "qkv"), (96, 64), fans.linear((96, 64)))
    alone = GlorotUniform().draw(Key(7, "qkv").child("k"), (16, 64), fans.linear((16, 64)))
    np.testing.assert_array_equal(packed[64:80], alone)
    assert not packed[80:].any()


def test_packed_qkv_has_the_std_of_three_matrices():
    d = 64
    packed = PerGate(GlorotUniform(), 3)
    assert packed.std(fans.linear((3 * d, d)), (3 * d, d)) == pytest.approx(1 / math.sqrt(d))
    joint = GlorotUniform().std(fans.linear((3 * d, d)))
    assert joint == pytest.approx(1 / math.sqrt(2 * d))  # what the shape alone suggests


@pytest.mark.parametrize("counted", [96, 32])
def test_fans_of_the_whole_and_of_one_block_give_the_same(counted):
    place = fans.Fans(32, counted)
    blocks = PerGate(GlorotUniform(), 3).blocks((96, 32), place)
    assert [block.fans for block in blocks] == [fans.Fans(32, 32)] * 3


def test_fans_by_axis():
    conv = fans.conv((32, 8, 3, 3), groups=2)
    assert [b.fans.fan_out for b in PerGate(HeNormal(), 4).blocks((32, 8, 3, 3), conv)] == [8 / 2 * 9] * 4
    transposed = fans.conv_transpose((8, 16, 3, 3), groups=2, stride=(2, 2))
    (first, _) = PerGate(HeNormal(), 2, axis=1).blocks((8, 16, 3, 3), transposed)
    assert (first.fans.fan_in, first.fans.fan_out) == (transposed.fan_in, 8 * 9)
    (first, _) = PerGate(HeNormal(), 2, axis=1).blocks((10, 24), fans.linear((10, 24)))
    assert (first.fans.fan_in, first.fans.fan_out) == (12, 10)
    (first, _) = PerGate(HeNormal(), 2).blocks((10,), fans.elementwise((10,)))
    assert first.fans == fans.elementwise((10,))
    experts = fans.experts((4, 20, 6), out_axis=1, in_axis=2)
    (first, _) = PerGate(HeNormal(), 2, axis=1).blocks((4, 20, 6), experts)
    assert (first.fans.fan_in, first.fans.fan_out) == (6, 10)
    (first, _) = PerGate(HeNormal(), 2).blocks((4, 20, 6), experts)
    assert first.fans == experts


def test_inputs_of_a_convolution_need_explicit_fans():
    place = fans.conv((8, 6, 3))
    with pytest.raises(InputError, match="Fans"):
        PerGate(HeNormal(), 2, axis=1).draw(Key(0), (8, 6, 3), place)
    own = fans.conv((8, 3, 3))
    halves = Blocks(1, (("a", 3, HeNormal(), own), ("b", 3, HeNormal(), own)))
    assert halves.std(place, (8, 6, 3)) == pytest.approx(math.sqrt(2 / 9))


def test_explicit_fans_survive_json():
    own = fans.conv((8, 3, 3))
    halves = Blocks(1, (("a", 3, HeNormal(), own), ("b", 3, HeNormal(), own)))
    assert Blocks.from_json(halves.to_json()) == halves


@pytest.mark.parametrize(("shape", "axis"), [((12, 7), 0), ((7, 12), 1), ((3, 12, 5), 1)])
def test_any_slice_can_be_filled_from_the_blocks_it_meets(shape, axis):
    packed = Blocks(axis, (("a", 5, Normal(1.0, 0.1)), ("b", 0, Zeros()), ("c", 7, Normal(-1.0, 0.1))))
    place, key = fans.elementwise(shape), Key(1, "slices")
    whole = packed.draw(key, shape, place)
    filled = np.full(shape, np.nan, np.float32)
    for block in packed.blocks(shape, place):
        filled[block.index] = block.initializer.draw(key.child(block.name), block.shape, block.fans)
    np.testing.assert_array_equal(filled, whole)
    assert packed.std(place, shape) == pytest.approx(whole.std(), rel=0.05)


def test_nested_blocks():
    inner = PerGate(Orthogonal(), 4)
    layers = Blocks(0, (("forward", 64, inner), ("backward", 64, inner)))
    drawn = layers.draw(Key(0), (128, 16), fans.linear((128, 16))).reshape(8, 16, 16)
    for gate in drawn:
        np.testing.assert_allclose(np.linalg.svd(gate, compute_uv=False), 1.0, atol=1e-5)
    assert len({gate.tobytes() for gate in drawn}) == 8
    assert issubclass(PerGate, _Packed)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Blocks(0, ()), "at least one part"),
        (lambda: Blocks(0, (("a", 1, Zeros()), ("a", 2, Zeros()))), "each name once"),
        (lambda: Blocks(0, (("a", 1),)), "name, size, Initializer"),
        (lambda: Blocks(0, (("a", -1, Zeros()),)), "size of part 'a'"),
        (lambda: Blocks(0, (("a", 1, "zeros"),)), "Initializer"),
        (lambda: Blocks(-1, (("a", 1, Zeros()),)), "axis"),
        (lambda: PerGate("orthogonal", 4), "an Initializer"),
        (lambda: PerGate(Zeros(), 0), "gates"),
        (lambda: GQA.draw(Key(0), (95, 64), fans.linear((95, 64))), "add up to 95"),
        (lambda: PerGate(Zeros(), 4).draw(Key(0), (6, 2), fans.linear((6, 2))), "4 gates"),
        (lambda: PerGate(Zeros(), 2, axis=3).draw(Key(0), (6, 2), fans.linear((6, 2))), "axis"),
        (lambda: PerGate(Identity(), 2).draw(Key(0), (6,), fans.elementwise((6,))), "rank"),
        (lambda: GQA.std(fans.linear((96, 64))), "pass shape="),
    ],
)
def test_errors_say_what_is_wrong(make, text):
    with pytest.raises(InputError, match=text):
        make()
