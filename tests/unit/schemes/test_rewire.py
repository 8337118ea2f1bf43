"""rewire_: neutral to the bit, undone exactly, carried by every way to copy a model, and never half done."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

import fanin
from fanin.errors import InputError, PlanError
from fanin.schemes._changes import Change, apply
from fanin.slots import find


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


class Block(nn.Module):
    def __init__(self, width=8, activation=nn.ReLU) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, 2 * width), activation(), nn.Linear(2 * width, width))

    def forward(self, x):
        return x + self.branch(x)


class PreAct(nn.Module):
    """A pre-activation block; the sum is written in place, as many models do."""

    def __init__(self, width=4) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x):
        y = self.conv1(torch.relu(self.bn1(x)))
        y = self.conv2(torch.relu(self.bn2(y)))
        y += x
        return y


def mlp():
    return nn.Sequential(nn.Linear(5, 8), Block(), Block(), nn.Linear(8, 3)), numbers(6, 5)


def resnet():
    return nn.Sequential(nn.Conv2d(3, 4, 3), PreAct(), PreAct(), nn.Flatten(), nn.Linear(144, 3)), numbers(4, 3, 8, 8)


def encoder(norm_first):
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), numbers(3, 5, 16)


def gpt2():
    config = GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=19, n_positions=8, bos_token_id=0, eos_token_id=0)
    return GPT2Model(config), {"input_ids": torch.arange(10).reshape(2, 5)}


def bert():
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=19)
    return BertModel(config), {"input_ids": torch.arange(10).reshape(2, 5)}


MODELS = {
    "mlp": mlp,
    "resnet": resnet,
    "post-norm": lambda: encoder(False),
    "pre-norm": lambda: encoder(True),
    "gpt2": gpt2,
    "bert": bert,
}
BRANCHES = {"mlp": 2, "resnet": 2, "post-norm": 4, "pre-norm": 4, "gpt2": 4, "bert": 4}
NEUTRAL = {"rezero": {}, "skipinit": {"norms": "keep"}, "layerscale": {}, "fixup": {"norms": "keep"}}


def made(name):
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    return model.eval(), inputs


def run(model, inputs):
    out = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return out if isinstance(out, torch.Tensor) else out.last_hidden_state


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_state(model, before):
    now = model.state_dict()
    return list(now) == list(before) and all(torch.equal(now[name], before[name]) for name in now)


@pytest.mark.parametrize("scheme", NEUTRAL)
@pytest.mark.parametrize("name", MODELS)
def test_neutral_values_change_no_bit_and_undo_takes_all_back(name, scheme):
    model, x = made(name)
    output, before = run(model, x), state(model)
    rewired = fanin.rewire_(model, x, scheme=scheme, **NEUTRAL[scheme])
    assert sum(change.kind == "multiply" for change in rewired.changes) == BRANCHES[name]
    added = {key: p for key, p in model.named_parameters() if key not in before}
    assert len(added) >= BRANCHES[name]
    assert torch.equal(run(model, x), output)
    assert {key: value for key, value in before.items() if key not in model.state_dict()} == {}
    scale = next(p for key, p in added.items() if key.endswith("branch_scale"))
    with torch.no_grad():
        scale.fill_(0.5)  # twin: the factor is in use
    assert not torch.equal(run(model, x), output)
    rewired.undo()
    assert same_state(model, before)
    assert hooks(model) == 0
    assert torch.equal(run(model, x), output)
    rewired.undo()  # nothing is left to undo


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_what_was_added(name):
    model, x = made(name)
    old = set(dict(model.named_parameters()))
    fanin.rewire_(model, x, scheme="layerscale")
    run(model, x).square().sum().backward()
    added = {key: p for key, p in model.named_parameters() if key not in old}
    assert len(added) == BRANCHES[name]
    assert all(p.requires_grad and p.grad is not None and bool(p.grad.any()) for p in added.values())


def test_zero_makes_blocks_exact_identities():
    model, x = made("mlp")
    fanin.rewire_(model, x, scheme="rezero")
    fanin.init_(model, x, scheme="rezero")
    h = numbers(6, 8)
    assert torch.equal(model[1](h), h)
    assert bool(model[1].branch[2].weight.any())  # the branch itself is not 0, as it is without rewiring
    for name, block in (("gpt2", lambda m: m.h[0]), ("pre-norm", lambda m: m.layers[0])):
        model, x = made(name)
        h = numbers(2, 5, 16)
        first = block(model)(h)
        assert not torch.equal(first[0] if isinstance(first, tuple) else first, h)  # twin
        fanin.rewire_(model, x, scheme="rezero")
        fanin.init_(model, x, scheme="rezero")
        after = block(model)(h)
        assert torch.equal(after[0] if isinstance(after, tuple) else after, h)


@pytest.mark.parametrize("name", ["mlp", "post-norm", "gpt2"])
def test_copies_pickles_and_state_dicts_carry_the_changes(name):
    model, x = made(name)
    fanin.rewire_(model, x, scheme="fixup", norms="keep")
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "branch_" in key or "bias_" in key:
                parameter.add_(0.25)
    output = run(model, x)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(run(twin, x), output)
        assert same_state(twin, state(model))
    fresh, _ = made(name)
    assert not torch.equal(run(fresh, x), output)
    fanin.rewire_(fresh, x, scheme="fixup", norms="keep")
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(run(fresh, x), output)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        next(p for key, p in copied.named_parameters() if key.endswith("branch_scale")).zero_()
    assert torch.equal(run(model, x), output)  # a copy shares nothing


def test_a_compiled_and_a_wrapped_model_does_the_same():
    model, x = made("mlp")
    fanin.rewire_(model, x, scheme="rezero")
    with torch.no_grad():
        model[1].branch.branch_scale.fill_(0.3)
    output = model(x)
    assert torch.allclose(torch.compile(model, backend="eager", fullgraph=True)(x), output)
    wrapped = nn.Sequential()
    wrapped.add_module("module", model)
    assert torch.equal(wrapped(x), output)
    assert "module.1.branch.branch_scale" in wrapped.state_dict()


def test_encoder_layers_leave_the_path_that_bypasses_modules():
    model, x = made("post-norm")
    fanin.rewire_(model, x, scheme="rezero")
    fanin.init_(model, x, scheme="rezero")
    with torch.no_grad():
        fused = model(x)
    assert torch.allclose(fused, model(x), atol=1e-5)
    model, x = made("post-norm")
    fanin.rewire_(model, x, scheme="t_fixup")
    with torch.no_grad():  # it compares the eps of its norms and reads their weights; both are gone
        assert torch.allclose(model(x), model(x).detach(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_new_parameters_have_the_dtype_of_the_model(dtype):
    model, x = made("mlp")
    model, x = model.to(dtype), x.to(dtype)
    output = model(x)
    fanin.rewire_(model, x, scheme="layerscale")
    assert model[1].branch.branch_scale.dtype == dtype
    assert torch.equal(model(x), output)


def test_autocast_keeps_the_dtype_of_the_branch():
    model, x = made("mlp")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
        fanin.rewire_(model, x, scheme="layerscale")
        assert model(x).dtype == output.dtype
        assert torch.equal(model(x), output)


def test_running_the_model_leaves_modes_buffers_and_generators():
    model, x = made("resnet")
    model.train()
    model[1].bn1.eval()
    before, modes, random = state(model), [m.training for m in model.modules()], torch.get_rng_state()
    rewired = fanin.rewire_(model, x, scheme="rezero")
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    rewired.undo()
    assert same_state(model, before)


# --- where it cannot be done ------------------------------------------------------------------------------------


class Functional(nn.Module):
    """Its second branch ends in an op."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.weight = Block(), nn.Parameter(numbers(8, 8))

    def forward(self, x):
        x = self.first(x)
        return x + torch.tanh(x) @ self.weight


