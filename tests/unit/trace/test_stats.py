"""Statistics of one tensor against the same in float64 by the definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fanin import native
from fanin.errors import InputError
from fanin.graph import Saturation
from fanin.signals import BINS
from fanin.trace import _fused, trace
from fanin.trace._attention import fused_entropy, softmax_entropy
from fanin.trace._gates import gates
from fanin.trace._stats import SAMPLE, BatchAxis, measure, measure_sample


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlation(x: torch.Tensor, axis: int = 0) -> float:
    rows = x.double().movedim(axis, 0).flatten(1)
    gram = rows @ rows.T
    n = len(rows)
    return float((gram.sum() - gram.trace()) / (n * (n - 1)) / (gram.trace() / n))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    exponent=st.sampled_from([-30, -16, -3, 0, 3, 4]),
    turned=st.booleans(),
)
def test_moments_by_the_definition(shape: list[int], dtype: torch.dtype, exponent: int, turned: bool) -> None:
    x = (draw(*shape).double() * 10.0**exponent).to(dtype)
    x = x.permute(*reversed(range(x.dim()))) if turned else x
    stats = measure(x)
    exact = x.double()
    # float32 sums of at most 6561 terms: relative error of the mean square below 6561 · 2^-24
    assert stats.second_moment == pytest.approx(float(exact.square().mean()), rel=4e-4)
    assert stats.mean == pytest.approx(float(exact.mean()), abs=4e-4 * float(exact.abs().mean()) + 1e-300)
    assert stats.max_abs == pytest.approx(float(exact.abs().max()), rel=1e-6)
    assert stats.count == x.numel()
    assert stats.zero_fraction == pytest.approx(float((exact == 0).double().mean()))
    assert stats.histogram is not None
    assert sum(stats.histogram.counts) == x.numel()
    assert len(stats.histogram.counts) == BINS


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_extreme_scales_stay_finite(scale: float) -> None:
    x = draw(64, 32) * scale
    stats = measure(x, BatchAxis(0, 64))
    assert stats.second_moment == pytest.approx(float((x.double() ** 2).mean()), rel=1e-4)
    assert stats.nonfinite_fraction == 0
    assert stats.sample_correlation == pytest.approx(correlation(x), abs=1e-4)
    assert scale == 1.0 or not math.isfinite(float(x.square().mean())) or float(x.square().mean()) == 0.0


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    x = draw(100)
    x[:5], x[5:10] = math.nan, -math.inf
    stats = measure(x)
    assert stats.nonfinite_fraction == pytest.approx(0.1)
    assert stats.second_moment == pytest.approx(float(x[10:].square().mean()), rel=1e-5)
    assert measure(torch.full((4,), math.nan)).nonfinite_fraction == 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_correlation_between_samples(axis: int) -> None:
    x = draw(5, 5, 5) + draw(1, 1, 5, seed=1) * 2
    assert measure(x, BatchAxis(axis, 5)).sample_correlation == pytest.approx(correlation(x, axis), abs=1e-5)
    assert abs(correlation(x, axis) - correlation(x, (axis + 1) % 3)) > 1e-3  # the axes do differ


def test_correlation_where_the_batch_is_merged_with_other_axes() -> None:
    x = draw(3, 4, 5, 6) + 1
    merged = x.reshape(3 * 4 * 5, 6)
    assert measure(merged, BatchAxis(0, 4, 3, 5)).sample_correlation == pytest.approx(correlation(x, 1), abs=1e-5)


def test_copies_correlate_fully_and_one_sample_not_at_all() -> None:
    assert measure(draw(1, 7).repeat(4, 1), BatchAxis(0, 4)).sample_correlation == pytest.approx(1.0)
    assert measure(draw(1, 7), BatchAxis(0, 1)).sample_correlation is None


def test_shares_of_saturated_zero_and_dead() -> None:
    x = torch.relu(draw(50, 8))
    x[:, :2] = 0.0
    stats = measure(x, unit_axis=1)
    assert stats.dead_fraction == 0.25
    assert stats.zero_fraction == pytest.approx(float((x == 0).float().mean()))
    saturated = measure(torch.tanh(draw(1000) * 3), saturation=Saturation(-0.99, 0.99)).saturated_fraction
    assert saturated == pytest.approx(float((torch.tanh(draw(1000) * 3).abs() >= 0.99).float().mean()))


def test_a_large_tensor_is_sampled_for_shares_alone() -> None:
    x = draw(512, 512)
    x[:, ::4] = 0.0
    stats = measure(x)
    # a share p from n values has standard error sqrt(p (1 - p) / n)
    assert stats.zero_fraction == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / (SAMPLE / 2)))
    assert stats.max_abs == float(x.abs().max())
    assert stats.second_moment == pytest.approx(float(x.double().square().mean()), rel=1e-5)
    part = measure_sample(x)
    assert (part.count, part.exact) == (x.numel(), False)


def test_repeated_values_are_read_once_and_counted_all() -> None:
    x = draw(4, 1, 8).expand(4, 100, 8)
    stats = measure(x)
    assert stats.count == 3200
    assert stats.second_moment == pytest.approx(float(x.double().square().mean()), rel=1e-5)


def test_complex_values_are_pairs() -> None:
    x = torch.complex(draw(100), draw(100, seed=1))
    assert measure(x).second_moment == pytest.approx(float(torch.view_as_real(x).square().mean()), rel=1e-5)


# -- attention ------------------------------------------------------------


def test_entropy_of_uniform_and_of_one_hot_rows() -> None:
    assert softmax_entropy(torch.full((2, 3, 8), 1 / 8), -1, False) == pytest.approx(1.0, abs=1e-6)
    assert softmax_entropy(torch.eye(8)[None], -1, False) == pytest.approx(0.0)


@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "float"])
def test_entropy_inside_a_fused_call_is_that_of_its_weights(mask: str) -> None:
    q, k = draw(2, 2, 6, 4), draw(2, 2, 6, 4, seed=1)
    allowed = torch.ones(6, 6, dtype=torch.bool)
    arguments, attrs = {"query": q, "key": k}, {}
    if mask == "causal":
        allowed, attrs = allowed.tril(), {"is_causal": True}
    elif mask != "none":
        allowed[:, 3] = False
        arguments["attn_mask"] = allowed if mask == "boolean" else (~allowed).float() * -1e9
    logits = (q @ k.mT / 2).masked_fill(~allowed, -math.inf)
    weights = logits.softmax(-1)
    counts = allowed.sum(-1)
    rows = torch.special.entr(weights).sum(-1)[..., counts > 1] / counts[counts > 1].log()
    assert fused_entropy(arguments, attrs) == pytest.approx(float(rows.mean()), rel=1e-5)
    assert softmax_entropy(weights, -1, mask != "none") == pytest.approx(float(rows.mean()), rel=1e-5)
    if mask == "causal":  # without the mask's count a triangular pattern would look concentrated
        assert softmax_entropy(weights, -1, False) < float(rows.mean()) - 0.05


def test_attention_scores_behind_a_mask_show_no_infinities() -> None:
    class Attention(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.q, self.k, self.v, self.how = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), how

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.q(x) @ self.k(x).mT
            mask = torch.ones(5, 5).triu(1)
            scores = scores.masked_fill(mask.bool(), -math.inf) if self.how == "fill" else scores + mask * -1e9
            return scores.softmax(-1) @ self.v(x)

    for how in ("fill", "add"):
        record = trace(Attention(how), draw(3, 5, 4))
        assert all(s.nonfinite_fraction == 0 and s.max_abs < 100 for s in record.signals)
        assert sum(s.entropy is not None for s in record.signals) == 1


# -- recurrent gates ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gates_rebuild_the_output(kind: str, bidirectional: bool) -> None:
    """The last layer's output follows from its gates: h = o·tanh(c), h = (1 − z)·n + z·h, h = f(·)."""
    torch.manual_seed(0)
    options = {"num_layers": 2, "bidirectional": bidirectional}
    make = {"lstm": nn.LSTM, "gru": nn.GRU}.get(kind)
    module = make(3, 4, **options) if make else nn.RNN(3, 4, nonlinearity=kind[4:], **options)
    x = draw(6, 2, 3)
    layers = 4 if bidirectional else 2
    states = [torch.zeros(layers, 2, 4) for _ in range(2 if kind == "lstm" else 1)]
    tensors = {"input": x, **dict(module.named_parameters())}
    with torch.no_grad():
        found = {g.name: g.values for g in gates(kind, tensors, states, options)}
        output = module(x)[0]
    for index, direction in enumerate(("", "_reverse") if bidirectional else ("",)):
        part = {name.split("_")[0]: v for name, v in found.items() if name.endswith(f"_l1{direction}")}
        expected = output[..., 4 * index : 4 * index + 4]
        assert torch.allclose(rebuild(kind, part), expected.flip(0) if direction else expected, atol=1e-6)


