"""transformer-depth and rnn-memory measure what they say, and tell a wrong start from a right one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from fanin.data import alice
from fanin.experiments import rnn_memory, transformer_depth
from fanin.experiments._base import Settings, judge
from fanin.experiments._copy_task import LETTERS, Recaller, copies
from fanin.experiments._transformers import Norm, Transformer, admin, bits, unigram
from fanin.initializers import VarianceScaling
from fanin.materialize import write

# -- the copy task


@pytest.mark.parametrize("symbols", [1, 3])
def test_a_sequence_holds_its_answer_the_delay_before(symbols: int) -> None:
    data = copies(20, symbols, train=50, test=7)
    tokens = data.train_x.argmax(-1)
    assert data.train_x.shape == (50, 20 + 2 * symbols, LETTERS + 2)
    assert np.array_equal(tokens[:, :symbols], data.train_y)
    assert (tokens[:, symbols:] == LETTERS).sum(1).tolist() == [20 + symbols - 1] * 50
    assert (tokens[:, symbols + 20 - 1] == LETTERS + 1).all()  # the step after it is the first of recall
    assert data.classes == LETTERS
    assert len(data.test_x) == 7


def test_the_state_is_read_at_the_steps_of_recall() -> None:
    torch.manual_seed(0)
    model, x = Recaller(6, 2), torch.from_numpy(copies(5, 2, train=4, test=0).train_x)
    states, _ = model.memory(x)
    assert torch.equal(model(x), model.head(states[:, 7:9]))
    assert states.shape[1] == 9


# -- memory


def test_gates_are_those_of_torchs_cell() -> None:
    """With them the cell's own equation gives torch's states."""
    torch.manual_seed(1)
    cell, x = nn.LSTM(3, 5, batch_first=True), torch.randn(2, 7, 3)
    forget = rnn_memory.gates(cell, x)
    assert forget.shape == (7, 2, 5)
    states, (_, before) = cell(x[:, :-1])
    _, (_, after) = cell(x)
    into = x[:, -1] @ cell.weight_ih_l0.T + cell.bias_ih_l0 + states[:, -1] @ cell.weight_hh_l0.T + cell.bias_hh_l0
    i, _, g, _ = into.chunk(4, -1)
    step = forget[-1] * before[0] + i.sigmoid() * g.tanh()
    assert torch.allclose(step, after[0], atol=1e-6)
    assert not torch.allclose(forget[-2] * before[0] + i.sigmoid() * g.tanh(), after[0], atol=1e-4)


def test_predicted_retention_by_two_roads() -> None:
    assert rnn_memory.predicted_retention({"forget_bias": 0.0}, 3) == pytest.approx(1 / 8)
    assert rnn_memory.predicted_retention({"forget_bias": 1.0}, 2) == pytest.approx(0.7310586**2, rel=1e-6)
    u = np.random.default_rng(0).uniform(1, 99, 400_000)
    sampled = ((u / (1 + u)) ** 100).mean()
    spread = ((u / (1 + u)) ** 100).std() / math.sqrt(len(u))
    assert rnn_memory.predicted_retention({"max_time": 100.0}, 100) == pytest.approx(sampled, abs=5 * spread)


def test_memory_claims_fail_with_the_wrong_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [c for c in rnn_memory.EXPERIMENT.claims if c.number.endswith(("_per_step", "_expected", "_gradient"))]

    def failed() -> set[str]:
        numbers: dict[str, float] = {}
        for part in (rnn_memory._retention, rnn_memory._plain):
            part(Settings("quick"), [], numbers)
        return {entry.claim.number for entry in judge(claims, numbers) if not entry.holds}

    assert failed() == set()
    starts = {**rnn_memory.STARTS, "forget 1": {"scheme": "lstm", "forget_bias": 2.0}}
    monkeypatch.setattr(rnn_memory, "STARTS", starts)
    assert failed() == {"forget_1_per_step", "forget_1_gradient"}


# -- depth


@pytest.mark.parametrize("norm", ["post", "pre", "none"])
def test_the_transformer_is_causal(norm: Norm) -> None:
    torch.manual_seed(2)
    model, x = Transformer(2, 8, 6, 10, norm, heads=2), torch.randint(0, 10, (3, 6))
    changed = x.clone()
    changed[:, 4] = (x[:, 4] + 1) % 10
    before, after = model(x), model(changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)


def test_skip_factors_where_they_belong() -> None:
    """Of zero branches a post-norm block is a norm of the input, which no factor changes, and a bare one multiplies."""
    torch.manual_seed(3)
    x = torch.randn(2, 4, 8)
    for norm, expected in (("none", 9 * x), ("pre", 9 * x), ("post", nn.functional.layer_norm(x, (8,)))):
        block = next(Transformer(1, 8, 4, 5, norm, 3.0, heads=2).each())
        for layer in (block.o, block.fc2):
            nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
        assert torch.allclose(block(x), expected, atol=1e-4)


def test_admin_weighs_the_stream_by_what_was_added() -> None:
    model, tokens = Transformer(4, 16, 8, 12, "post", "omega"), torch.randint(0, 12, (16, 8))
    admin(model, tokens, 0)
    omegas = [omega.detach()[0].item() for block in model.each() for omega in (block.omega1, block.omega2)]
    assert omegas[0] == 1.0
    assert omegas == sorted(omegas)
    # ω² grows by the variance of each branch: here the second one, by hand.
    with torch.no_grad():
        block = next(model.each())
        x = block.norm1(model.embedded(tokens) + block.attention(model.embedded(tokens)))
        expected = omegas[1] ** 2 + block.feed_forward(x).var(-1).mean()
    assert omegas[2] ** 2 == pytest.approx(float(expected), rel=1e-4)
    assert next(model.each()).omega2.unique().numel() == 1


def test_bits_and_the_unigram_floor() -> None:
    data = alice(32)
    target = torch.from_numpy(data.test_y)
    assert float(bits(torch.zeros(*target.shape, 70), target)) == pytest.approx(math.log2(70), rel=1e-5)
    counts = np.bincount(data.train_y.ravel(), minlength=70) + 1.0
    logits = torch.from_numpy(np.log(counts)).float().expand(*target.shape, 70)
    assert unigram(data) == pytest.approx(float(bits(logits, target)), rel=1e-4)
    assert 4.4 < unigram(data) < 4.8  # English letters and signs: about 4.6 bits


def test_gradients_of_the_last_block_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [claim for claim in transformer_depth.EXPERIMENT.claims if claim.number.endswith("_exponent")]

    def holds() -> list[bool]:
        numbers: dict[str, float] = {}
        transformer_depth._gradients(Settings("quick"), alice(32), (4, 12), [], numbers)
        return [entry.holds for entry in judge(claims, numbers)]

    assert holds() == [True, True]
    real, swap = transformer_depth.Transformer, {"pre": "post", "post": "pre"}

    def other_norm(layers: int, width: int, context: int, classes: int, norm: str) -> Transformer:
        return real(layers, width, context, classes, swap[norm])  # type: ignore[arg-type]

    monkeypatch.setattr(transformer_depth, "Transformer", other_norm)
    assert holds() == [False, False]


def test_the_stream_of_scaled_ends_stays_and_of_others_grows() -> None:
    for layers in (4, 16):
        found = []
        for ends in (None, VarianceScaling(1 / (2 * layers), "fan_in", "normal")):
            model = Transformer(layers, 32, 16, 70, "pre")
            write(model, transformer_depth.glorot(model, ends), 0)
            powers = transformer_depth._powers(model, torch.randint(0, 70, (8, 16)))
            found.append(powers[-1] / powers[0])
        assert found[1] < math.e
        assert found[0] > 1 + 0.2 * layers