class SharedDropout(nn.Module):
    """One dropout for the middle and the end of a branch, in training mode."""

    def __init__(self, own=False) -> None:
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(8, 8), nn.Linear(8, 8), nn.Dropout(0.1)
        self.act = nn.ReLU()
        self.final = nn.Dropout(0.1) if own else self.drop

    def forward(self, x):
        return x + self.final(self.b(self.drop(self.act(self.a(x)))))


def test_a_branch_that_ends_in_an_op_is_refused_and_nothing_is_changed():
    model, x = Functional(), numbers(4, 8)
    before, output = state(model), model(x)
    with pytest.raises(
        PlanError, match=r"'rezero'.*ends in the op 'matmul' in 'the model'.*Write the branch as a module"
    ):
        fanin.rewire_(model, x, scheme="rezero")
    assert same_state(model, before)
    assert hooks(model) == 0
    assert torch.equal(model(x), output)


def test_a_module_that_is_called_elsewhere_is_passed_over():
    for own, expected in ((False, "b"), (True, "final")):
        model = SharedDropout(own)
        rewired = fanin.rewire_(model, numbers(4, 8), scheme="rezero")
        assert [change.where for change in rewired.changes] == [expected]


def test_a_map_called_elsewhere_is_refused():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            x = self.b(x)
            return x + self.b(torch.relu(self.a(x)))

    with pytest.raises(PlanError, match=r"ends in the module 'b', which is called elsewhere too"):
        fanin.rewire_(Twice(), numbers(4, 8), scheme="rezero")


def test_shared_blocks_share_one_factor():
    class Albert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(self.block(x))

    model, x = Albert(), numbers(4, 8)
    assert [change.where for change in fanin.rewire_(model, x, scheme="rezero").changes] == ["block.branch"]
    fanin.init_(model, x, scheme="rezero")
    assert torch.equal(model(x), x)


def test_branches_side_by_side_get_one_factor_each():
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return x + (self.a(torch.relu(x)) + self.b(torch.tanh(x)))

    model, x = Parallel(), numbers(4, 8)
    assert sorted(change.where for change in fanin.rewire_(model, x, scheme="rezero").changes) == ["a", "b"]


