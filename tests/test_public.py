"""The public surface: every name is there, lazy, documented, with the signature users rely on."""

from __future__ import annotations

import inspect
import types

import pytest

import fanin
from fanin.initializers import Initializer


def test_all_names_resolve() -> None:
    for name in fanin.__all__:
        assert getattr(fanin, name) is not None
    assert set(fanin.__all__) <= set(dir(fanin))
    assert len(fanin.__all__) == len(set(fanin.__all__))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'chekc'"):
        fanin.chekc


SIGNATURES = {
    "check": ["model", "inputs", "target", "loss", "optimizer", "select", "ignore"],
    "assert_healthy": ["model", "inputs", "target", "loss"],
    "plan": ["model", "inputs", "target", "scheme", "options"],
    "init_": ["model", "inputs", "target", "scheme", "seed", "only", "options"],
    "materialize": ["model", "recipe", "seed", "device", "dtype", "progress"],
    "fill_": ["tensor", "initializer", "seed", "name", "fans"],
    "trace": ["model", "inputs", "target", "loss"],
    "fast": ["seed"],
    "rewire_": ["model", "inputs", "target", "scheme", "options"],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_binding_signatures(name: str) -> None:
    public = getattr(fanin, name)
    function = public.__call__ if isinstance(public, types.ModuleType) else public
    parameters = [p for p in inspect.signature(function).parameters if p != "self"]
    kept = [p for p in parameters if p in SIGNATURES[name]]
    assert kept == SIGNATURES[name]


@pytest.mark.parametrize(
    "name", [n for n in fanin.__all__ if callable(getattr(fanin, n)) and not isinstance(getattr(fanin, n), type)]
)
def test_docstrings_have_their_sections(name: str) -> None:
    public = getattr(fanin, name)
    function = public.__call__ if isinstance(public, types.ModuleType) else public
    text = inspect.getdoc(function) or ""
    for section in ("Args:", "Raises:", "Example:"):
        assert section in text, f"fanin.{name}: docstring lacks {section}"


BINDING_INITIALIZERS = (
    *("Zeros", "Ones", "Constant", "Normal", "Uniform", "TruncatedNormal", "VarianceScaling", "GlorotNormal"),
    *("GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Orthogonal", "DeltaOrthogonal"),
    *("Dirac", "Identity", "Sparse"),
)


@pytest.mark.parametrize("name", BINDING_INITIALIZERS)
def test_initializers_by_name(name: str) -> None:
    assert issubclass(getattr(fanin.initializers, name), Initializer)
