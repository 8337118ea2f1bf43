"""B201: the gradient vanishes on its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class GradientVanishing(Rule):
    """The gradient shrinks from layer to layer on its way to the input.

    What it sees:
        Along the chain of ops that carries the signal the gradient's rms before and after each weight, activation and
        normalization, added up from the head to the first layer. Reported where the whole chain loses several powers of
        ten and no single op more than half of it. A gradient that is exactly zero behind a zero-initialised head says
        nothing and is left out. In plain chains signal and gradient vanish together; there F101 says it, and this rule
        speaks only where the forward signal does not explain the loss.

    Why it matters:
        The first layers move that much slower than the last: the network trains its top layers on the random features
        of the rest, although every activation looks healthy.

    Example:
        x = 0.1 * x + 0.9 * x.detach()                              # damped, in every layer

    What to do:
        A gain that preserves gradients (``fanin.theory.gain(f, kind="backward")``), a nonlinearity that allows one, a
        normalization or skip connections: ``fanin.init_(model, x)``.

    Thresholds:
        decades: 3 (powers of ten lost from the head's input to the first layer, warning).
        severe: 4.5 (powers of ten, error): a last-layer gradient of 1e-3 leaves 3e-8 for the first, where Adam's
            epsilon of 1e-8 begins to matter.
        layers: 3 (weights in a row).

    Source:
        Hochreiter (1991); Bengio, Simard & Frasconi (1994); Glorot & Bengio (2010).
    """

    code = "B201"
    name = "gradient-vanishes"
    category = "vanishing"
    severity = "error"
    requires = ("forward", "backward")
    thresholds: ClassVar[Mapping[str, float]] = {"decades": 3, "severe": 4.5, "layers": 3}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import weight_of
        from fanin.checks._steps import backward_chains

        trace = evidence.trace
        assert trace is not None
        for chain in backward_chains(trace):
            decades = -chain.decades
            if decades < limits["decades"] or chain.layers < limits["layers"] or chain.single > 0.5 * decades:
                continue
            if -chain.forward >= min(
                _EXPLAINED, 2 / 3 * decades
            ):  # the forward signal does the same: one cause, one finding
                continue
            first, last = chain.first, chain.steps[-1]
            yield self.finding(
                weight_of(first.node) or first.node.place,
                f"the gradient falls by {decades:.1f} powers of ten over {chain.layers} layers (× "
                f"{10 ** (-decades / chain.layers):.2g} a layer) on its way from {last.node.place} to "
                f"{first.node.place}.",
                _FIX,
                severity="error" if decades >= limits["severe"] else "warning",
                evidence={"decades": decades, "layers": chain.layers},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _chain(0.2)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _chain(1.0)


_EXPLAINED = 2
"""Powers of ten of the forward signal whose loss is reported by itself."""

_FIX = "fanin.init_(model, x), a nonlinearity with a slope near 1 at its working point, or skip connections"


def _chain(kept: float) -> dict[str, Any]:
    """Tanh layers that pass on a share of their gradient."""
    import torch
    from torch import nn

    class Layer(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(super().forward(x))
            return x if kept == 1 else kept * x + (1 - kept) * x.detach()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [Layer(64, 64) for _ in range(8)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, gain=1.2)
        model = nn.Sequential(*layers, nn.Linear(64, 4))
        return {"model": model, "inputs": torch.randn(32, 64), "target": torch.randint(0, 4, (32,))}
