"""Positions of operands that are passed as a list: einsum with three."""

from __future__ import annotations

import torch
from torch import nn

from fanin.slots import find
from fanin.trace import trace


class Three(nn.Module):
    def __init__(self, second: bool) -> None:
        super().__init__()
        self.weight, self.second = nn.Parameter(torch.randn(5, 7)), second

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.second:
            return torch.einsum("nd,ds,nk->nsk", x, self.weight, y)
        return torch.einsum("nd,nk,ds->nsk", x, y, self.weight)


def test_each_operand_of_a_list_has_its_own_place() -> None:
    x, y = torch.randn(2, 5), torch.randn(2, 3)
    for second in (True, False):
        model = Three(second)
        graph = trace(model, (x, y), statistics=False).graph
        (node, use), *_ = graph.uses("weight")
        assert use.position == (1 if second else 2)
        fans = find(model, graph)["weight"].fans
        assert fans is not None
        assert (fans.in_axes, fans.out_axes) == ((0,), (1,))
        assert (fans.fan_in, node.op) == (5, "einsum")
