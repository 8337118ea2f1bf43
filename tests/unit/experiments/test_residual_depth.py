"""What residual-depth measures with: exact forecasts, and a start put under another's name is found out."""

from __future__ import annotations

import math
from statistics import median

import pytest
import torch

from fanin.experiments import REGISTRY, judge, residual_depth
from fanin.experiments._nets import normal_inputs, started
from fanin.experiments.residual_depth import FIXUP, HE, NORMED, SCALED, STARTS, ZERO, Net, forecast, powers, start


def growth(name: str, blocks: int, width: int = 128) -> float:
    """Median over five networks of the power after all blocks over that before them."""
    found = []
    for seed in range(5):
        model = Net(width, width, blocks, 3, name == NORMED)
        started(model, start(model, name), seed)
        stream, _ = powers(model, normal_inputs(128, width, seed))
        found.append(stream[-1] / stream[0])
    return median(found)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("blocks", [2, 8])
def test_the_power_grows_as_forecast_and_not_as_another_start_would(name: str, blocks: int) -> None:
    # One block's log2 factor has std √(10/width)/ln 2/2 = 0.2 in one network, 0.11 in the median of five; 4 of these.
    bound = 0.45 * math.sqrt(blocks if name == HE else 1)
    measured = growth(name, blocks)
    off = {other: abs(math.log2(measured / forecast(other, blocks))) for other in STARTS}
    assert off[name] < bound
    if name in (FIXUP, ZERO):
        assert off[name] == 0.0
    different = [other for other in STARTS if abs(math.log2(forecast(other, blocks) / forecast(name, blocks))) > 1]
    assert all(off[other] > bound for other in different)


def test_zero_ends_make_the_network_independent_of_its_blocks() -> None:
    model = Net(6, 8, 3, 4)
    started(model, start(model, ZERO), 0)
    x = normal_inputs(5, 6, 0)
    assert torch.equal(model(x), model.head(torch.relu(model.stem(x))))
    started(model, start(model, HE), 0)
    assert not torch.allclose(model(x), model.head(torch.relu(model.stem(x))))


def test_fixup_starts_with_outputs_of_zero_and_shrunken_first_maps() -> None:
    model = Net(6, 64, 16, 4)
    plan = start(model, FIXUP)
    started(model, plan, 0)
    assert not model(normal_inputs(5, 6, 0)).any()
    he = start(model, HE)
    assert plan["blocks.0.fc1.weight"].std(plan.line("blocks.0.fc1.weight").fans) == pytest.approx(
        he["blocks.0.fc1.weight"].std(he.line("blocks.0.fc1.weight").fans) / 4
    )


def test_the_branch_is_what_the_block_adds() -> None:
    model = Net(6, 8, 2, 4, True).eval()
    x = normal_inputs(5, 8, 1)
    block = model.blocks[0]
    assert torch.allclose(block(x) - x, block.branch(x), atol=1e-6)


def test_claims_fail_where_all_starts_act_like_he() -> None:
    claims = REGISTRY["residual-depth"].claims
    good = {
        "he_off": 0.03,
        "scaled_off": 0.1,
        "zero_off": 0.0,
        "normed_off": 0.05,
        "normed_share_lowest": 0.98,
        "normed_share_highest": 1.02,
        "he_rate_drop": 1000.0,
        "cured_rate_drop": 10.0,
        "cured_worst": 0.8,
        "cured_over_he": 0.3,
    }
    assert all(entry.holds for entry in judge(claims, good))
    like_he = math.log2(forecast(HE, 64) / forecast(SCALED, 64))
    bad = {**good, "scaled_off": like_he, "zero_off": 64.0, "cured_rate_drop": 1000.0, "cured_worst": 0.1}
    failed = {entry.claim.number for entry in judge(claims, bad) if not entry.holds}
    assert failed == {"scaled_off", "zero_off", "cured_rate_drop", "cured_worst"}
    assert residual_depth.KEYS[HE] == "he"
