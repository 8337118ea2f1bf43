"""Mirrored: the blocks of the matrix, odd sizes, axes in any place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.errors import InputError
from fanin.fans import conv, experts, linear
from fanin.initializers import LecunNormal, Mirrored, Orthogonal
from fanin.keys import Key


@given(rows=st.integers(1, 9), columns=st.integers(2, 9), out=st.booleans(), into=st.booleans())
def test_the_blocks(rows, columns, out, into):
    if not (out or into):
        return
    w = Mirrored(LecunNormal(), out, into).draw(Key(1), (rows, columns), linear((rows, columns)))
    half, partner = (rows + 1) // 2, columns // 2
    if out:
        assert np.array_equal(w[half:], -w[: rows - half])
    if into:
        assert np.array_equal(w[:, columns - partner :], -w[:, :partner])
        assert not w[:, partner : columns - partner].any()  # the unit without a partner
    assert w[:half, :partner].any()


def test_transposed_layout_and_windows():
    kernel = Mirrored(LecunNormal()).draw(Key(0), (6, 4, 3), conv((6, 4, 3)))
    assert np.array_equal(kernel[3:], -kernel[:3])
    assert np.array_equal(kernel[:, 2:], -kernel[:, :2])
    table = Mirrored(Orthogonal()).draw(Key(0), (4, 6), linear((4, 6), out_axis=1, in_axis=0))
    assert np.array_equal(table[:, 3:], -table[:, :3])


def test_refusals():
    with pytest.raises(InputError, match="Initializer"):
        Mirrored("orthogonal")
    with pytest.raises(InputError, match="both False"):
        Mirrored(Orthogonal(), False, False)
    with pytest.raises(InputError, match="True or False"):
        Mirrored(Orthogonal(), out=1)
    for fans, shape in ((conv((8, 4, 3), groups=2), (8, 4, 3)), (experts((2, 8, 4), out_axis=1, in_axis=2), (2, 8, 4))):
        with pytest.raises(InputError, match="groups"):
            Mirrored(LecunNormal()).draw(Key(0), shape, fans)
