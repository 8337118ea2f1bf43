"""Keys and laws as values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.errors import InputError
from fanin.keys import Key, Law

seeds = st.integers(0, 2**64 - 1)


@given(seeds, seeds, st.text(), st.text())
def test_words_tell_seeds_and_names_apart(seed: int, other: int, name: str, another: str) -> None:
    """Two different addresses share 64 bits once in 2^64 times, that is never here."""
    assert Key(seed, name).words == Key(seed, name).words
    assert (Key(seed, name).words == Key(other, another).words) == ((seed, name) == (other, another))
    assert all(0 <= word < 2**32 for word in Key(seed, name).words)


def test_words_never_change() -> None:
    """They address every weight ever drawn; computed once with BLAKE2b as in the docstring."""
    assert Key(0, "").words == (0xB675D4FE, 0x8597F879)
    assert Key(1, "layer.weight").words == (0x4B130F62, 0xE5C45A66)


def test_any_text_is_a_name() -> None:
    assert Key(0, "\ud800").words != Key(0, "").words
    assert Key(0, "größe").child("a") != Key(0, "größe").child("b")


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, None, "0"])
def test_seeds_are_64_bits(seed: object) -> None:
    with pytest.raises(InputError, match="seed"):
        Key(seed)  # type: ignore[arg-type]


def test_names_are_text() -> None:
    with pytest.raises(InputError, match="name"):
        Key(0, b"weight")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("gauss",), "kind"),
        (("normal", math.nan, 1.0), "location"),
        (("normal", 0.0, -1.0), "scale"),
        (("normal", 0.0, math.inf), "scale"),
        (("truncated_normal", 0.0, 1.0), "bound"),
        (("truncated_normal", 0.0, 1.0, 0.0), "bound"),
    ],
)
def test_laws_name_what_is_wrong(arguments: tuple[object, ...], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Law(*arguments)  # type: ignore[arg-type]
