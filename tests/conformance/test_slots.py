"""Every slot kind: it knows all parameters of its own examples, and a layer that no kind knows is never guessed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import fanin.slots as package
from fanin.slots import KINDS, Slot, Slots, find

EXAMPLES = [(kind, module) for kind in KINDS.values() for module in kind.example()]
IDS = [f"{kind.name}-{type(module).__name__}" for kind, module in EXAMPLES]


@pytest.mark.parametrize(("kind", "module"), EXAMPLES, ids=IDS)
def test_a_kind_knows_every_parameter_of_its_examples(kind, module):
    slots = find(module)
    assert list(slots) == [name for name, _ in module.named_parameters()]
    for slot in slots.values():
        assert slot.role != "unknown"
        assert slot.why


@pytest.mark.parametrize(("kind", "module"), EXAMPLES, ids=IDS)
def test_axes_and_parts_describe_the_tensor(kind, module):
    for slot in find(module).values():
        axes = [*slot.fans.out_axes, *slot.fans.in_axes, *slot.fans.window_axes, *slot.fans.batch_axes]
        assert sorted(axes) == list(range(len(slot.shape)))
        if slot.role == "weight":
            # Every entry is one term of one output: fan_in · outputs = entries (· spread by a stride).
            entries = math.prod(slot.shape) / max(len(slot.parts), 1)
            outputs = entries / slot.fans.fan_in
            assert outputs == pytest.approx(round(outputs))
        stops = [0] + [part.stop for part in slot.parts]
        assert [part.start for part in slot.parts] == stops[:-1]
        if slot.parts:
            assert stops[-1] == slot.shape[slot.parts[0].axis]


@pytest.mark.parametrize(("kind", "module"), EXAMPLES, ids=IDS)
def test_slots_survive_json_and_leave_the_module_alone(kind, module):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    slots = find(module)
    again = Slots.from_json(slots.to_json())
    assert [again[name] for name in again] == [slots[name] for name in slots]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(("kind", "module"), EXAMPLES, ids=IDS)
def test_meta_modules_have_the_same_slots(kind, module):
    meta = type(module).__name__ and module.to("meta")
    assert all(isinstance(slot, Slot) and slot.role != "unknown" for slot in find(meta).values())


def test_each_kind_has_its_file_and_an_example():
    folder = Path(package.__file__).parent
    plugins = {p.stem for p in folder.glob("*.py")} - {"traced"}
    plugins = {name for name in plugins if not name.startswith("_")}
    assert {type(kind).__module__.rpartition(".")[2] for kind in KINDS.values()} == plugins
    without = {kind.name for kind in KINDS.values() if not kind.example()}
    assert without == {"conv1d_transformers"}  # its class belongs to a package that is not imported here


class Unheard(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 8))


def test_an_unknown_layer_is_unknown_never_guessed_from_its_rank():
    slot = find(Unheard())["table"]
    assert slot.role == "unknown"
    assert slot.fans is None
    assert "Unheard" in slot.why
    assert "table" in slot.why
