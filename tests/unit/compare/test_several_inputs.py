"""Models of several inputs: by name, by position, from loaders; the same numbers as one joined input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fanin.compare import compare, run, train
from fanin.compare._task import as_dataset
from fanin.data import Dataset, Samples
from fanin.errors import DataError, InputError, TraceError

RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.standard_normal((60, 3), np.float32), RNG.standard_normal((60, 2), np.float32)
Y = (LEFT.sum(1) > RIGHT.sum(1)).astype(np.int64)


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 2)

    def forward(self, left, right=None):
        return self.body(left if right is None else torch.cat([left, right], 1))


def joined(seed=0):
    torch.manual_seed(seed)
    return Joined()


def curve(data):
    return train(joined(), data, lr=0.1, epochs=3, batch_size=16)


def test_the_numbers_are_those_of_one_joined_input():
    cut = slice(0, 40), slice(40, 60)
    whole = np.concatenate([LEFT, RIGHT], 1)
    expected = curve((whole[cut[0]], Y[cut[0]], whole[cut[1]], Y[cut[1]]))
    for x in ((LEFT, RIGHT), {"left": LEFT, "right": RIGHT}, {"right": RIGHT, "left": LEFT}):
        train_x, test_x = (Samples(x)[part].inputs for part in cut)
        assert curve((train_x, Y[cut[0]], test_x, Y[cut[1]])) == expected
        assert curve({"train": (train_x, Y[cut[0]]), "test": (test_x, Y[cut[1]])}) == expected
    twin = curve(((LEFT[cut[0]], RIGHT[cut[0]][::-1]), Y[cut[0]], (LEFT[cut[1]], RIGHT[cut[1]]), Y[cut[1]]))
    assert twin.losses != expected.losses


def test_every_form_gives_the_same_data():
    named = {"left": LEFT, "right": RIGHT}
    parts = [slice(0, 25), slice(25, 60)]
    forms = [
        (named, Y),
        Dataset("mine", Samples(named), Y),
        {**named, "labels": Y},
        {"train": {**named, "target": Y}},
        [({name: a[part] for name, a in named.items()}, Y[part]) for part in parts],
        [{"labels": torch.tensor(Y[part]), **{n: torch.tensor(a[part]) for n, a in named.items()}} for part in parts],
    ]
    for form in forms:
        data = as_dataset(form)
        assert isinstance(data.train_x, Samples)
        assert data.train_x.shapes == {"left": (3,), "right": (2,)}
        assert all(np.array_equal(part, named[name]) for name, part in data.train_x.named())
        assert np.array_equal(data.train_y, Y)
    loader = torch.utils.data.DataLoader([((LEFT[i], RIGHT[i]), Y[i]) for i in range(60)], batch_size=32)
    data = as_dataset(loader)  # the collator makes a list of the inputs
    assert list(data.train_x.shapes) == ["0", "1"]
    assert np.array_equal(data.train_x.inputs[1], RIGHT)
    # Two batches of one input each are no pair of two inputs.
    assert np.array_equal(as_dataset([(LEFT[:9], Y[:9]), (LEFT[9:], Y[9:])]).train_x, LEFT)


def test_a_mask_stays_a_mask():
    mask = LEFT > 0
    data = as_dataset(((LEFT, mask, mask.astype(np.int32)), Y))
    assert [part.dtype for part in data.train_x.inputs] == [np.float32, np.bool_, np.int64]
    batch = data.batch(4, seed=1)
    assert [part.dtype for part in batch.inputs] == [torch.float32, torch.bool, torch.int64]
    assert torch.equal(batch.inputs[0] > 0, batch.inputs[1])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (((LEFT, RIGHT[:9]), Y), "same number of samples"),
        (({"left": LEFT}, Y[:9]), "60, one for each sample"),
        (({}, Y), "expected"),
        ({"left": LEFT}, "'target' or 'labels' among them"),
        ([({"left": LEFT}, Y), ({"right": LEFT}, Y)], "do not fit together"),
        ([({"left": LEFT}, Y), (LEFT, Y)], "do not fit together"),
        ([({"left": "words"}, Y)], "x also a tuple or a mapping"),
        (((LEFT, RIGHT), Y, (LEFT, LEFT), Y), "samples of the shape of train_x"),
    ],
)
def test_what_does_not_fit_is_told(data, text):
    with pytest.raises((InputError, DataError), match=text):
        as_dataset(data)


def test_several_inputs_are_not_flattened():
    data = as_dataset(((LEFT, RIGHT), Y))
    assert "'0': (3,)" in repr(data)
    with pytest.raises(InputError, match="a single array"):
        data.flat()
    with pytest.raises(InputError, match="an array"):
        Samples({"left": 3})


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=2,
    )
    return BertForSequenceClassification(config)


def tokens(samples=48):
    """Whether token 3 occurs among those that the mask shows."""
    ids = RNG.integers(1, 12, (samples, 6))
    shown = np.arange(6) < RNG.integers(3, 7, (samples, 1))
    return {"input_ids": ids, "attention_mask": shown.astype(np.int64)}, ((ids == 3) & shown).any(1).astype(np.int64)


def test_a_hugging_face_classifier_races(tmp_path):
    x, y = tokens()
    options = {"seeds": 2, "lrs": [1e-3], "steps": 3, "optimizer": "adam", "batch_size": 16}
    race = run(bert, (x, y, *tokens(16)), ["own", "he"], store=tmp_path / "runs.sqlite", **options)
    assert [len(race.curves(name)) for name in race.schemes] == [2, 2]
    assert all(c.test_accuracy is not None and not c.diverged for name in race.schemes for c in race.curves(name))
    assert race.curves("own")[0].losses != race.curves("he")[0].losses
    assert any("its batches hold several inputs" in note for note in race.notes)
    with pytest.raises(InputError, match="several inputs"):
        run(bert, (x, y), ["own"], together=True, **options)
    with pytest.raises(TraceError, match=r"'token_ids': \(16, 6\)"):
        run(bert, ({"token_ids": x["input_ids"]}, y), ["own"], **options)


def test_a_stored_run_is_known_by_all_its_inputs(tmp_path):
    made = []

    def make():
        made.append(1)
        return Joined()

    def updates(x):
        """Whether the race had to train: a probe is called only then."""
        called.clear()
        compare(make, (x, Y), ["own"], seeds=1, lrs=[0.1], steps=2, store=store, probe=probe, probe_at=[0])
        return len(called)

    def probe(model, step):
        called.append(step)
        return step

    called: list[int] = []
    store = tmp_path / "runs.sqlite"
    other = RIGHT.copy()
    other[-1] += 1
    x = {"left": LEFT, "right": RIGHT}
    assert updates(x) > 0
    assert updates(x) == 0
    assert updates({**x, "right": other}) > 0  # twin: the last sample of the second input, which no trial batch meets
    assert updates(x) == 0
