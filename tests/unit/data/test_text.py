"""The embedded text is what its licence names, and its windows predict the next character."""

from __future__ import annotations

import hashlib
from collections import Counter
from importlib import resources

import numpy as np
import pytest
import torch

from fanin import data
from fanin.data._text import alice_text
from fanin.errors import InputError


def test_alice_is_the_file_that_its_licence_names() -> None:
    folder = resources.files("fanin.data").joinpath("alice")
    licence = folder.joinpath("LICENSE.txt").read_text()
    assert hashlib.sha256(folder.joinpath("alice.txt.gz").read_bytes()).hexdigest() in licence
    assert "Public domain" in licence


def test_the_text_is_the_book() -> None:
    text = alice_text()
    assert [line for line in text.splitlines() if line.startswith("CHAPTER")][-1] == "CHAPTER XII"
    for words in ("Down the Rabbit-Hole", "`Curiouser and curiouser!' cried Alice", "Off with her head!"):
        assert words in text
    assert "  " not in text
    assert "\r" not in text
    assert set(text) - {"\n"} <= set(map(chr, range(32, 127)))


@pytest.mark.parametrize("context", [1, 7, 64, 5000])
def test_windows_are_the_text_and_targets_its_successors(context: int) -> None:
    made, text = data.alice(context), alice_text()
    letters = sorted(set(text))
    read = "".join(letters[token] for token in made.train_x.reshape(-1))
    after = "".join(letters[token] for token in made.train_y.reshape(-1))
    assert text.startswith(read)
    assert read[1:] == after[:-1]
    assert text[len(read)] == after[-1]
    border = int(0.9 * len(text))
    assert border - 1 - len(read) < context  # nothing but a part of a window is left over
    held = "".join(letters[token] for token in made.test_x.reshape(-1))
    assert text[border:].startswith(held)
    assert made.classes == len(letters) == 70
    assert made.train_x.dtype == made.train_y.dtype == np.int64


def test_english_letters_not_noise() -> None:
    counts = Counter(alice_text().lower())
    assert "".join(letter for letter, _ in counts.most_common(6)) == " etaoi"


def test_load_and_batch() -> None:
    assert "alice" in data.NAMES
    drawn = data.batch("alice", 8)
    assert drawn.inputs.shape == drawn.target.shape == (8, 64)
    assert torch.equal(drawn.inputs[:, 1:], drawn.target[:, :-1])


@pytest.mark.parametrize("context", [0, -1, True, 2.5, 1_000_000])
def test_a_context_that_cannot_be(context: object) -> None:
    with pytest.raises(InputError, match="context"):
        data.alice(context)  # type: ignore[arg-type]
