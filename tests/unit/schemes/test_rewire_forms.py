"""The forward that each scheme was published with, against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import fanin
from fanin.errors import PlanError
from fanin.schemes._edits import NoNorm
from fanin.schemes._examples import ResNet, Transformer, batch

IDS = torch.arange(24).reshape(4, 6) % 19


def transformer(**options):
    torch.manual_seed(0)
    return Transformer(**options)


def stream(model, ids):
    return model.table(ids) + model.places[:, : ids.shape[1]]


# --- DeepNorm ---------------------------------------------------------------------------------------------------


def post_norm(model, ids, alpha):
    x = stream(model, ids)
    for block in model.blocks:
        x = block.n1(alpha * x + block.attend(x))
        x = block.n2(alpha * x + block.think(x))
    return model.out(model.norm(x))


@pytest.mark.parametrize("depth", [1, 3])
def test_deepnorm_is_the_weighted_skip(depth):
    model = transformer(depth=depth, post=True).double()
    nn.init.normal_(model.table.weight)
    alpha = (2 * depth) ** 0.25
    expected, plain = post_norm(model, IDS, alpha), model(IDS)
    rewired = fanin.rewire_(model, IDS, scheme="deepnorm")
    assert len(rewired.changes) == 2 * depth
    # α² of the epsilon 1e-5 of the norms is all that differs.
    assert torch.allclose(model(IDS), expected, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)  # twin
    buffers = {name for name, _ in model.named_buffers()}
    assert {name for name in buffers if name.endswith("branch_factor")} == buffers
    assert "β without α" not in " ".join(fanin.plan(model, IDS, scheme="deepnorm").notes)
    assert fanin.rewire_(model, IDS, scheme="deepnorm").changes == ()
    rewired.undo()
    assert torch.equal(model(IDS), plain)
    assert "β without α" in " ".join(fanin.plan(model, IDS, scheme="deepnorm").notes)


def test_deepnorm_reads_an_alpha_written_by_hand():
    class Block(nn.Module):
        def __init__(self, alpha) -> None:
            super().__init__()
            self.attn, self.alpha = nn.MultiheadAttention(8, 2, batch_first=True), alpha
            self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
            self.ff = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

        def forward(self, x):
            x = self.norms[0](self.alpha * x + self.attn(x, x, x, need_weights=False)[0])
            return self.norms[1](self.alpha * x + self.ff(x))

    x = batch(2, 5, 8)
    assert fanin.rewire_(nn.Sequential(Block(2**0.25)), x, scheme="deepnorm").changes == ()
    assert len(fanin.rewire_(nn.Sequential(Block(1.5)), x, scheme="deepnorm").changes) == 2


def test_shared_blocks_share_the_constant():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = transformer(depth=1, post=True)

        def forward(self, ids):
            block = self.inner.blocks[0]
            return self.inner.out(block(block(stream(self.inner, ids))))

    model = Shared()
    assert [change.where for change in fanin.rewire_(model, IDS, scheme="deepnorm").changes] == [
        "inner.blocks.0.d",
        "inner.blocks.0.f",
    ]
    assert model.inner.blocks[0].d.branch_factor == pytest.approx(4**-0.25)
    with pytest.raises(PlanError, match="is called in branches of different β"):
        fanin.rewire_(Shared(), IDS, scheme="nfnet")


@pytest.mark.parametrize("scheme", ["deepnorm", "admin"])
def test_norms_inside_the_branches_are_refused(scheme):
    with pytest.raises(PlanError, match="norms after the sum"):
        fanin.rewire_(transformer(), IDS, scheme=scheme)


# --- Sub-LN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_sub_ln_normalizes_before_the_last_maps(norm):
    model = transformer()
    for block in model.blocks:
        block.n1, block.n2 = norm(16), norm(16)
    model.norm = norm(16)
    plain = model(IDS)
    rewired = fanin.rewire_(model, IDS, scheme="sub_ln")
    assert [change.where for change in rewired.changes] == [f"blocks.{i}.{m}" for i in range(2) for m in "df"]
    block = model.blocks[0]
    assert type(block.d.inner_norm) is norm
    x = stream(model, IDS)
    hidden = functional.gelu(block.e(x))
    inner = norm(64)(hidden)
    assert torch.allclose(block.think(x), functional.linear(inner, block.f.weight, block.f.bias), atol=1e-6)
    assert not torch.allclose(block.think(x), functional.linear(hidden, block.f.weight, block.f.bias), atol=1e-2)
    assert fanin.plan(model, IDS, scheme="sub_ln").notes == ()
    assert fanin.plan(model, IDS, scheme="sub_ln").line("blocks.0.f.inner_norm.weight").std == 0
    rewired.undo()
    assert torch.equal(model(IDS), plain)
    assert "inner_norm" not in " ".join(model.state_dict())


def test_sub_ln_says_where_a_map_is_no_module():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    with pytest.raises(PlanError, match=r"out_proj\.weight is the op 'linear' inside 'layers\.0\.self_attn'"):
        fanin.rewire_(encoder, batch(2, 3, 8), scheme="sub_ln")


# --- norms left out ---------------------------------------------------------------------------------------------


class HandRMS(nn.Module):
    def __init__(self, width) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


@pytest.mark.parametrize("norm", [nn.LayerNorm, HandRMS])
def test_t_fixup_leaves_every_norm_out(norm):
    model = transformer()
    for block in model.blocks:
        block.n1, block.n2 = norm(16), norm(16)
    model.norm = norm(16)
    plain, before = model(IDS), list(model.state_dict())
    rewired = fanin.rewire_(model, IDS, scheme="t_fixup")
    assert sum(isinstance(m, NoNorm) for m in model.modules()) == len(rewired.changes) == 5
    x = stream(model, IDS)
    for block in model.blocks:
        x = x + block.attend(x)
        x = x + block.think(x)
    assert torch.equal(model(IDS), model.out(x))
    assert not torch.allclose(plain, model(IDS), atol=1e-2)
    assert "remove every one" not in " ".join(fanin.plan(model, IDS, scheme="t_fixup").notes)
    rewired.undo()
    assert list(model.state_dict()) == before
    assert torch.equal(model(IDS), plain)


def test_a_norm_that_is_no_module_is_refused():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

        def forward(self, x):
            return x + self.branch(functional.layer_norm(x, (8,)))

    with pytest.raises(PlanError, match=r"'layer_norm' is the op 'layer_norm' inside 'the model'"):
        fanin.rewire_(Net(), batch(4, 8), scheme="skipinit")
    fanin.rewire_(Net(), batch(4, 8), scheme="skipinit", norms="keep")  # twin


def test_skipinit_takes_the_norms_of_a_resnet():
    torch.manual_seed(0)
    model, x = ResNet(), batch(6, 3, 8, 8)
    rewired = fanin.rewire_(model, x, scheme="skipinit")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    fanin.init_(model, x, scheme="skipinit")
    h = model.stem(x)
    assert torch.equal(model.branches[0](h), torch.zeros_like(h))
    rewired.undo()
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 8


# --- Fixup ------------------------------------------------------------------------------------------------------


def test_fixup_is_the_published_block():
    torch.manual_seed(0)
    model, x = ResNet(norm=False), batch(6, 3, 8, 8)
    output = model(x)
    rewired = fanin.rewire_(model, x, scheme="fixup")
    assert torch.equal(model(x), output)  # no norms: the neutral values change nothing
    first = model.branches[0]
    new = [name for name, _ in model.named_parameters() if name.rpartition(".")[2].startswith(("bias_", "branch_"))]
    assert [name for name in new if name.startswith("branches.0.")] == [
        "branches.0.branch_scale",
        "branches.0.branch_bias",
        "branches.0.0.bias_before",
        "branches.0.2.bias_before",
        "branches.0.3.bias_before",
    ]
    values = iter((0.3, -0.2, 0.5, 0.7, -0.4))
    with torch.no_grad():
        for name in new[: len(new)]:
            if name.startswith("branches.0."):
                model.get_parameter(name).fill_(next(values))
    scale, last, b1, b2, b3 = 0.3, -0.2, 0.5, 0.7, -0.4
    h = batch(6, 4, 8, 8)
    conv = [functional.conv2d(h + b1, first[0].weight, padding=1)]
    conv.append(functional.conv2d((conv[0] + b2).relu() + b3, first[3].weight, padding=1))
    assert torch.allclose(first(h), conv[1] * scale + last, atol=1e-5)
    recipe = fanin.init_(model, x, scheme="fixup")
    assert {name: recipe.line(name).initializer.mean(None) for name in new} == {
        name: float(name.endswith("scale")) for name in new
    }
    assert not any("rewire_" in note for note in recipe.notes)
    rewired.undo()
    assert len(list(model.parameters())) == len(list(ResNet(norm=False).parameters()))


def test_fixup_says_what_it_could_not_place():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    changes = fanin.rewire_(encoder, batch(2, 3, 8), scheme="fixup", norms="keep").changes
    left = [change for change in changes if change.kind == "none"]
    assert [change.where for change in left] == ["layers.0.self_attn"]
    assert "no scalar bias before the map layers.0.self_attn.out_proj.weight" in left[0].what


# --- NFNet ------------------------------------------------------------------------------------------------------


def test_nfnet_standardizes_scales_and_adds_no_name_but_its_own():
    torch.manual_seed(0)
    model, x = ResNet(norm=False), batch(6, 3, 8, 8)
    before, output = list(model.state_dict()), model(x)
    weight = model.branches[1][3].weight
    rewired = fanin.rewire_(model, x, scheme="nfnet")
    assert [name for name in model.state_dict() if name in before] == before
    conv = model.branches[1][3]
    assert conv.weight is weight
    assert isinstance(conv, nn.Conv2d)
    used = conv.standardized().double()
    gamma = math.sqrt(2 / (1 - 1 / math.pi))  # (Var relu)^-½
    assert torch.allclose(used.mean((1, 2, 3)), torch.zeros(4).double(), atol=1e-6)
    assert torch.allclose(used.var((1, 2, 3), correction=0), torch.full((4,), gamma**2 / 36).double(), rtol=1e-5)
    assert not torch.allclose(weight.double().mean((1, 2, 3)), torch.zeros(4).double(), atol=1e-3)
    h = batch(6, 4, 8, 8)
    beta = math.sqrt(1 + 0.2**2)
    first = functional.conv2d(h / beta, model.branches[1][0].standardized(), padding=1)
    expected = 0.2 * functional.conv2d(first.relu(), conv.standardized(), padding=1)
    assert torch.allclose(model.branches[1](h), expected, atol=1e-6)
    recipe = fanin.init_(model, x, scheme="nfnet")
    assert {line.name.rpartition(".")[2] for line in recipe.lines} >= {"weight_gain", "branch_scale"}
    assert torch.equal(model.branches[1](h), torch.zeros_like(h))
    rewired.undo()
    assert list(model.state_dict()) == before
    assert type(model.branches[1][3]) is nn.Conv2d
    assert model.branches[1][3].weight is weight
    assert output.shape == model(x).shape


def test_nfnet_keeps_the_variance_of_deep_signals():
    torch.manual_seed(0)
    parts = [nn.Conv2d(16, 64, 3, padding=1)]
    for _ in range(6):
        parts += [nn.ReLU(), nn.Conv2d(64, 64, 1)]
    model, x = nn.Sequential(*parts), batch(32, 16, 8, 8)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.branch = nn.Conv2d(16, 64, 1), nn.Sequential(*parts[1:])

        def forward(self, x):
            h = self.stem(x)
            return h + self.branch(h)

    model = Net()
    plain = model.branch(model.stem(x)).var().item()
    fanin.rewire_(model, x, scheme="nfnet")
    with torch.no_grad():
        model.branch.branch_factor.fill_(1.0)
    # Six layers of 64 channels: the variance of a layer scatters by about √(2/64), and by √(6·2/64) = 0.43 in all.
    assert 0.3 < model.branch(model.stem(x)).var().item() < 2.5
    assert plain < 0.1  # twin: torch's own start loses it


def test_nfnet_refuses_other_maps():
    class Own(nn.Conv2d):
        pass

    model = ResNet(norm=False)
    model.branches[0][0] = Own(4, 4, 3, padding=1)
    with pytest.raises(PlanError, match=r"'branches\.0\.0' is a Own"):
        fanin.rewire_(model, batch(6, 3, 8, 8), scheme="nfnet")
    assert type(model.stem) is nn.Conv2d


# --- LayerScale: the axis of the channels ------------------------------------------------------------------------


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.LayerNorm(6)
        self.up, self.down = nn.Linear(6, 24), nn.Linear(24, 6)

    def forward(self, x):
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x + self.down(functional.gelu(self.up(y))).permute(0, 3, 1, 2)


class ChannelsFirst(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_a_norm_over_moved_axes_is_left_out_as_a_whole():
    model = nn.Sequential(nn.Conv2d(3, 6, 1), ChannelsFirst(6), ConvNeXt())
    x = batch(2, 3, 4, 4)
    rewired = fanin.rewire_(model, x, scheme="skipinit")
    assert [change.where for change in rewired.changes] == ["1", "2.norm", "2.down"]


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.Linear(10, 5))
        self.channels = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x):
        x = x + self.tokens(x.transpose(1, 2)).transpose(1, 2)
        return x + self.channels(x)


def test_layerscale_scales_channels():
    model, x = ConvNeXt(), batch(2, 6, 4, 4)
    fanin.rewire_(model, x, scheme="layerscale")
    assert model.down.branch_scale.shape == (6,)
    model, x = ResNet(norm=False), batch(6, 3, 8, 8)
    fanin.rewire_(model, x, scheme="layerscale")
    h = batch(6, 4, 8, 8)
    before = model.branches[0](h)
    with torch.no_grad():
        model.branches[0].branch_scale[2] = 3.0
    after = model.branches[0](h)
    assert torch.equal(after[:, 2], 3 * before[:, 2])
    assert torch.equal(after[:, [0, 1, 3]], before[:, [0, 1, 3]])
    recipe = fanin.init_(model, x, scheme="layerscale", value=1e-3)
    assert recipe.line("branches.0.branch_scale").initializer.mean(None) == 1e-3


def test_layerscale_refuses_branches_over_different_axes():
    with pytest.raises(PlanError, match="different axes"):
        fanin.rewire_(Mixer(), batch(2, 5, 8), scheme="layerscale")
    assert len(fanin.rewire_(Mixer(), batch(2, 5, 8), scheme="rezero").changes) == 2  # a scalar needs no axis
