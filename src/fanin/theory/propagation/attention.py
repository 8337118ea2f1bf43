"""Products of two activations, softmax, and fused attention, which is both."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import CAUSAL, CROSS, FAR, NEAR, SAMPLE, Flow, Grad, alike, relations

__all__ = ["Attention", "Matmul", "Softmax"]

ROWS = 256
"""Rows of logits drawn to average a softmax: its second moment to a few per cent."""


@cache
def _weights(deviation: float, keys: int, causal: bool) -> tuple[float, float, float, float]:
    """For p = softmax of Gaussian logits: Σ p², E p² (1 − 2p + Σ p²) n, Σ over a column p², mean length of a row."""
    random = np.random.default_rng(keys)
    lengths = np.unique(np.linspace(1, keys, min(keys, 16)).round().astype(int)) if causal else np.array([keys])
    square, slope = [], []
    for n in lengths:
        logits = deviation * random.standard_normal((ROWS, int(n)))
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        together = (p**2).sum(-1, keepdims=True)
        square.append(float(together.mean()))
        slope.append(float((p**2 * (1 - 2 * p + together)).sum(-1).mean()))
    return float(np.mean(square)), float(np.mean(slope)), float(np.mean(1 / lengths)), float(lengths.mean())


@cache
def _overlap(n: int) -> float:
    """Mean of 1/max(i, j) over pairs of causal rows i ≠ j of 1 … n."""
    j = np.arange(1, n + 1)
    return float(((j - 1) / j).sum() / max(1.0, n * (n - 1) / 2))


@cache
def _overlap_inside(n: int) -> float:
    """The same over pairs j ≠ k <= i, rows i weighted by their share 1 − 1/i of mixed pairs."""
    i = np.arange(2, n + 1)
    inner = np.array([_overlap(int(row)) for row in i])
    return float((inner * (1 - 1 / i)).sum() / (1 - 1 / i).sum()) if n > 1 else 1.0


def _deviation(second: float, common: float) -> float:
    """Standard deviation of logits inside a row, to three digits so that averages can be cached."""
    value = math.sqrt(max(0.0, second - common))
    return float(f"{min(value, 1e4):.3g}")


class Softmax(Propagator):
    """p = softmax(l): only what differs inside a row matters."""

    kinds = ("softmax",)

    def forward(self, call: Call) -> Flow:
        """Moments of p over random rows."""
        x = call.inputs[0]
        axis = call.attrs.get("dim", -1)
        n = call.shape()[int(axis) if isinstance(axis, int) else -1]
        deviation = _deviation(x.second, x.last if x.last is not None else x.mean**2)
        if call.node.op == "log_softmax":
            return self._log(x, n, deviation)
        square, _, inverse, _ = _weights(deviation, n, x.masked)
        mean, second = 1 / n, square / n
        # Two rows with independent logits share Σ_k p_k p′_k = 1/(length of the longer).
        shared = (_overlap(n) if x.masked else 1 / n) / n
        overlap_causal = (_overlap_inside(n) if x.masked else 1 / n) / n
        return Flow(
            mean,
            second,
            relations(inverse / n, shared, shared, shared, overlap_causal),
            unit=x.unit,
            last=max(0.0, (1 - square) / max(1, n * (n - 1))),
            masked=x.masked,
            exact=x.exact,
        )

    def _log(self, x: Flow, n: int, deviation: float) -> Flow:
        logits = deviation * np.random.default_rng(n).standard_normal((ROWS, n))
        value = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        second, mean = float((value**2).mean()), float(value.mean())
        return Flow(mean, second, alike(mean**2), unit=x.unit, exact=x.exact)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """∂p_i/∂l_j = p_i (δ_ij − p_j): E (p_i (g_i − Σ p g))² = E g² E p² (1 − 2p + Σ p²)."""
        x = call.inputs[0]
        n = call.shape()[-1]
        deviation = _deviation(x.second, x.last if x.last is not None else x.mean**2)
        if call.node.op == "log_softmax":
            return (grad.times(1 + _weights(deviation, n, False)[0] * n / max(n, 1)),)
        return (Grad(grad.second * _weights(deviation, n, x.masked)[1] / n),)


class Matmul(Propagator):
    """E (Σ_i a_i b_i)² = n E a² E b² + n(n−1) E a_i a_j · E b_i b_j."""

    kinds = ("matmul",)

    def forward(self, call: Call) -> Flow:
        """The kernels along the contracted axis decide whether the terms add up or cancel."""
        if len(call.inputs) < 2:
            return replace(call.inputs[0], exact=False) if call.inputs else Flow(0.0, 0.0, alike(0.0), exact=False)
        a, b = call.inputs[-2], call.inputs[-1]
        n, ka, kb, features = self._contraction(call, a, b)
        rank = len(call.node.shape)

        def product(first: float, second: float, ka: float, kb: float) -> float:
            return n * first * second + n * (n - 1) * ka * kb

        kernel = alike(0.0)
        crossed_b = b.mean**2 if features else float(b.kernel[CROSS])

        def crossed(relation: int) -> float:
            """E a_i a′_j of two rows: a softmax's rows sum to 1, and so do their products."""
            if a.last is not None and abs(a.mean * n - 1) < 1e-9:
                return max(0.0, 1 - n * float(a.kernel[relation])) / max(1, n * (n - 1))
            return a.mean**2 if features else float(a.kernel[relation])

        kernel[FAR] = kernel[NEAR] = product(float(a.kernel[FAR]), b.second, crossed(FAR), kb)
        kernel[CAUSAL] = product(float(a.kernel[CAUSAL]), b.second, crossed(CAUSAL), kb) if a.masked else kernel[FAR]
        for relation in (SAMPLE, CROSS):
            same = float(b.kernel[SAMPLE])
            kernel[relation] = product(float(a.kernel[relation]), same, crossed(relation), crossed_b)
        last = product(a.second, float(b.kernel[FAR]), ka, crossed_b) if features else None
        mean = n * a.mean * b.mean
        return Flow(
            mean, product(a.second, b.second, ka, kb), kernel, unit=rank - 1, last=last, exact=a.exact and b.exact
        )

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """g bᵀ and aᵀ g, each a sum over the other's free axis."""
        if len(call.inputs) < 2:
            return (grad,) * len(call.inputs)
        a, b = call.inputs[-2], call.inputs[-1]
        columns, rows = self._free(call)
        _, _, _, features = self._contraction(call, a, b)
        centred = max(0.0, b.second - float(b.kernel[FAR])) if features else b.second
        to_a = Grad(grad.second * columns * centred)
        to_b = Grad(grad.second * rows * a.second + grad.far * rows * (rows - 1) * float(a.kernel[FAR]))
        padding: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 2)
        return (*padding, to_a, to_b)

    def _contraction(self, call: Call, a: Flow, b: Flow) -> tuple[int, float, float, bool]:
        """(terms, E a_i a_j, E b_i b_j along the contracted axis, whether that axis holds independent units)."""
        shape_a, shape_b = call.shape(len(call.inputs) - 2), call.shape(len(call.inputs) - 1)
        equation = call.attrs.get("equation")
        axis_a, axis_b = len(shape_a) - 1, max(0, len(shape_b) - 2)
        if isinstance(equation, str) and "->" in equation and "." not in equation:
            left, out = equation.replace(" ", "").split("->")
            first, second = left.split(",")[:2]
            summed = [letter for letter in first if letter in second and letter not in out]
            if summed:
                axis_a, axis_b = first.index(summed[0]), second.index(summed[0])
        n = shape_a[axis_a] if shape_a else 1
        unit_a = a.unit % max(1, len(shape_a)) == axis_a
        unit_b = b.unit % max(1, len(shape_b)) == axis_b
        ka = a.last if a.last is not None and axis_a == len(shape_a) - 1 else a.mean**2 if unit_a else a.kernel[FAR]
        kb = b.mean**2 if unit_b else b.kernel[CAUSAL if a.masked else FAR]
        return n, float(ka), float(kb), unit_b and a.last is None

    def _free(self, call: Call) -> tuple[float, float]:
        """How many outputs one entry of a, and one of b, reaches."""
        out = math.prod(call.node.shape)
        n, *_ = self._contraction(call, call.inputs[-2], call.inputs[-1])
        first = math.prod(call.shape(len(call.inputs) - 2))
        second = math.prod(call.shape(len(call.inputs) - 1))
        return out * n / max(1, first), out * n / max(1, second)


