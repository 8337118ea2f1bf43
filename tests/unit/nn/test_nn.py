"""The drop-ins: torch's names and signatures, torch's distributions, and the corrections on request."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from scipy import stats
from torch.nn import init

import fanin
from fanin import nn
from fanin.errors import InputError
from fanin.fans import experts

FILLS = [name for name in init.__all__ if name.endswith("_")]


@pytest.mark.parametrize("name", init.__all__)
def test_every_name_and_signature_of_torch(name: str) -> None:
    theirs, ours = inspect.signature(getattr(init, name)), inspect.signature(getattr(nn, name))
    if not name.endswith("_") and name != "calculate_gain":
        return  # torch's deprecated names take (*args, **kwargs); calling them is tested below
    for (their_name, their), (our_name, our) in zip(theirs.parameters.items(), ours.parameters.items(), strict=False):
        assert (their_name, their.default, their.kind) == (our_name, our.default, our.kind)
    extra = list(ours.parameters.values())[len(theirs.parameters) :]
    assert len(ours.parameters) >= len(theirs.parameters)
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in extra)


def test_nothing_of_torch_is_missing() -> None:
    assert set(init.__all__) <= set(nn.__all__)


@pytest.mark.parametrize("name", [n for n in init.__all__ if n + "_" in init.__all__])
def test_deprecated_names_warn_and_work(name: str) -> None:
    arguments = {"constant": (0.5,), "sparse": (0.5,)}.get(name, ())
    shape = (4, 4, 3) if name == "dirac" else (4, 4)
    with pytest.warns(FutureWarning, match=name + "_"):
        getattr(nn, name)(torch.empty(shape), *arguments)


CALLS = {
    "uniform_": ((-0.3, 0.7), {}),
    "normal_": ((0.1, 0.3), {}),
    "trunc_normal_": ((0.1, 0.5, -0.4, 1.6), {}),
    "xavier_uniform_": ((1.3,), {}),
    "xavier_normal_": ((1.3,), {}),
    "kaiming_uniform_": ((math.sqrt(5),), {}),
    "kaiming_normal_": ((0.2, "fan_out"), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_same_distribution_as_torch(name: str) -> None:
    """Two-sample Kolmogorov-Smirnov of 40,000 values each; wrong std by 5 % would be caught (the negative twin)."""
    arguments, _ = CALLS[name]
    torch.manual_seed(0)
    theirs = getattr(init, name)(torch.empty(100, 400), *arguments).flatten().numpy()
    ours = getattr(nn, name)(torch.empty(100, 400), *arguments, seed=3, name=name).flatten().numpy()
    assert stats.ks_2samp(theirs, ours).pvalue > 1e-3
    assert stats.ks_2samp(theirs, (ours - ours.mean()) * 1.05 + ours.mean()).pvalue < 1e-3


def test_orthogonal_and_identity() -> None:
    w = nn.orthogonal_(torch.empty(6, 10), gain=2.0, seed=0)
    torch.testing.assert_close(w @ w.T, 4 * torch.eye(6), atol=1e-5, rtol=0)
    assert torch.equal(nn.eye_(torch.empty(3, 5)), init.eye_(torch.empty(3, 5)))
    for groups in (1, 2):
        assert torch.equal(nn.dirac_(torch.empty(4, 2, 3, 3), groups), init.dirac_(torch.empty(4, 2, 3, 3), groups))


def test_sparse_has_torchs_count_per_column() -> None:
    ours, theirs = nn.sparse_(torch.empty(50, 20), 0.3, seed=0), init.sparse_(torch.empty(50, 20), 0.3)
    assert torch.equal((ours == 0).sum(0), (theirs == 0).sum(0))


def test_key_sources() -> None:
    shape = (7, 5)
    by_seed = nn.normal_(torch.empty(shape), seed=4, name="w")
    assert torch.equal(by_seed, nn.normal_(torch.empty(shape), key=fanin.Key(4, "w")))
    assert not torch.equal(by_seed, nn.normal_(torch.empty(shape), seed=4, name="v"))
    one, two = (nn.normal_(torch.empty(shape), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    torch.manual_seed(5)
    first = nn.normal_(torch.empty(shape))
    second = nn.normal_(torch.empty(shape))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(first, nn.normal_(torch.empty(shape)))
    with pytest.raises(InputError, match="at most one"):
        nn.normal_(torch.empty(shape), seed=1, key=fanin.Key(1))
    with pytest.raises(InputError, match="sede"):
        nn.normal_(torch.empty(shape), sede=1)


def test_corrections_on_request() -> None:
    """Depthwise fan_out, transposed convolution and stacked experts: the std that the layer really needs."""
    depthwise = torch.empty(256, 1, 3, 3)
    wrong = nn.kaiming_normal_(depthwise.clone(), mode="fan_out", nonlinearity="relu", seed=0).std().item()
    right = nn.kaiming_normal_(depthwise, mode="fan_out", nonlinearity="relu", groups=256, seed=0).std().item()
    error = 4 / math.sqrt(2 * depthwise.numel())
    assert abs(wrong / 0.02946 - 1) < error
    assert abs(right / 0.47140 - 1) < error
    stack = torch.empty(8, 64, 128)
    place = experts(stack.shape, out_axis=2, in_axis=1)
    std = nn.kaiming_normal_(stack, nonlinearity="linear", fans=place, seed=0).std().item()
    assert abs(std * 8 - 1) < 4 / math.sqrt(2 * stack.numel())
    transposed = nn.kaiming_normal_(torch.empty(64, 16, 4, 4), nonlinearity="linear", transposed=True, stride=2, seed=0)
    assert abs(transposed.std().item() * math.sqrt(64 * 16 / 4) - 1) < 4 / math.sqrt(2 * transposed.numel())


def test_truncation_in_standard_deviations() -> None:
    w = nn.trunc_normal_(torch.empty(20_000), std=0.02, bounds="std", seed=0)
    assert w.abs().max() <= 0.04
    absolute = nn.trunc_normal_(torch.empty(20_000), std=0.02, seed=0)
    assert absolute.abs().max() > 0.04  # torch's default bounds cut nothing here


@pytest.mark.parametrize(("a", "b"), [(0.5, 2.0), (3.0, 4.0), (-9.0, -7.0), (-1.0, 5.0)])
def test_asymmetric_truncation(a: float, b: float) -> None:
    w = nn.trunc_normal_(torch.empty(20_000), a=a, b=b, seed=1).double().numpy()
    assert w.min() >= a - 1e-6
    assert w.max() <= b + 1e-6
    assert stats.kstest(w, stats.truncnorm(a, b).cdf).pvalue > 1e-3
    assert stats.kstest(w * 1.05, stats.truncnorm(a, b).cdf).pvalue < 1e-3  # the test would see 5 % of scale


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_torchs(name: str) -> None:
    assert nn.calculate_gain(name) == init.calculate_gain(name)


def test_gains_beyond_torch() -> None:
    assert nn.calculate_gain("gelu") == pytest.approx(1.53353044, abs=1e-8)
    assert nn.calculate_gain("tanh", exact=True) == pytest.approx(1.59253742, abs=1e-8)
    assert nn.calculate_gain("leaky_relu", 0.2) == init.calculate_gain("leaky_relu", 0.2)


BAD = [
    (lambda t: nn.normal_(t, std=-1.0), torch.zeros(3, 3), "stddev"),
    (lambda t: nn.uniform_(t, 1.0, 0.0), torch.zeros(3, 3), "maxval|minval|b"),
    (lambda t: nn.normal_(t), torch.zeros(3, 3, dtype=torch.int64), "floating"),
    (lambda t: nn.normal_(t), torch.zeros(3, 3, device="meta"), "meta"),
    (lambda t: nn.normal_(t), torch.zeros(3, 1).expand(3, 3), "expanded"),
    (lambda t: nn.xavier_normal_(t), torch.zeros(3), "rank"),
    (lambda t: nn.orthogonal_(t), torch.zeros(3), "rank"),
    (lambda t: nn.kaiming_normal_(t, mode="fan_both"), torch.zeros(3, 3), "fan_both"),
    (lambda t: nn.kaiming_normal_(t, nonlinearity="rlu"), torch.zeros(3, 3), "rlu"),
    (lambda t: nn.kaiming_normal_(t, groups=2), torch.zeros(3, 3, 3), "groups"),
    (lambda t: nn.trunc_normal_(t, std=0.0), torch.zeros(3, 3), "std"),
    (lambda t: nn.trunc_normal_(t, a=1.0, b=1.0), torch.zeros(3, 3), "a < b"),
]


@pytest.mark.parametrize(("call", "tensor", "match"), BAD)
def test_errors_leave_the_tensor_alone(call, tensor, match) -> None:
    before = tensor.clone() if not tensor.is_meta else None
    with pytest.raises(InputError, match=match):
        call(tensor)
    assert before is None or torch.equal(before, tensor)


def test_leaf_that_requires_grad_and_views() -> None:
    parameter = torch.nn.Parameter(torch.zeros(4, 6))
    nn.normal_(parameter, seed=0)
    assert parameter.grad_fn is None
    whole = torch.zeros(4, 6)
    nn.normal_(whole.t(), seed=0)
    assert torch.equal(whole.t(), nn.normal_(torch.empty(6, 4), seed=0))
    assert nn.xavier_normal_(torch.empty(5, 0), seed=0).shape == (5, 0)