def test_a_tuple_is_changed_in_the_right_place():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.m = nn.Parameter(numbers(8, 8))

        def forward(self, x):
            return x.sum(), torch.tanh(x) @ self.m

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            total, y = self.pair(x)
            return x + y, total

    model, x = Net(), numbers(4, 8)
    total = model(x)[1]
    fanin.rewire_(model, x, scheme="rezero")
    fanin.init_(model, x, scheme="rezero")
    assert torch.equal(model(x)[0], x)
    assert torch.equal(model(x)[1], total)


def test_twice_is_nothing_and_a_taken_name_is_refused():
    model, x = made("mlp")
    first = fanin.rewire_(model, x, scheme="rezero")
    again = fanin.rewire_(model, x, scheme="rezero")
    assert again.changes == ()
    assert str(again) == "rezero: nothing to change"
    assert len(first.changes) == 2
    assert "1.branch: output × branch_scale" in str(first)
    with pytest.raises(PlanError, match="already has an attribute 'branch_scale'"):
        apply(model, [Change("1.branch", "", "multiply", {"name": "branch_scale", "value": 1.0})])


def boom(_old):
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (Change("9", "", "multiply", {"name": "a", "value": 1.0}), "no module '9'"),
        (Change("0", "", "twist", {}), "got 'twist'; expected one of multiply"),
        (Change("0", "", "multiply", {"name": "a"}), r"arguments \['value'\] are missing"),
        (Change("0", "", "multiply", {"name": "weight", "value": 1.0}), "already has an attribute 'weight'"),
        (Change("0", "", "replace", {"build": boom}), "failed; the model is as it was. no"),
        (Change("0", "", "replace", {"build": lambda old: 3}), "build returned int"),
        (Change("", "", "replace", {"build": lambda old: old}), "cannot be replaced"),
    ],
)
def test_an_error_in_the_last_change_leaves_the_model_as_it_was(last, message):
    model, x = made("mlp")
    before, output, parts = state(model), model(x), list(model.modules())
    good = [
        Change("0", "", "add_before", {"name": "b", "value": 1.0}),
        Change("1.branch.1", "", "replace", {"build": lambda old: nn.Tanh()}),
        Change("1.branch.2", "", "norm_before", {"name": "inner", "build": lambda: nn.LayerNorm(16)}),
    ]
    with pytest.raises(PlanError, match=message):
        apply(model, [*good, last])
    assert same_state(model, before)
    assert list(model.modules()) == parts
    assert hooks(model) == 0
    assert torch.equal(model(x), output)
    undo = apply(model, good)  # twin: without the last one they are made
    assert not torch.equal(model(x), output)
    undo()
    assert torch.equal(model(x), output)


def test_a_change_that_the_model_cannot_run_with_is_taken_back(monkeypatch):
    class Wrong(fanin.schemes.REGISTRY["rezero"]):
        def changes(self, context):
            return (Change("1.branch", "", "multiply", {"name": "s", "value": 1.0, "shape": (7,), "axis": -1}),)

    model, x = made("mlp")
    before = state(model)
    with pytest.raises(PlanError, match="the rewired model does not run; it is as it was"):
        fanin.rewire_(model, x, scheme=Wrong())
    assert same_state(model, before)
    assert hooks(model) == 0


def test_arguments_are_checked():
    model, x = made("mlp")
    with pytest.raises(InputError, match="inputs"):
        fanin.rewire_(model, None, scheme="rezero")
    with pytest.raises(InputError, match="model"):
        fanin.rewire_(3, x, scheme="rezero")
    with pytest.raises(InputError, match=r'norms.*"keep" or "remove"'):
        fanin.rewire_(model, x, scheme="fixup", norms="some")
    with pytest.raises(InputError, match="no_such_option"):
        fanin.rewire_(model, x, scheme="rezero", no_such_option=1)
    assert fanin.rewire_(model, x, scheme="he").changes == ()  # needs no change of the forward


# --- slots ------------------------------------------------------------------------------------------------------


def test_slots_know_what_was_added_without_a_run():
    model, x = made("resnet")
    model[1].conv2 = nn.Sequential(model[1].conv2, nn.BatchNorm2d(4))
    fanin.rewire_(model, x, scheme="fixup", norms="keep")
    graph = fanin.trace(model, x).graph
    for slots in (find(model), find(model, graph)):
        scale = slots["1.conv2.branch_scale"]  # behind a norm, but not its gain
        assert (scale.role, scale.settings.get("norm")) == ("gain", None)
        assert slots["1.conv2.branch_bias"].role == "bias"
        assert slots["1.conv1.bias_before"].role == "bias"
    norm = find(model, graph)["1.conv2.1.weight"]  # twin: a gain of a norm is still one
    assert norm.settings.get("norm")


def test_before_rewiring_the_plan_names_the_way():
    for scheme in ("rezero", "skipinit", "layerscale", "fixup", "nfnet"):
        model, x = made("resnet")
        notes = " ".join(fanin.plan(model, x, scheme=scheme).notes)
        assert f"fanin.rewire_(model, inputs, scheme='{scheme}')" in notes
        fanin.rewire_(model, x, scheme=scheme)
        assert "rewire_(" not in " ".join(fanin.plan(model, x, scheme=scheme).notes).replace("of fanin.rewire_", "")