class Attention(Propagator):
    """softmax(s q kᵀ) v in one call.

    Logits have variance s² d E q² (E k² − E k k′): what all keys share cancels. The output averages values:
    E y² = Σ p² E v² + (1 − Σ p²) E v v′.

    Source: Vaswani et al., 2017; for the moments, Noci et al., 2022.
    """

    kinds = ("attention",)

    def forward(self, call: Call) -> Flow:
        """Weighted averages of the values."""
        q, k, v = call.inputs[:3]
        square, _, inverse, _ = self._rows(call)
        keys = call.shape(1)[-2]
        causal = self._causal(call)
        overlap = _overlap(keys) if causal else 1 / keys
        inside = _overlap_inside(keys) if causal else overlap

        def mixed(same: float, other: float, share: float) -> float:
            return share * same + (1 - share) * other

        common = float(v.kernel[CAUSAL if causal else FAR])
        sample = mixed(float(v.kernel[SAMPLE]), float(v.kernel[CROSS]), inverse)
        cross = mixed(float(v.kernel[SAMPLE]), float(v.kernel[CROSS]), overlap)
        far = mixed(v.second, float(v.kernel[FAR]), overlap)
        kernel = relations(sample, far, far, cross, mixed(v.second, common, inside))
        second = mixed(v.second, common, square)
        exact = q.exact and k.exact and v.exact
        return Flow(v.mean, second, kernel, unit=len(call.node.shape) - 1, exact=exact)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Values collect p g; logits receive p (g·v − Σ p g·v), which reaches q through k and k through q."""
        q, k, v = call.inputs[:3]
        square, slope, _, length = self._rows(call)
        queries, keys, _width = call.shape(0)[-2], call.shape(1)[-2], call.shape(0)[-1]
        repeats = math.prod(call.shape(0)[:-2]) / max(1, math.prod(call.shape(1)[:-2]))  # grouped queries
        share = queries / keys
        relation = CAUSAL if self._causal(call) else FAR
        centred = call.shape(2)[-1] * max(0.0, v.second - float(v.kernel[relation]))
        logits = grad.second * centred * slope / keys  # mean over the row's entries, masked ones included
        scale = self._scale(call)
        to_q = scale**2 * keys * logits * max(0.0, k.second - float(k.kernel[relation]))
        to_k = scale**2 * queries * logits * q.second * repeats
        together = grad.far * max(0.0, share**2 - share * square)
        to_v = repeats * (grad.second * share * square + together)
        far_v = repeats * (grad.far * share**2 + max(0.0, grad.second - grad.far) * share / max(1.0, length))
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 3)
        return (Grad(to_q), Grad(to_k), Grad(to_v, min(far_v, to_v)), *rest)

    def _scale(self, call: Call) -> float:
        scale = call.attrs.get("scale")
        return float(scale) if isinstance(scale, (int, float)) else call.shape(0)[-1] ** -0.5

    def _causal(self, call: Call) -> bool:
        if call.attrs.get("is_causal"):
            return True
        return len(call.inputs) > 3 and call.shape(0)[-2] == call.shape(1)[-2] and self._masks(call)

    @staticmethod
    def _masks(call: Call) -> bool:
        mask = call.graph.nodes[call.node.inputs[3]]
        square = len(mask.shape) >= 2 and mask.shape[-1] == mask.shape[-2] > 1
        outside = mask.kind == "input" and mask.attrs.get("source") in ("buffer", "constant")
        return square and (outside or call.causal_mask(0))

    def _rows(self, call: Call) -> tuple[float, float, float, float]:
        q, k = call.inputs[:2]
        d = call.shape(0)[-1]
        second = self._scale(call) ** 2 * d * q.second * k.second
        relation = CAUSAL if self._causal(call) else FAR
        common = self._scale(call) ** 2 * d * q.second * float(k.kernel[relation])
        return _weights(_deviation(second, common), call.shape(1)[-2], self._causal(call))
