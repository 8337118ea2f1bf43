"""F101: the signal vanishes with depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.checks._steps import Segment, Step
    from fanin.graph import Graph, Node
    from fanin.trace import Trace


class Vanishing(Rule):
    """What tells samples apart shrinks from layer to layer.

    What it sees:
        Along the chain of ops that carries the signal (through each sum on the stronger side, so residual branches,
        zero-initialised gates and LayerScale do not count) the std over samples, rms · sqrt(1 − sample correlation).
        Its change is added up over weights, biases and activations, from one normalization to the next; a stretch that
        a normalization ends is judged by the share sqrt(1 − correlation) alone, since its size is mended there. The
        last weight before the output is left out: heads are small on purpose. A product with a sigmoid that starts
        shut, where no other way carries the signal, is reported as ``gate``.

    Why it matters:
        With a factor of 0.41 a layer (default weights, ReLU) 16 layers leave 1e-6 of the input: the output is the
        biases, every sample looks the same, and the first layers get gradients that small.

    Example:
        nn.Sequential(*[m for _ in range(16) for m in (nn.Conv2d(24, 24, 3, padding=1), nn.ReLU())])

    What to do:
        Give each weight the gain that its nonlinearity asks for: ``fanin.init_(model, x)``; or a normalization.

    Thresholds:
        decades: 2 (powers of ten lost end to end, warning): 7 layers at a factor of 0.5; with the right gain plain
            networks of 8 layers lose less than one.
        severe: 4 (powers of ten, error): the first layers learn ten thousand times slower than the last; networks that
            lose 3 (AlexNet with default weights) still start, late.
        layers: 3 (weights in a row): fewer small weights are a choice, not a decay.
        share: 1.5 (powers of ten of the sample-dependent share, warning): wide ReLU chains keep a share of
            6.7 / depth by themselves (0.8 powers lost at 40 layers).
        same: 2.5 (powers of ten of that share, error): three parts in a thousand tell samples apart.
        gate: 2 (powers of ten lost in one product with a sigmoid, warning, category gate): a gate at 0.01.

    Source:
        Glorot & Bengio (2010), AISTATS; He, Zhang, Ren & Sun (2015); Schoenholz, Gilmer, Ganguli & Sohl-Dickstein
        (2017), Deep information propagation, on correlation between samples.
    """

    code = "F101"
    name = "signal-vanishes"
    category = "vanishing"
    severity = "error"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {
        "decades": 2,
        "severe": 4,
        "layers": 3,
        "share": 1.5,
        "same": 2.5,
        "gate": 2,
    }

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import paths
        from fanin.checks._steps import lost_share, segments, steps

        trace = evidence.trace
        assert trace is not None
        for path in paths(trace):
            counted = steps(trace, path)
            found = False
            lost = min(-lost_share(counted), _end_to_end(counted))
            for segment in segments(counted):
                shrinks = _lost(segment) >= limits["decades"] and segment.layers >= limits["layers"]
                if shrinks and (not segment.normalized or _below_epsilon(segment)):
                    found = True
                    yield self._shrinks(trace, segment, limits, lost)
            if not found:
                for gate in self._gates(trace, path, limits):
                    found = True
                    yield gate
            if not found and lost >= limits["share"]:
                yield self._swamped(trace, counted, limits, lost)

    def _shrinks(self, trace: Trace, segment: Segment, limits: Mapping[str, float], lost: float) -> Finding:
        decades, layers = _lost(segment), segment.layers
        first, last = segment.steps[0], segment.steps[-1]
        worst = [s for s in segment.steps if s.kind == "map" and -s.decades >= 0.5 * decades / layers]
        begin = (worst or segment.steps)[0]
        return self.finding(
            _name(trace, begin),
            f"the part of the signal that differs between samples falls by {decades:.1f} powers of ten over {layers} "
            f"layers (× {10 ** (-decades / layers):.2g} a layer): std {first.before.std:.2g} before "
            f"{first.node.place}, {last.after.std:.2g} after {last.node.place}.",
            _FIX,
            severity="error" if decades >= limits["severe"] or lost >= limits["same"] else "warning",
            evidence={"decades": decades, "layers": layers, "factor": 10 ** (-decades / layers)},
        )

    def _gates(self, trace: Trace, path: list[Node], limits: Mapping[str, float]) -> Iterator[Finding]:
        """Products with a gate that is shut, where no other way carries the signal."""
        import itertools
        import math

        from fanin.checks._path import strength, weight_before

        for source, node in itertools.pairwise(path):
            if node.op != "mul" or len(set(node.inputs)) != 2:
                continue
            gate = next(i for i in node.inputs if i != source.id)
            squashed = _squashed(trace.graph, gate)
            before, after = strength(trace, source.id), strength(trace, node.id)
            if squashed is None or before is None or after is None or not before.std or not after.std:
                continue
            decades = math.log10(before.std / after.std)
            if decades >= limits["gate"]:
                yield self.finding(
                    weight_before(trace, squashed) or squashed.place,
                    f"the gate {squashed.place} starts shut on the only way of the signal: std {before.std:.2g} before "
                    f"{node.place}, {after.std:.2g} after it.",
                    "start gates half open (bias 0), or where they close only a branch beside a skip",
                    category="gate",
                    severity="warning",
                    evidence={"decades": decades},
                )

    def _swamped(self, trace: Trace, counted: list[Step], limits: Mapping[str, float], lost: float) -> Finding:
        begin = next((s for s in counted if s.kind == "map" and s.share_decades < -0.1), counted[0])
        last = counted[-1]
        return self.finding(
            _name(trace, begin),
            f"samples become indistinguishable: the share of the signal that differs between them falls by {lost:.1f} "
            f"powers of ten, to {last.after.share:.2g} after {last.node.place}; the rest is the same for every sample.",
            _FIX,
            severity="error" if lost >= limits["same"] else "warning",
            evidence={"decades": lost, "share": last.after.share},
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _chain(0.4)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _chain(2**0.5)


_EPSILON = 1e-6
"""Mean square below which the 1e-5 that normalizations add to the variance decides (a tenth of it)."""

_FIX = "fanin.init_(model, x): each weight gets the gain that its fan-in and nonlinearity ask for"


def _lost(segment: Segment) -> float:
    """Powers of ten lost in the layers, and not brought back by what else is added on the way."""
    return min(-segment.decades(), max(0.0, -segment.end_to_end()))


def _end_to_end(counted: list[Step]) -> float:
    """log10 of the share before the first counted op over that after the last: what sums and pools bring back."""
    import math

    return math.log10(counted[0].before.share / counted[-1].after.share) if counted else 0.0


def _below_epsilon(segment: Segment) -> bool:
    return segment.steps[-1].after.rms ** 2 < _EPSILON


def _squashed(graph: Graph, node: int) -> Node | None:
    """The sigmoid-like op behind an operand, past reshaping and 1 - g; None where there is none."""
    here = graph.nodes[node]
    while here.kind in ("shape", "cast", "dropout", "scale", "add") and len(here.inputs) == 1:
        here = graph.nodes[here.inputs[0]]
    return here if here.op in ("sigmoid", "hardsigmoid", "logsigmoid") else None


def _name(trace: Trace, step: Step) -> str:
    from fanin.checks._path import weight_before

    return weight_before(trace, step.node) or step.node.place


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
