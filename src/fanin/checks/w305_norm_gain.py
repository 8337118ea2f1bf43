"""W305: the gain of a normalization is zero where it must not be, or random around zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.slots import Slot


class NormGain(Rule):
    """A normalization multiplies by zero, or by random signs.

    What it sees:
        Gains of normalizations (plus the constant that some add to the stored weight) that are all zero although the
        norm does not end a residual branch, where zero is a method; and gains whose signs are mixed like those of a
        weight drawn around zero. Also running variances that are all zero.

    Why it matters:
        A gain of zero outputs the shift for every input: whatever stands before it is cut off, and gets no gradient. A
        gain drawn from N(0, 0.02) shrinks the signal fiftyfold and flips half of its features, after each norm anew.

    Example:
        for p in model.parameters(): nn.init.normal_(p, std=0.02)   # norms too
        nn.init.zeros_(norm.weight); nn.init.ones_(norm.bias)       # swapped
        model.to_empty(device="cpu")                                # zero pages, norms forgotten

    What to do:
        Gain 1, shift 0 (gain 0 only in the last norm of a residual branch): ``fanin.init_(model, x)``.

    Thresholds:
        mixed: 0.25 (share of entries of the rarer sign): a gain drawn around 0 has 0.5; trained gains and N(1, 0.02)
            have next to none.
        units: 8 (entries, for mixed signs): eight fair coins show fewer than two of one side in 7 % of cases.

    Source:
        Ioffe & Szegedy (2015), Batch normalization; Ba, Kiros & Hinton (2016), Layer normalization; Goyal et al. (2017)
        for zero gains at the end of residual branches.
    """

    code = "W305"
    name = "norm-gain-off"
    category = "norm_affine"
    severity = "error"
    requires = ("parameters", "slots")
    thresholds: ClassVar[Mapping[str, float]] = {"mixed": 0.25, "units": 8}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import readable

        assert evidence.slots is not None
        for name, tensor in readable(evidence):
            slot = evidence.slots[name]
            if slot.role == "gain" and (slot.settings.get("norm") or _feeds_norm(evidence, name)):
                yield from self._gain(evidence, name, tensor.float(), slot, limits)
        for name, buffer in evidence.model.named_buffers():
            if name.endswith("running_var") and not buffer.is_meta and buffer.numel() and not bool(buffer.any()):
                yield self.finding(
                    name,
                    f"all {buffer.numel()} running variances are 0: in eval mode the layer divides by sqrt(eps) alone.",
                    "norm.reset_running_stats() after to_empty()",
                    severity="warning",
                    evidence={"count": buffer.numel()},
                )

    def _gain(
        self, evidence: Evidence, name: str, tensor: torch.Tensor, slot: Slot, limits: Mapping[str, float]
    ) -> Iterator[Finding]:
        gain = tensor + float(slot.settings.get("offset", 0.0))
        if not bool(gain.any()):
            if not slot.ends_residual and not _ends_branch(evidence, name):
                shift = _shift(evidence, slot)
                swapped = ", and the shift all 1: the two are swapped" if shift == 1.0 else ""
                yield self.finding(
                    name,
                    f"all {gain.numel()} gains of {slot.owner or 'the model'} ({slot.owner_type}) are 0{swapped}: it "
                    f"outputs the same for every input.",
                    _FIX,
                    severity="error" if _constant_output(evidence) else "warning",
                    evidence={"count": gain.numel(), "shift": shift},
                )
            return
        rarer = min(float((gain < 0).float().mean()), float((gain > 0).float().mean()))
        if rarer >= limits["mixed"] and gain.numel() >= limits["units"]:
            yield self.finding(
                name,
                f"{float((gain < 0).float().mean()):.0%} of the {gain.numel()} gains are negative (mean "
                f"{float(gain.mean()):.2g}, std {float(gain.std()):.2g}): drawn around 0 like a weight.",
                _FIX,
                severity="warning",
                evidence={"mixed": rarer, "mean": float(gain.mean()), "std": float(gain.std())},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = NormGain.quiet()
        arguments["model"][1].weight.data.zero_()
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4))
            return {"model": model, "inputs": torch.randn(32, 16), "target": torch.randn(32, 4)}


_FIX = "gain 1, shift 0: fanin.init_(model, x)"


def _shift(evidence: Evidence, slot: Slot) -> float | None:
    """The value of the norm's shift where it is constant."""
    assert evidence.slots is not None
    for other in evidence.slots.values():
        if other.owner == slot.owner and other.role == "shift":
            shift = evidence.parameters[other.name]
            first = float(shift.reshape(-1)[0])
            return first if bool((shift == first).all()) else None
    return None


def _feeds_norm(evidence: Evidence, name: str) -> bool:
    """Whether a norm uses the gain, be it one written out as (w * x) * rsqrt(mean(x²))."""
    from fanin.checks._path import is_norm

    if evidence.trace is None:
        return False
    graph = evidence.trace.graph
    if any(node.kind == "norm" for node, _ in graph.uses(name)):
        return True
    readers = [graph.nodes[r] for node, _ in graph.uses(name) for r in graph.consumers[node.id]]
    return any(reader.kind == "mul" and is_norm(graph, reader) for reader in readers)


def _ends_branch(evidence: Evidence, name: str) -> bool:
    """Whether what the gain makes is added to another path before any other op uses it."""
    if evidence.trace is None:
        return False
    graph = evidence.trace.graph
    for node, _ in graph.uses(name):
        here = node
        while True:
            readers = [graph.nodes[r] for r in graph.consumers[here.id]]
            if any(r.kind == "add" and len(set(r.inputs)) > 1 for r in readers):
                return True
            if len(readers) != 1 or readers[0].kind not in ("shape", "cast", "dropout", "scale", "add", "mul"):
                break
            here = readers[0]
    return False


def _constant_output(evidence: Evidence) -> bool:
    """Whether the model's output no longer differs between samples; True where it was not measured."""
    from fanin.checks._path import strength

    if evidence.trace is None:
        return True
    found = [s for o in evidence.trace.graph.outputs if (s := strength(evidence.trace, o)) is not None]
    return not found or all(s.rms == 0 or s.share <= _SAME for s in found)


_SAME = 2e-3
"""Twice the share that rounding of float32 sums leaves between equal samples."""
