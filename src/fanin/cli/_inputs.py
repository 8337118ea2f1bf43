"""``--input`` and ``--target``: from a text to random tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["InputSpec", "make_inputs", "parse_input"]

_ACCEPTED = "[NAME=]SHAPE[:KIND], such as 784, 3x224x224, 3x32x32:uniform, 128:ids=50257 or mask=128:ones"
_KINDS = ("normal", "uniform", "ones", "ids")


@dataclass(frozen=True)
class InputSpec:
    """What one sample looks like.

    Args:
        shape: without the batch axis; () for one number per sample.
        kind: "normal", "uniform", "ones" or "ids".
        below: for ids: one more than the largest.
        name: keyword of the model's forward, or None for a positional argument.
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    below: int = 0
    name: str | None = None

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        kind = f"ids={self.below}" if self.kind == "ids" else self.kind
        if kind == "normal" and self.name != "ids":  # a bare "ids=5" would read as one token id below 5
            kind = ""
        return (f"{self.name}=" if self.name else "") + ":".join(part for part in (shape, kind) if part)


def parse_input(text: str, parameter: str = "--input") -> InputSpec:
    """Read one specification.

    Example:
        >>> parse_input("3x32x32")
        InputSpec(shape=(3, 32, 32), kind='normal', below=0, name=None)
        >>> str(parse_input("tokens=128:ids=50257"))
        'tokens=128:ids=50257'

    Raises:
        InputError: saying what was given and what is accepted.
    """
    rest, name = text.strip(), None
    named = re.fullmatch(r"([A-Za-z_]\w*)=(.+)", rest)
    if named and not re.fullmatch(r"ids=\d+", rest):
        name, rest = named.groups()
    # ids<N> and int<N> are what people write when they do not think of the shell
    rest = re.sub(r"\b(?:ids|int)<(\d+)>$", r"ids=\1", rest)
    shape_text, colon, kind_text = rest.partition(":")
    if not colon and not re.match(r"\d", shape_text):
        shape_text, kind_text = "", shape_text
    kind, _, below = (kind_text or "normal").partition("=")
    shape_ok = shape_text == "" or re.fullmatch(r"[1-9]\d*([x×,*][1-9]\d*)*", shape_text)
    below_ok = (below.isdecimal() and int(below) > 0) if kind == "ids" else below == ""
    if not shape_ok or kind not in _KINDS or not below_ok or (not shape_text and not kind_text):
        raise InputError.of(parameter, text, _ACCEPTED)
    shape = tuple(int(side) for side in re.split(r"[x×,*]", shape_text)) if shape_text else ()
    return InputSpec(shape, kind, int(below) if kind == "ids" else 0, name)


def make_inputs(specs: Sequence[InputSpec], batch: int, seed: int) -> Any:
    """Random tensors: one alone, several as a tuple, named ones as a dict.

    Raises:
        InputError: if some have a name and others not, or two share one.
    """
    import torch

    named = [spec.name for spec in specs if spec.name is not None]
    if named and len(named) != len(specs):
        raise InputError("--input: either all of them have a name or none.")
    if len(set(named)) != len(named):
        raise InputError.of("--input", named, "each name once")
    source = torch.Generator().manual_seed(seed)
    tensors = [_make(spec, batch, source) for spec in specs]
    if named:
        return dict(zip(named, tensors))
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _make(spec: InputSpec, batch: int, source: torch.Generator) -> torch.Tensor:
    import torch

    shape = (batch, *spec.shape)
    if spec.kind == "ids":
        return torch.randint(0, spec.below, shape, generator=source)
    if spec.kind == "uniform":
        return torch.rand(shape, generator=source)
    if spec.kind == "ones":
        return torch.ones(shape)
    return torch.randn(shape, generator=source)
