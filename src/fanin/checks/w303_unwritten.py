"""W303: numbers that nobody wrote, or that are no numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding


class Unwritten(Rule):
    """Parameters that are not finite, or that hold whatever was in memory.

    What it sees:
        NaN or infinite entries in any parameter; NaN in a floating buffer (an infinite one may be a mask); parameters
        still on the meta device or still lazy; and tensors that look like raw memory: entries beyond 1e18 in
        magnitude, or mostly denormal ones, which no initializer draws.

    Why it matters:
        One NaN reaches every output after a few layers and every weight after one step. Memory that ``torch.empty``,
        ``to_empty`` or a new shard returned is often zero on a fresh machine and garbage on a busy one, so that the
        same script trains on one and not on the other.

    Example:
        model = build_on_meta().to_empty(device="cuda")
        model.init_weights()                                        # forgets a bare nn.Parameter

    What to do:
        ``fanin.materialize(model, recipe)`` refuses to leave a parameter unwritten; ``fanin.init_(model, x)`` writes
        every one of them.

    Thresholds:
        huge: 1e18 (magnitude, in the parameter's own unit): the square of a larger float32 value overflows, so no
            network can use it; bits of unrelated memory read as floats exceed it with probability about 1/4.
        denormal: 0.5 (share of non-zero entries below the smallest normal float): pointers and small integers read as
            floats are denormal; a draw of std 1e-30 would still have none.

    Source:
        PyTorch documentation of ``torch.empty`` and ``nn.Module.to_empty``; IEEE 754 (2019) for the formats.
    """

    code = "W303"
    name = "numbers-nobody-wrote"
    category = "nonfinite"
    severity = "error"
    requires = ()
    thresholds: ClassVar[Mapping[str, float]] = {"huge": 1e18, "denormal": 0.5}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from torch.nn.parameter import is_lazy

        from fanin.checks._tensors import readable

        for name, parameter in evidence.model.named_parameters():
            lazy = is_lazy(parameter)
            if lazy or parameter.is_meta:
                state = (
                    "is lazy: no batch has told its shape yet" if lazy else "is on the meta device: it has no memory"
                )
                yield self.finding(name, f"the parameter {state}.", _fix(name), category="uninitialized")
        for name, tensor in readable(evidence):
            yield from self._parameter(name, tensor, limits)
        for name, buffer in evidence.model.named_buffers():
            if not buffer.is_meta and buffer.is_floating_point() and bool(buffer.isnan().any()):
                share = float(buffer.isnan().double().mean())
                yield self.finding(
                    name,
                    f"{share:.1%} of the {buffer.numel()} entries of this buffer are NaN.",
                    f"write the buffer {name!r} after to_empty() or torch.empty()",
                    evidence={"nan_share": share},
                )

    def _parameter(self, name: str, tensor: torch.Tensor, limits: Mapping[str, float]) -> Iterator[Finding]:
        import torch

        from fanin.checks._tensors import largest

        top = largest(tensor)
        if not math.isfinite(top):
            bad = int((~torch.isfinite(tensor)).sum())
            yield self.finding(
                name,
                f"{bad} of {tensor.numel()} entries are NaN or infinite ({bad / tensor.numel():.1%}).",
                _fix(name),
                evidence={"nonfinite": bad, "count": tensor.numel()},
            )
            return
        flat = tensor.reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)].abs()
        filled = int((sample > 0).sum())
        denormal = int(((sample > 0) & (sample < torch.finfo(tensor.dtype).tiny)).sum())
        if top > limits["huge"] or (filled and denormal > limits["denormal"] * filled):
            yield self.finding(
                name,
                f"looks like memory nobody wrote: largest magnitude {top:.2g}, {denormal} of {filled} non-zero "
                f"entries looked at are denormal.",
                _fix(name),
                category="uninitialized",
                evidence={"max_abs": top, "denormal": denormal, "nonzero": filled},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        import torch

        arguments = Unwritten.quiet()
        with torch.no_grad():
            arguments["model"].bias.fill_(float("nan"))
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {"model": torch.nn.Linear(8, 4), "inputs": torch.randn(16, 8), "target": torch.randn(16, 4)}


_SAMPLE = 1 << 14
"""Entries looked at for the share of denormal ones: its standard error is at most 0.4 %."""


def _fix(name: str) -> str:
    return f"write it: fanin.init_(model, x, only=[{name!r}]), or cover it in init_weights() after to_empty()"
