"""B202: the gradient grows on its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding


class GradientExploding(Rule):
    """The gradient grows from layer to layer on its way to the input, or is not finite.

    What it sees:
        Along the chain of ops that carries the signal the gradient's rms before and after each weight, activation and
        normalization, added up from the head to the first layer, where the forward signal does not grow likewise (that
        is F102); and gradients of parameters that are infinite or NaN while the loss and the forward pass are finite.

    Why it matters:
        One learning rate cannot suit layers whose gradients differ by thousands: at the last layer's rate the first
        ones are thrown away by the first step, at the first's the last ones stand still.

    Example:
        nn.Sequential(*[m for _ in range(50) for m in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())])

    What to do:
        Skip connections around normalized layers, a smaller gain in front of saturating nonlinearities, an epsilon
        inside roots and divisions; ``fanin.init_(model, x)``.

    Thresholds:
        decades: 3 (powers of ten gained from the head's input to the first layer, warning): normalized ReLU layers
            without skips gain 0.08 each (a factor of sqrt(π / (π − 1))), so 37 of them.
        severe: 5 (powers of ten, error).
        layers: 4 (weights in a row).

    Source:
        Yang, Pennington, Rao, Sohl-Dickstein & Schoenholz (2019), A mean field theory of batch normalization; Bengio,
        Simard & Frasconi (1994).
    """

    code = "B202"
    name = "gradient-explodes"
    category = "exploding"
    severity = "error"
    requires = ("forward", "backward")
    thresholds: ClassVar[Mapping[str, float]] = {"decades": 3, "severe": 5, "layers": 4}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import weight_of
        from fanin.checks._steps import backward_chains

        trace = evidence.trace
        assert trace is not None
        yield from self._broken(evidence)
        for chain in backward_chains(trace):
            decades = chain.decades
            if decades < limits["decades"] or chain.layers < limits["layers"] or chain.single > 0.5 * decades:
                continue
            if chain.forward_rms >= min(_EXPLAINED, 2 / 3 * decades):
                continue
            first, last = chain.first, chain.steps[-1]
            yield self.finding(
                weight_of(first.node) or first.node.place,
                f"the gradient grows by {decades:.1f} powers of ten over {chain.layers} layers (× "
                f"{10 ** (decades / chain.layers):.2g} a layer) on its way from {last.node.place} to "
                f"{first.node.place}.",
                "skip connections, or a gain that preserves gradients: fanin.init_(model, x)",
                severity="error" if decades >= limits["severe"] else "warning",
                evidence={"decades": decades, "layers": chain.layers},
            )

    def _broken(self, evidence: Evidence) -> Iterator[Finding]:
        import torch

        from fanin.checks._tensors import all_finite, is_finite

        trace = evidence.trace
        assert trace is not None
        outputs = set(trace.graph.outputs)
        broken = {name: gradient for name, gradient in trace.gradients.items() if not is_finite(gradient)}
        finite = all(s.nonfinite_fraction == 0 for s in trace.signals.select("forward") if s.node in outputs)
        if not broken or not finite or not all_finite(evidence):
            return
        for name, gradient in broken.items():
            bad = int((~torch.isfinite(gradient.to_dense())).sum())
            yield self.finding(
                name,
                f"{bad} of {gradient.numel()} entries of the gradient are NaN or infinite, though the output is "
                f"finite: a root, norm, logarithm or division at zero.",
                "add an epsilon inside the root or division, or start the parameter away from zero",
                evidence={"nonfinite": bad, "count": gradient.numel()},
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _chain(20.0)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _chain(1.0)


_EXPLAINED = 0.8
"""Powers of ten of forward growth that are reported by themselves."""


def _chain(gain: float) -> dict[str, Any]:
    """Sine layers: their output cannot grow, their slope can."""
    import torch
    from torch import nn

    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [m for _ in range(5) for m in (nn.Linear(64, 64), Sine())]
        for layer in layers[::2]:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, 0, gain / 8)
        model = nn.Sequential(*layers, nn.Linear(64, 4))
        return {"model": model, "inputs": torch.randn(32, 64), "target": torch.randint(0, 4, (32,))}
