"""Shards: the pieces of any mesh, put together, are the whole tensor; a rank fills its own."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import Partial, _StridedShard

from fanin import fans
from fanin.errors import InputError
from fanin.initializers import Normal, Orthogonal
from fanin.keys import Key
from fanin.materialize import _shards, fill_, materialize, put
from fanin.recipe import Line, Recipe

MESHES = {
    "rows over 3": ((3,), (Shard(0),)),
    "columns over 2": ((2,), (Shard(1),)),
    "uneven and empty": ((9,), (Shard(0),)),
    "both": ((2, 3), (Shard(0), Shard(1))),
    "twice the rows": ((2, 2), (Shard(0), Shard(0))),
    "strided": ((2, 2), (_StridedShard(0, split_factor=2), Shard(0))),
    "replicated": ((2, 2), (Replicate(), Shard(1))),
}


@pytest.mark.parametrize("name", MESHES)
def test_every_element_is_on_some_rank_and_once_where_nothing_is_replicated(name):
    sizes, placements = MESHES[name]
    shape = (7, 5)
    count = torch.zeros(shape)
    for rank in itertools.product(*map(range, sizes)):
        axes = _shards.axis_indices(shape, placements, sizes, rank)
        count[torch.meshgrid(*axes, indexing="ij")] += 1
    copies = 2 if name == "replicated" else 1
    assert count.eq(copies).all()


def test_partial_placements_hold_no_values():
    with pytest.raises(InputError, match="Shard or Replicate"):
        _shards.axis_indices((4,), (Partial(),), (2,), (0,))


def test_contiguous_runs_are_found():
    shape = (6, 5)
    assert _shards.first_element(shape, [torch.arange(2, 4), torch.arange(5)]) == 10
    assert _shards.first_element(shape, [torch.tensor([0, 2]), torch.arange(5)]) is None
    assert _shards.first_element(shape, [torch.arange(6), torch.arange(2)]) is None


@pytest.fixture(scope="module")
def mesh():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("initializer", [Normal(), Orthogonal()], ids=str)
@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Replicate()], ids=str)
def test_a_dtensor_is_filled_as_the_plain_tensor(mesh, initializer, placement):
    sharded = distribute_tensor(torch.zeros(6, 4), mesh, [placement])
    fill_(sharded, initializer, seed=1, name="w")
    assert torch.equal(sharded.to_local(), fill_(torch.zeros(6, 4), initializer, seed=1, name="w"))


def test_a_rank_fills_its_rows_of_the_stream(monkeypatch):
    whole = torch.empty(6, 4)
    put(whole, Normal(), Key(0, "w"), fans.linear((6, 4)))
    for rows in ((0, 3), (3, 6)):
        local = torch.zeros(rows[1] - rows[0], 4)
        axes = [torch.arange(*rows), torch.arange(4)]
        monkeypatch.setattr(_shards, "is_sharded", lambda tensor: tensor.shape == (6, 4))
        monkeypatch.setattr(_shards, "local_part", lambda tensor, part=(local, axes): part)
        put(torch.zeros(6, 4), Normal(), Key(0, "w"), fans.linear((6, 4)), zero_rows=(4,))
        expected = whole.clone()
        expected[4] = 0
        assert torch.equal(local, expected[rows[0] : rows[1]])


def test_a_sharded_module_on_meta(mesh):
    plan = Recipe([Line("weight", Normal(), "", (6, 4), fans.linear((6, 4)))])
    with torch.device("meta"):
        module = nn.Linear(4, 6, bias=False)
    module.register_parameter("weight", nn.Parameter(distribute_tensor(module.weight.detach(), mesh, [Shard(0)])))
    materialize(module, plan, seed=1)
    assert torch.equal(module.weight.to_local(), fill_(torch.zeros(6, 4), Normal(), seed=1, name="weight"))
