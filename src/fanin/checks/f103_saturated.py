"""F103: units start on the flat part of their nonlinearity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding
    from fanin.checks._path import Strength
    from fanin.graph import Node
    from fanin.signals import Signal
    from fanin.trace import Trace


class Saturated(Rule):
    """Activations or attention start where their slope is nothing.

    What it sees:
        The share of outputs of tanh, sigmoid, hardtanh, softsign and their like on the flat part (|tanh| ≥ 0.99,
        sigmoid outside 0.005 … 0.995), and the mean entropy of attention weights, and of a router's, relative to the
        logarithm of the number of keys. A sigmoid that is shut or open for all samples is left out: a constant bias
        puts a gate or a prior there on purpose.

    Why it matters:
        At tanh = 0.99 the slope is 0.02: nothing behind it learns until something else has pulled it back. One-hot
        attention passes the gradient of one key, and none to queries and keys.

    Example:
        nn.init.normal_(layer.weight)                               # std 1, fan-in 256: pre-activations of std 16
        nn.init.normal_(qkv.weight, 0, head_dim**-0.5)              # should be d_model**-0.5

    What to do:
        Scale the weights in front of it to pre-activations of std about 1: ``fanin.init_(model, x)``; normalise raw
        inputs (I501).

    Thresholds:
        share: 0.5 (share of saturated values, warning): a pre-activation of std 4; std 1 gives 0.8 %.
        severe: 0.9 (share, error): of ten units nine do not learn; a pre-activation of std 21, or a constant.
        entropy: 0.4 (mean entropy / ln keys, warning): score std 3 among 32 keys; healthy starts have 0.8 and more.
        one_hot: 0.1 (mean entropy / ln keys, error): nine tenths of the queries look at a single key.
        router: 0.2 (mean entropy / ln choices of a softmax that weighs parts, warning): score std 5 among 8.

    Source:
        LeCun, Bottou, Orr & Müller (1998), Efficient BackProp; Glorot & Bengio (2010); Zhai et al. (2023), Stabilizing
        transformer training by preventing attention entropy collapse.
    """

    code = "F103"
    name = "saturated-start"
    category = "saturated"
    severity = "error"
    requires = ("forward",)
    thresholds: ClassVar[Mapping[str, float]] = {
        "share": 0.5,
        "severe": 0.9,
        "entropy": 0.4,
        "one_hot": 0.1,
        "router": 0.2,
    }

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._path import strength, weight_before

        trace = evidence.trace
        assert trace is not None
        for node in trace.graph.nodes:
            signal = trace.signals.at(node.place)
            if signal is None or signal.count == 0:
                continue
            share, entropy = signal.saturated_fraction, getattr(signal, "entropy", None)
            if share is not None and share >= limits["share"] and _has_two_sides(node):
                before = strength(trace, node.inputs[0]) if node.inputs else None
                if "sigmoid" in node.op and _held(signal, (before, strength(trace, node.id))):
                    continue
                yield self.finding(
                    weight_before(trace, node) or node.place,
                    f"{share:.0%} of the values after {node.place} ({node.op}) are saturated"
                    + (f": its inputs have rms {before.rms:.2g}." if before else "."),
                    _FIX,
                    severity="error" if share >= limits["severe"] else "warning",
                    evidence={"saturated": share, "input_rms": before.rms if before else None},
                )
            elif entropy is not None and entropy < limits["router"] and not _attends(trace, node):
                yield self.finding(
                    _scores(trace, node) or node.place,
                    f"the softmax at {node.place} starts at {entropy:.2f} of its largest entropy: nearly one choice "
                    f"for each sample, before anything was learned.",
                    _ROUTER,
                    severity="warning",
                    evidence={"entropy": entropy},
                )
            elif entropy is not None and entropy < limits["entropy"] and _attends(trace, node):
                yield self.finding(
                    _scores(trace, node) or node.place,
                    f"attention at {node.place} starts at {entropy:.2f} of its largest entropy: "
                    f"nearly one key a query.",
                    _ATTENTION,
                    severity="error" if entropy < limits["one_hot"] else "warning",
                    evidence={"entropy": entropy},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _tanh(2.0)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _tanh(0.125)


_CONSTANT = 0.3
"""Share of a signal below which more than nine tenths of its mean square are the same for all samples."""

_FIX = "scale the weights in front of it to pre-activations of std 1 (fanin.init_(model, x)); normalise raw inputs"
_ROUTER = "give the router small weights (std 0.02, or 0.1 / sqrt(fan-in)): fanin.init_(model, x)"
_ATTENTION = "give queries and keys std 1/sqrt(d_model) and the scores 1/sqrt(head_dim): fanin.init_(model, x)"


def _held(signal: Signal, around: tuple[Strength | None, ...]) -> bool:
    """A gate or a prior that a bias holds at one end: values hardly differ between samples, or all lie at that end."""
    return not 0.05 < signal.mean < 0.95 or any(s is not None and s.share < _CONSTANT for s in around)


def _has_two_sides(node: Node) -> bool:
    """False for a clipped ReLU: that it is zero for half of its inputs is what it is for."""
    return node.kind == "activation" and not (node.op == "hardtanh" and node.attrs.get("min_val") == 0)


def _attends(trace: Trace, node: Node) -> bool:
    """Attention: a fused call, or a softmax whose output weighs values in a product of activations."""
    if node.kind == "attention":
        return True
    readers = list(trace.graph.consumers[node.id])
    while readers:
        reader = trace.graph.nodes[readers.pop()]
        if reader.kind == "matmul":
            return True
        if reader.kind in ("dropout", "cast", "shape"):
            readers += trace.graph.consumers[reader.id]
    return False


def _scores(trace: Trace, node: Node) -> str | None:
    """The weight that makes the queries: upstream of the scores, past the product of queries and keys."""
    from fanin.checks._path import weight_of

    here = node
    while here.inputs:
        here = trace.graph.nodes[here.inputs[0]]
        name = weight_of(here)
        if name is not None and here.kind in ("linear", "attention"):
            return name
    return None


def _tanh(std: float) -> dict[str, Any]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
        nn.init.normal_(model[0].get_parameter("weight"), 0, std)
        return {"model": model, "inputs": torch.randn(32, 64), "target": torch.randint(0, 4, (32,))}
