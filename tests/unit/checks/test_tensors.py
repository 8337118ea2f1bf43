"""Equal rows, distinct values and axes of stored weights."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.checks import Evidence
from fanin.checks._tensors import equal_rows, mostly_distinct, readable, rows
from fanin.fans import experts, linear
from fanin.slots import Slot


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 200), st.data())
def test_exactly_the_planted_copies_are_found(n: int, k: int, data: st.DataObject) -> None:
    matrix = torch.randn(n, k, generator=torch.Generator().manual_seed(n * 1000 + k))
    source, copy = data.draw(st.permutations(range(n)))[:2]
    assert equal_rows(matrix) == []
    matrix[copy] = matrix[source]
    assert equal_rows(matrix) == [sorted((source, copy))]


def test_rows_that_agree_only_where_they_are_sampled_are_not_equal() -> None:
    matrix = torch.randn(1, 640).repeat(2, 1)
    matrix[1, 5] += 1  # every tenth entry is hashed
    assert equal_rows(matrix) == []


def test_zero_rows_are_no_copies_and_signed_zeros_are_equal() -> None:
    assert equal_rows(torch.zeros(4, 8)) == []
    assert equal_rows(torch.tensor([[0.0, 1.0], [-0.0, 1.0]])) == [[0, 1]]


def test_units_of_experts_lie_along_their_own_axis() -> None:
    tensor = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)
    slot = Slot("w", (2, 3, 4), "weight", "traced", "", "", experts((2, 3, 4), out_axis=2, in_axis=1))
    assert rows(tensor, slot).shape == (2, 4, 3)
    assert torch.equal(rows(tensor, slot)[1, 2], tensor[1, :, 2])
    matrix = torch.arange(6.0).reshape(2, 3)
    transposed = Slot("w", (2, 3), "weight", "traced", "", "", linear((2, 3), out_axis=1, in_axis=0))
    assert torch.equal(rows(matrix, transposed)[0], matrix.T)
    assert torch.equal(rows(matrix, None)[0], matrix)


def test_a_draw_is_told_from_a_pattern() -> None:
    assert mostly_distinct(torch.randn(100))
    assert not mostly_distinct(torch.eye(10))
    assert not mostly_distinct(torch.ones(10))


def test_only_tensors_with_real_values_are_read() -> None:
    model = torch.nn.ParameterDict(
        {"a": torch.nn.Parameter(torch.ones(2)), "b": torch.nn.Parameter(torch.empty(2, device="meta"))}
    )
    model["c"] = torch.nn.UninitializedParameter()
    model["d"] = torch.nn.Parameter(torch.ones(2, dtype=torch.int32), requires_grad=False)
    model["e"] = torch.nn.Parameter(torch.ones(0))
    assert [name for name, _ in readable(Evidence(model, dict(model.named_parameters())))] == ["a"]
