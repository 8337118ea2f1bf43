"""F102: the signal grows with depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.checks._steps import Segment


class Exploding(Rule):
    """Activations grow from layer to layer, or overflow.

    What it sees:
        Along the chain of ops that carries the signal the growth of its root mean square, added up over weights,
        activations and the sums of residual blocks, in stretches that no normalization ends; and the first op that
        makes infinite or NaN values out of finite ones. Growth that comes mostly from residual sums is reported as
        ``residual_growth``.

    Why it matters:
        A factor of sqrt(2) a block is 1e5 after 32 blocks. Logits that large make the first loss and its gradient
        huge; the first step then throws the weights away, or half precision overflows before it.

    Example:
        x = x + conv2(relu(conv1(relu(x))))                         # He-initialised, no norm: variance doubles a block

    What to do:
        Let each block start near identity (last layer of the branch zero or × 1/sqrt(blocks)); give plain layers the
        gain of their nonlinearity: ``fanin.init_(model, x)``.

    Thresholds:
        decades: 0.8 (powers of ten gained end to end, warning): healthy plain networks stay within 0.3; logits six
            times too large start 18 nats above ignorance.
        severe: 2 (powers of ten, error): a hundredfold signal makes logits of std 100, 5000 nats above ignorance.
        layers: 4 (weights or residual sums in a row): fewer are one wrong scale, not growth,
        few: 1.5 (powers of ten, in two or three layers): unless each is six times too large.

    Source:
        He, Zhang, Ren & Sun (2015); Zhang, Dauphin & Ma (2019), Fixup; De & Smith (2020) on residual growth.
    """

    code = "F102"
    name = "signal-explodes"
    category = "exploding"
    severity = "error"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {"decades": 0.8, "severe": 2, "layers": 4, "few": 1.5}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import paths
        from fanin.checks._steps import segments, steps

        trace = evidence.trace
        assert trace is not None
        yield from self._overflow(evidence)
        for path in paths(trace):
            for segment in segments(steps(trace, path)):
                grows = segment.rms_decades() >= limits["decades"] and segment.depth >= limits["layers"]
                # in few layers biases alone may lift a small input: what differs between samples must grow as well
                few = min(segment.rms_decades(), segment.decades()) >= limits["few"] and segment.depth >= 2
                if (grows or few) and not segment.normalized:
                    yield self._grows(evidence, segment, limits)

    def _grows(self, evidence: Evidence, segment: Segment, limits: Mapping[str, float]) -> Finding:
        from fanin.checks._path import weight_before

        trace = evidence.trace
        assert trace is not None
        decades, layers = segment.rms_decades(), segment.depth
        first, last = segment.steps[0], segment.steps[-1]
        sums = sum(step.rms_decades for step in segment.steps if step.kind == "residual")
        blocks = sum(step.kind == "residual" for step in segment.steps)
        residual = sums > 0.5 * decades
        count, unit = (blocks, "block") if residual else (layers, "layer")
        grown = [s for s in segment.steps if s.kind == ("residual" if residual else "map") and s.rms_decades > 0.05]
        begin = (grown or segment.steps)[0]
        return self.finding(
            weight_before(trace, begin.node) or begin.node.place,
            f"the signal grows by {decades:.1f} powers of ten over {count} {unit}s (× {10 ** (decades / count):.2g} "
            f"a {unit}): rms {first.before.rms:.2g} before {first.node.place}, {last.after.rms:.2g} after "
            f"{last.node.place}, with no normalization after it.",
            _BRANCH if residual else _FIX,
            category="residual_growth" if residual else "exploding",
            severity="error" if decades >= limits["severe"] else "warning",
            evidence={"decades": decades, unit + "s": count, "factor": 10 ** (decades / count)},
        )

    def _overflow(self, evidence: Evidence) -> Iterator[Finding]:
        from fanin.checks._path import weight_before
        from fanin.checks._tensors import all_finite

        trace = evidence.trace
        assert trace is not None
        broken = {s.node for s in trace.signals.select("forward") if s.nonfinite_fraction > 0}
        if not broken or not all_finite(evidence):
            return
        for node in trace.graph.nodes:
            # a mask makes infinities on purpose; a softmax or a max takes them away again
            if node.id in broken and node.kind in _COMPUTING and not any(i in broken for i in node.inputs):
                signal = trace.signals.at(node.place)
                assert signal is not None
                yield self.finding(
                    weight_before(trace, node) or node.place,
                    f"{signal.nonfinite_fraction:.1%} of the values after {node.place} ({node.op}) are not finite, "
                    f"though all parameters and its operands are; the largest finite one is {signal.max_abs:.2g}.",
                    _FIX,
                    evidence={"nonfinite_share": signal.nonfinite_fraction, "max_abs": signal.max_abs},
                )
                return

    @staticmethod
    def fires() -> dict[str, Any]:
        return _chain(2.5)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _chain(2**0.5)


_COMPUTING = frozenset({"linear", "recurrent", "attention", "norm", "activation", "matmul", "softmax"})

_FIX = "fanin.init_(model, x): each weight gets the gain that its fan-in and nonlinearity ask for"
_BRANCH = "start the last layer of each branch at zero, or × 1/sqrt(blocks): fanin.init_(model, x)"


def _chain(gain: float) -> dict[str, Any]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [m for _ in range(8) for m in (nn.Linear(64, 64), nn.ReLU())]
        model = nn.Sequential(*layers, nn.Linear(64, 4))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, gain / 8)
                nn.init.zeros_(layer.bias)
        return {"model": model, "inputs": torch.randn(32, 64), "target": torch.randint(0, 4, (32,))}
