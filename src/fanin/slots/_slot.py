"""The Slot record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fanin.fans import Fans

__all__ = ["Part", "Role", "Slot", "Slots"]

Role = Literal[
    "weight",  # a linear map: linear, convolution, recurrence, bilinear, expert
    "embedding",  # a lookup table
    "bias",  # added to the output of a linear map
    "gain",  # multiplies entry by entry: a norm's weight, LayerScale, a residual multiplier
    "shift",  # added entry by entry by a norm
    "slope",  # the learned slope of an activation (PReLU)
    "token",  # added or concatenated to the signal as if it were data: class token, learned positions
    "unknown",  # nothing tells what it does; ``why`` says what was looked at
]


@dataclass(frozen=True)
class Part:
    """One of several independent blocks packed along an axis: a gate, or q / k / v.

    Args:
        name: "i", "f", "g", "o", "r", "z", "n", "q", "k", "v".
        axis: axis along which the parts are stacked.
        start: first index.
        stop: index after the last.
        fans: fans of this block alone.
        nonlinearity: canonical name of what follows this block ("sigmoid" for a gate), or None.
    """

    name: str
    axis: int
    start: int
    stop: int
    fans: Fans
    nonlinearity: str | None = None


@dataclass(frozen=True)
class Slot:
    """A place that a parameter occupies.

    Args:
        name: canonical parameter name, the first of ``named_parameters`` for tied tensors.
        shape: shape of the stored tensor.
        role: what it does to the signal.
        kind: slot kind that recognised it ("linear", "conv", "recurrent", …, "traced" for the op that used it).
        owner: path of the module that holds it; owner_type: the class name of that module.
        fans: effective fans and axes; None only where role is "unknown".
        parts: independent blocks packed in the tensor; empty for a plain one.
        ties: other names of the same tensor.
        dtype: such as "float32".
        trainable: requires_grad.
        op: canonical name of the op that uses it, or None without a graph.
        nonlinearity: canonical name of the activation that follows ("linear" where none does, None where unknown).
        nonlinearity_args: its arguments ({"negative_slope": 0.2}).
        normalized: True where a normalization follows before the next nonlinearity.
        ends_residual: True where its output is added to a skip path: the last map of a residual branch.
        is_head: True where its output leaves the network.
        padding_index: row of an embedding that must stay zero, or None.
        settings: plain values of the module or op that a scheme may need: "norm" (the gain or shift of a
            normalization), "offset" (the constant that the op adds to the stored gain), "norm_of" (weight norm: name
            of the direction whose length this is), "side" and "cell" (recurrent layers), "init" (PReLU), "hold" (why
            the model asks to leave it alone), "through" (a function it passes before it acts),
            "nonfinite" (its present values are), "gate" (the activation after it multiplies another signal),
            "gated_by" ([op, arguments] of the activation whose output multiplies its own), "factor" (a constant that
            multiplies its output before the activation), "modulates" (its output multiplies a signal as 1 + s).
        why: one line: what told the axes.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    kind: str
    owner: str
    owner_type: str
    fans: Fans | None
    parts: tuple[Part, ...] = ()
    ties: tuple[str, ...] = ()
    dtype: str = "float32"
    trainable: bool = True
    op: str | None = None
    nonlinearity: str | None = None
    nonlinearity_args: Mapping[str, Any] = field(default_factory=dict)
    normalized: bool = False
    ends_residual: bool = False
    is_head: bool = False
    padding_index: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        data = asdict(self)
        data["fans"] = None if self.fans is None else self.fans.to_json()
        data["parts"] = [{**asdict(part), "fans": part.fans.to_json()} for part in self.parts]
        data["shape"], data["ties"] = list(self.shape), list(self.ties)
        data["nonlinearity_args"] = dict(self.nonlinearity_args)
        data["settings"] = dict(self.settings)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Slot:
        """Inverse of :meth:`to_json`."""
        data = dict(data)
        data["fans"] = None if data["fans"] is None else Fans.from_json(data["fans"])
        data["parts"] = tuple(Part(**{**part, "fans": Fans.from_json(part["fans"])}) for part in data["parts"])
        data["shape"], data["ties"] = tuple(data["shape"]), tuple(data["ties"])
        return cls(**data)


class Slots(Mapping[str, Slot]):
    """Parameter name → Slot, in definition order; any name of a tied tensor finds its slot."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = {slot.name: slot for slot in slots}
        self._ties = {tie: slot.name for slot in self._slots.values() for tie in slot.ties}

    def __getitem__(self, name: str) -> Slot:
        return self._slots[self._ties.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON values."""
        return [slot.to_json() for slot in self._slots.values()]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Slots:
        """Inverse of :meth:`to_json`."""
        return cls(Slot.from_json(entry) for entry in data)