def rebuild(kind: str, part: dict[str, torch.Tensor]) -> torch.Tensor:
    if kind.startswith("rnn"):
        return part["h"]
    state, outputs = torch.zeros(2, 4), []
    for step in range(6):
        now = {name: values[step] for name, values in part.items()}
        if kind == "lstm":
            state = now["f"] * state + now["i"] * now["g"]
            outputs.append(now["o"] * state.tanh())
        else:
            state = (1 - now["z"]) * now["n"] + now["z"] * state
            outputs.append(state)
    return torch.stack(outputs)


def test_a_forget_bias_on_the_cell_gate_shows() -> None:
    module = nn.LSTM(3, 8, batch_first=True)
    for first, place in ((8, "gate_f_l0"), (16, "gate_g_l0")):
        with torch.no_grad():
            module.bias_ih_l0.zero_()
            module.bias_ih_l0[first : first + 8] = 6.0
        signals = trace(module, draw(4, 5, 3)).signals
        for name in ("gate_i_l0", "gate_f_l0", "gate_g_l0", "gate_o_l0"):
            saturated = signals.at(name).saturated_fraction
            assert saturated > 0.9 if name == place else saturated < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(8, 6, 5, 7), (12, 300), (3, 2)])
def test_kernel_and_torch_agree(monkeypatch, dtype, shape):
    """Two roads to each number: the fused pass and torch's reductions, to the precision of float32 sums."""
    torch.manual_seed(0)
    x = torch.relu(torch.randn(shape)).to(dtype)
    x[:, 0] = 0
    roads = []
    for kernel in (True, False):
        if not kernel:
            monkeypatch.setattr("fanin.trace._fused.one_pass", lambda *_: None)
        batch = BatchAxis(0, shape[0])
        roads.append(measure(x, batch, Saturation(-math.inf, 1.5), unit_axis=1))
    fused, plain = roads
    for name in ("count", "max_abs", "dead_fraction"):
        assert getattr(fused, name) == getattr(plain, name)
    for name in ("mean", "second_moment", "sample_correlation", "zero_fraction", "saturated_fraction"):
        assert getattr(fused, name) == pytest.approx(getattr(plain, name), rel=1e-4, abs=1e-6), name
    assert sum(fused.histogram.counts) == sum(plain.histogram.counts)


def test_tensors_without_memory_never_reach_the_kernel():
    """Fake tensors say they are on the CPU but have no values; a kernel that read them would take the process down."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.randn(8, 8)
    assert _fused.one_pass(fake.view(-1), None) is None
    assert _fused.dead_share(fake, 1) is None
    seen = []
    torch.func.vmap(lambda row: seen.append(_fused.one_pass(row, None)) or row)(torch.randn(4, 6))
    assert seen == [None]
    if native.available():
        with pytest.raises(InputError, match="address"):
            native.stats(0, 5)
