"""find: fans of every layer kind, stored forms, ties, order of a Sequential."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fanin.errors import InputError
from fanin.slots import find


def fans(module, name="weight"):
    found = find(module)[name].fans
    return found.fan_in, found.fan_out


@given(g=st.integers(1, 4), i=st.integers(1, 4), o=st.integers(1, 4), k=st.integers(1, 3), s=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_convolutions_count_terms_of_one_group(g, i, o, k, s):
    assert fans(nn.Conv2d(g * i, g * o, k, groups=g)) == (i * k * k, o * k * k)
    spread = i * k * k / (s * s)
    assert fans(nn.ConvTranspose2d(g * i, g * o, k, stride=s, groups=g)) == (pytest.approx(spread), o * k * k)


def test_torch_init_would_say_otherwise():
    weight = nn.ConvTranspose2d(64, 16, 3).weight
    assert nn.init._calculate_fan_in_and_fan_out(weight)[0] != fans(nn.ConvTranspose2d(64, 16, 3))[0]


def test_gates_in_torch_order_with_their_nonlinearities():
    lstm = find(nn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2))
    parts = lstm["weight_hh_l1_reverse"].parts
    assert [(p.name, p.start, p.stop, p.nonlinearity) for p in parts] == [
        ("i", 0, 5, "sigmoid"),
        ("f", 5, 10, "sigmoid"),
        ("g", 10, 15, "tanh"),
        ("o", 15, 20, "sigmoid"),
    ]
    assert lstm["weight_hh_l0"].fans.fan_in == 2  # the projected state
    assert (lstm["weight_hr_l0"].fans.fan_in, lstm["weight_hr_l0"].fans.fan_out) == (5, 2)
    assert lstm["weight_ih_l1"].fans.fan_in == 4  # both directions of the layer below
    assert [p.name for p in find(nn.GRU(3, 5))["weight_ih_l0"].parts] == ["r", "z", "n"]
    assert find(nn.RNN(3, 5, nonlinearity="relu"))["weight_hh_l0"].parts[0].nonlinearity == "relu"


def test_packed_attention_has_the_fans_of_one_projection():
    slot = find(nn.MultiheadAttention(8, 2))["in_proj_weight"]
    assert (slot.fans.fan_in, slot.fans.fan_out) == (8, 8)
    assert [p.name for p in slot.parts] == ["q", "k", "v"]
    separate = find(nn.MultiheadAttention(8, 2, kdim=3, vdim=5))
    assert separate["k_proj_weight"].fans.fan_in == 3
    assert separate["v_proj_weight"].fans.fan_in == 5


def test_padding_row_counts_from_the_front():
    assert find(nn.Embedding(7, 3, padding_idx=-1))["weight"].padding_index == 6


def test_tied_tensors_are_one_slot_and_a_tied_embedding_is_the_head():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 9, bias=False)
            self.table = nn.Embedding(9, 4)
            self.head.weight = self.table.weight

    slots = find(Tied())
    assert list(slots) == ["head.weight"]
    assert slots["table.weight"] is slots["head.weight"]
    assert slots["head.weight"].role == "embedding"
    assert slots["head.weight"].is_head
    assert slots["head.weight"].ties == ("table.weight",)


@pytest.mark.parametrize("names", [("parametrizations.weight.original0", "parametrizations.weight.original1"), None])
def test_weight_norm_has_a_length_and_a_direction(names):
    if names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, names = nn.utils.weight_norm(nn.Conv1d(3, 4, 5)), ("weight_g", "weight_v")
    else:
        module = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 5))
    length, direction = (find(module)[name] for name in names)
    assert (length.role, length.settings["norm_of"]) == ("gain", names[1])
    assert (direction.role, direction.fans.fan_in) == ("weight", 15)
    assert direction.settings["form"] == "direction"


@pytest.mark.parametrize("dim", [None, -1, 0, 1])
@pytest.mark.parametrize(
    "layer", [lambda: nn.Linear(3, 4), lambda: nn.Conv2d(3, 4, 5), lambda: nn.ConvTranspose1d(3, 4, 5)]
)
@pytest.mark.parametrize("modern", [True, False])
def test_weight_norm_over_any_axis_has_the_fans_of_its_direction(layer, dim, modern):
    plain = find(layer())["weight"].fans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrap = nn.utils.parametrizations.weight_norm if modern else nn.utils.weight_norm
        module = wrap(layer(), dim=dim)
    found = find(nn.Sequential(module))
    direction = next(slot for slot in found.values() if slot.role == "weight")
    length = next(slot for slot in found.values() if "norm_of" in slot.settings)
    assert direction.fans == plain
    assert (length.role, length.settings["norm_of"]) == ("gain", direction.name)
    assert (length.shape == ()) == (dim in (None, -1))
    # Twin: the length is no bias and no second weight.
    assert [slot.role for slot in found.values()].count("gain") == 1


def test_spectral_norm_and_pruning_keep_the_fans_and_a_users_parametrization_is_unknown():
    assert find(nn.utils.spectral_norm(nn.Linear(3, 4)))["weight_orig"].fans.fan_in == 3
    modern = find(nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4))))
    assert modern["0.parametrizations.weight.original"].settings["form"] == "rescaled"
    assert modern["0.parametrizations.weight.original"].owner_type == "Linear"
    pruned = nn.utils.prune.random_unstructured(nn.Linear(3, 4), "weight", amount=0.5)
    assert find(pruned)["weight_orig"].role == "weight"

    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    custom = nn.Linear(3, 4)
    nn.utils.parametrize.register_parametrization(custom, "weight", Doubled())
    slot = find(custom)["parametrizations.weight.original"]
    assert slot.role == "unknown"
    assert "Doubled" in slot.why


def test_a_norm_that_changes_its_weight_is_left_to_the_trace():
    class OnePlus(nn.LayerNorm):
        def forward(self, x):
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight + 1, self.bias)

    class Renamed(nn.LayerNorm):
        pass

    assert find(OnePlus(4))["weight"].role == "unknown"
    assert find(Renamed(4))["weight"].role == "gain"


def test_lazy_parameters_are_named_in_the_error():
    with pytest.raises(InputError, match=r"1\.weight.*uninitialized"):
        find(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3)))


def test_order_of_a_sequential_tells_nonlinearity_norm_and_head():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout(), nn.Tanh()),
    )
    model.append(nn.Flatten())
    model.append(nn.Linear(4, 2))
    slots = find(model)
    assert (slots["0.weight"].nonlinearity, slots["0.weight"].nonlinearity_args) == (
        "leaky_relu",
        {"negative_slope": 0.2},
    )
    assert slots["0.weight"].normalized
    assert not slots["3.0.weight"].normalized
    assert slots["3.0.weight"].nonlinearity == "tanh"
    assert slots["5.weight"].is_head
    assert not slots["3.0.weight"].is_head


def test_order_says_nothing_where_it_is_not_a_sequential():
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.ReLU()

    assert find(Other())["a.weight"].nonlinearity is None


def test_values_that_cannot_be_kept_are_marked():
    class Scaled(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([value]))

    assert find(Scaled(float("nan")))["scale"].settings["nonfinite"]
    assert "nonfinite" not in find(Scaled(1.0))["scale"].settings
