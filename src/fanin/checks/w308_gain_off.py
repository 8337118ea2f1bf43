"""W308: weights whose scale does not suit their use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule
from fanin.checks._finding import Finding

if TYPE_CHECKING:
    import torch

    from fanin.checks._steps import Segment
    from fanin.slots import Slot


class GainOff(Rule):
    """Weights in a row are scaled for another fan or another nonlinearity than theirs.

    What it sees:
        For the weights of a stretch without normalization their gain, std · sqrt(fan-in), with the fan-in of the op
        that uses them, against the gain that the nonlinearity after them asks for. Reported where several in a row
        are off to the same side and the measured signal shrinks or grows accordingly. Where their std is that of a
        usual law with a fan read off the shape by mistake (input and output swapped, groups forgotten, an axis of the
        window missing, experts taken for a kernel) the category is ``wrong_fan``, else ``wrong_gain``. Signals that
        shrink or grow so far that F101 or F102 say it are repeated only for a wrong fan, whose cause is then known.
        Where nobody chose the scale (the 1/sqrt(3) of torch's own reset) it is an info.

    Why it matters:
        The error of one layer is the base of a power: a gain of 0.58 where 1.41 is needed costs a factor of 0.41 in
        each layer. Under a normalization the same weights are harmless.

    Example:
        nn.init.kaiming_normal_(experts)                            # (E, in, out) taken for a convolution kernel
        nn.init.kaiming_normal_(depthwise.weight, mode="fan_out")   # counts the outputs of all groups
        nn.init.xavier_normal_(relu_layer.weight)                   # half the variance that ReLU needs

    What to do:
        ``fanin.init_(model, x)`` takes fans from the op and gains from the nonlinearity; ``fanin gain relu`` prints
        the gain of one.

    Thresholds:
        ratio: 1.33 (gain by the gain asked for, or its inverse): 4 layers give half a power of ten.
        decades: 1 (powers of ten that the signal shrinks by over the stretch, warning; half of it for growth, which
            harms sooner; from half of it on an info).
        layers: 3 (weights in a row; two where one mistaken fan explains both).

    Source:
        Glorot & Bengio (2010); He, Zhang, Ren & Sun (2015); PyTorch documentation of ``torch.nn.init`` on how it reads
        fans off a shape.
    """

    code = "W308"
    name = "gain-does-not-suit"
    category = "wrong_gain"
    severity = "warning"
    requires = ("forward", "slots", "parameters")
    thresholds: ClassVar[Mapping[str, float]] = {"ratio": 1.33, "decades": 1, "layers": 3}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import paths
        from fanin.checks._steps import segments, steps

        trace = evidence.trace
        assert trace is not None
        for path in paths(trace):
            for segment in segments(steps(trace, path)):
                if not segment.normalized:
                    yield from self._segment(evidence, segment, limits)

    def _segment(self, evidence: Evidence, segment: Segment, limits: Mapping[str, float]) -> Iterator[Finding]:
        scales = _scales(evidence, segment)
        off = [scale for scale in scales if abs(math.log(scale.ratio)) >= math.log(limits["ratio"])]
        small = [scale for scale in off if scale.ratio < 1]
        off = small if len(small) >= len(off) / 2 else [scale for scale in off if scale.ratio > 1]
        decades = segment.decades() if small is off else segment.rms_decades()
        effect = -decades if small is off else decades
        mistaken = [scale for scale in off if scale.mistakes]
        if len(off) < (2 if _agree(off) else limits["layers"]) or len(off) < 0.6 * len(scales):
            return
        if effect < 0.5 * limits["decades"]:
            return
        enough = limits["decades"] if small is off else 0.5 * limits["decades"]
        if len(mistaken) >= max(2, 0.5 * len(off)):
            first = mistaken[0]
            mistake = next(iter(first.mistakes.values()))
            cause = f"its std {first.std:.3g} is that of fan {mistake}, but {first.why}"
            category = "wrong_fan"
        elif effect >= _VANISHING if small is off else effect >= _EXPLODING and segment.depth >= _GROWTH_LAYERS:
            return
        else:
            first, category = off[0], "wrong_gain"
            cause = f"std · sqrt(fan-in) is {first.gain:.2g} where {first.nonlinearity} asks for {first.wanted:.3g}"
        yield self.finding(
            first.name,
            f"{len(off)} of {len(scales)} weights in a row are too {'small' if small is off else 'large'} for their "
            f"use, and the signal changes by {decades:+.1f} powers of ten over them: {cause} (fan-in {first.fan:g}).",
            "fanin.init_(model, x): fans from the op that uses the weight, gains from the nonlinearity after it",
            category=category,
            severity="warning" if effect >= enough and not _is_torch_default(off) else "info",
            evidence={"gain": first.gain, "wanted": first.wanted, "fan_in": first.fan, "decades": decades},
            also=[scale.name for scale in off if scale is not first],
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _depthwise("fan_out")

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _depthwise("fan_in")


_VANISHING, _EXPLODING, _GROWTH_LAYERS = 2, 0.8, 4
"""Powers of ten, and layers, from which F101 and F102 report the effect by itself."""


def _is_torch_default(off: list[_Scale]) -> bool:
    """Whether most of these weights have the std of torch's own reset, U(±1/sqrt(fan-in)): gain 1/sqrt(3)."""
    return sum(abs(scale.gain * math.sqrt(3) - 1) < 0.1 for scale in off) > len(off) / 2


@dataclass(frozen=True)
class _Scale:
    name: str
    std: float
    fan: float
    gain: float
    wanted: float
    nonlinearity: str
    mistakes: dict[tuple[str, float], str]
    why: str

    @property
    def ratio(self) -> float:
        return self.gain / self.wanted


def _scales(evidence: Evidence, segment: Segment) -> list[_Scale]:
    """Measured and wanted gain of each weight of a stretch whose use is known."""
    from fanin.checks._path import weight_of
    from fanin.checks._tensors import readable, slot_of
    from fanin.errors import FaninError
    from fanin.theory import gain

    tensors = dict(readable(evidence))
    found = []
    for step in segment.steps:
        name = weight_of(step.node) if step.kind == "map" else None
        slot = None if name is None else slot_of(evidence, name)
        if name not in tensors or slot is None or slot.fans is None or slot.role != "weight" or slot.parts:
            continue
        tensor = tensors[name]
        std = float(tensor.float().square().mean().sqrt())
        if "form" in slot.settings:  # the direction of a weight norm has no scale
            continue
        if slot.normalized or slot.is_head or slot.fans.fan_in < 1 or tensor.numel() < _FEWEST or std == 0:
            continue
        try:
            wanted = gain(slot.nonlinearity or "linear", **slot.nonlinearity_args)
        except (FaninError, TypeError):  # a nonlinearity that theory does not know asks for nothing
            continue
        factor = float(slot.settings.get("factor", 1.0))
        mistakes = _mistaken_fans(tensor, slot, std, wanted)
        scale = std * math.sqrt(slot.fans.fan_in) * factor
        found.append(
            _Scale(name, std, slot.fans.fan_in, scale, wanted, slot.nonlinearity or "linear", mistakes, slot.why)
        )
    return found


_FEWEST = 64
"""Entries below which the std of a weight (to 1 / sqrt(2 n)) does not tell its law."""


def _agree(off: list[_Scale]) -> bool:
    """Whether one mistake in one law explains all of them: one weight may hit a number by chance, two hardly do."""
    return len(off) > 1 and bool(set.intersection(*(set(scale.mistakes) for scale in off)))


def _mistaken_fans(tensor: torch.Tensor, slot: Slot, std: float, wanted: float) -> dict[tuple[str, float], str]:
    """(mistake, gain of the law) → fan, in words, wherever a usual law with another fan than a true one has this std.

    Empty where a true fan explains it.
    """
    fans = slot.fans
    assert fans is not None
    shape = tensor.shape
    window = math.prod(shape[2:])
    true = (fans.fan_in, fans.fan_out, fans.average, fans.geometric)
    mistaken: dict[str, float] = {
        "axis 1 of the shape and the window": shape[1] * window,
        "axis 0 of the shape and the window": shape[0] * window,
    }
    for axis in fans.window_axes:
        for label, fan in (("fan-in", fans.fan_in), ("fan-out", fans.fan_out)):
            mistaken[f"{label} without axis {axis} of the window"] = fan / shape[axis]
    near = max(0.02, 3 / math.sqrt(2 * tensor.numel()))  # three standard errors of a std
    laws = (1.0, math.sqrt(2), wanted, 1 / math.sqrt(3))

    def explains(fan: float, law: float) -> bool:
        return fan > 0 and abs(std * math.sqrt(fan) / law - 1) <= near

    if any(explains(fan, law) for fan in true for law in laws):
        return {}
    return {(label, law): f"{fan:g} ({label})" for label, fan in mistaken.items() for law in laws if explains(fan, law)}


def _depthwise(mode: Any) -> dict[str, Any]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential()
        for _ in range(3):
            model.append(nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)).append(nn.ReLU())
        model.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(32, 4))
        for layer in model:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        return {"model": model, "inputs": torch.randn(16, 32, 8, 8), "target": torch.randint(0, 4, (16,))}
