"""fast: any code's random fills, keyed, drawn late, and safe."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import init

import fanin
from fanin.errors import InputError
from fanin.keys import Key, Law, sample


class Net(nn.Module):
    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        self.emb = nn.Embedding(11, 6, padding_idx=3)
        if extra:
            self.more = nn.Linear(6, 6)
        self.fc = nn.Linear(6, 5)
        self.experts = nn.Parameter(torch.empty(3, 6, 4))
        for expert in self.experts.detach():
            init.normal_(expert, std=0.5)
        self.register_buffer("noise", torch.randn(7))


def values(law: Law, name: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(sample(law, Key(seed, name), int(np.prod(shape))).reshape(shape))


def test_keyed_by_parameter_name() -> None:
    with fanin.fast(seed=0):
        net = Net()
    bound = 6**-0.5
    assert torch.equal(net.fc.weight, values(Law("uniform", -bound, 2 * bound), "fc.weight", (5, 6)))
    assert torch.equal(net.experts, values(Law("normal", 0.0, 0.5), "experts", (3, 6, 4)))
    assert torch.equal(net.noise, values(Law("normal", 0.0, 1.0), "noise", (7,)))
    assert net.emb.weight[3].eq(0).all()
    expected = values(Law("normal", 0.0, 1.0), "emb.weight", (11, 6))
    assert torch.equal(net.emb.weight[4:], expected[4:])


def test_order_of_construction_does_not_matter() -> None:
    with fanin.fast(seed=0):
        one = Net()
    with fanin.fast(seed=0):
        two = Net(extra=True)
    assert torch.equal(one.fc.weight, two.fc.weight)
    with fanin.fast(seed=1):
        other = Net()
    assert not torch.equal(one.fc.weight, other.fc.weight)


def test_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with fanin.fast(seed=0):
        nn.Linear(5, 5)
    assert torch.equal(before, torch.get_rng_state())


def test_last_fill_wins_and_reads_settle() -> None:
    with fanin.fast(seed=0):
        layer = nn.Linear(4, 4)
        init.normal_(layer.weight, std=2.0)
        seen = layer.weight.detach().clone()  # a read: drawn now
        listed = torch.randn(3)
        raw = listed.tolist()
        array = torch.rand(3).numpy().copy()
    assert torch.equal(seen, layer.weight)
    assert raw == listed.tolist()
    assert ((array >= 0) & (array < 1)).all()
    assert array.std() > 0


def test_values_computed_from_draws() -> None:
    with fanin.fast(seed=0):
        a = torch.randn(1000)
        b = a * 2 + 1
        c = torch.stack([a, b])
    assert torch.equal(b, a * 2 + 1)
    assert torch.equal(c[0], a)
    assert abs(a.mean()) < 4 / 1000**0.5
    assert abs(a.std() - 1) < 4 / 2000**0.5


@pytest.mark.parametrize("fill", ["xavier_uniform_", "kaiming_normal_", "orthogonal_", "trunc_normal_", "dirac_"])
def test_torchs_initializers_inside(fill: str) -> None:
    with fanin.fast(seed=0):
        one = getattr(init, fill)(torch.empty(8, 8, 3))
    with fanin.fast(seed=0):
        two = getattr(init, fill)(torch.empty(8, 8, 3))
    assert torch.equal(one, two)
    assert torch.isfinite(one).all()
    assert one.std() > 0


def test_truncation_is_kept() -> None:
    with fanin.fast(seed=0):
        w = init.trunc_normal_(torch.empty(5000), std=1.0, a=-1.0, b=1.0)
    assert w.abs().max() <= 1
    assert w.abs().max() > 0.9


def test_exception_inside_leaves_everything_filled() -> None:
    made = []

    def build() -> None:
        made.append(nn.Linear(300, 300))
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"), fanin.fast(seed=0):
        build()
    std = made[0].weight.std().item()
    assert abs(std * (3 * 300) ** 0.5 - 1) < 0.02
    w = nn.Linear(3, 3).weight  # and the redirection is gone
    assert w.requires_grad
    assert init._no_grad_trunc_normal_.__module__ == "torch.nn.init"


def test_nesting() -> None:
    with fanin.fast(seed=0):
        outer = nn.Linear(4, 4)
        with fanin.fast(seed=1):
            inner = nn.Linear(4, 4)
    with fanin.fast(seed=1):
        alone = nn.Linear(4, 4)
    assert torch.equal(inner.weight, alone.weight)
    assert not torch.equal(outer.weight, inner.weight)


def test_other_threads_are_not_touched() -> None:
    """A thread without the block draws from torch as ever, while one with it is open."""
    torch.manual_seed(7)
    expected = torch.randn(5)
    inside, seen = threading.Event(), []

    def other() -> None:
        inside.wait(10)
        torch.manual_seed(7)
        seen.append(torch.randn(5))

    thread = threading.Thread(target=other)
    thread.start()
    with fanin.fast(seed=0):
        inside.set()
        thread.join()
    assert torch.equal(seen[0], expected)


def test_what_is_left_to_torch() -> None:
    with fanin.fast(seed=0):
        generated = torch.randn(4, generator=torch.Generator().manual_seed(3))
        integers = torch.randint(0, 5, (4,))
        strided = torch.zeros(4, 6).t().normal_()
    assert torch.equal(generated, torch.randn(4, generator=torch.Generator().manual_seed(3)))
    assert integers.dtype == torch.int64
    assert strided.std() > 0


def test_bad_seed() -> None:
    with pytest.raises(InputError, match="seed"), fanin.fast(seed=-1):
        pass


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_round_the_same_values(dtype: torch.dtype) -> None:
    with fanin.fast(seed=0):
        low = nn.Linear(20, 20, dtype=dtype)
    with fanin.fast(seed=0):
        full = nn.Linear(20, 20)
    # The layer computes its own bound, so the law is the same; the value is the float32 one, converted.
    assert torch.equal(low.weight, full.weight.to(dtype))
