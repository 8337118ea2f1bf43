"""Two signals into one: sums, products, concatenation. Branches with weights of their own are independent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import Flow, Grad, alike, relations

__all__ = ["Add", "Concat", "Mul"]


class Add(Propagator):
    """E (x + y)² = E x² + E y² + 2 E x E y; a parameter is the same for every sample."""

    kinds = ("add",)

    def forward(self, call: Call) -> Flow:
        """Sum of the inputs, then of the parameters."""
        sign = -1.0 if call.node.op in ("sub", "rsub") else 1.0
        inputs = list(call.inputs)
        if call.attrs.get("masked"):
            kept = _signal(call)
            return replace(inputs[kept], masked=inputs[kept].masked or call.causal_mask(kept))
        if len(inputs) == 2 and call.node.inputs[0] == call.node.inputs[1]:
            return inputs[0].affine(1 + sign)
        flow = inputs[0] if inputs else None
        for other in inputs[1:]:
            flow = _sum(flow, other, sign) if flow is not None else other
        for use in call.node.params:
            mean, second = call.moments(use)
            mean *= sign if inputs else 1.0
            token = Flow(mean, second, _parameter_kernel(call, use.shape, mean, second), unit=len(call.node.shape) - 1)
            if flow is None:
                flow = token
            elif _per_unit(use.shape):
                flow = flow.plus_units(mean, second)
            else:
                flow = _sum(flow, token, 1.0)
        return flow if flow is not None else Flow(0.0, 0.0, alike(0.0), exact=False)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Every operand receives the gradient, summed over what it was broadcast to."""
        if call.attrs.get("masked"):
            kept = _signal(call)
            return tuple(grad if i == kept else None for i in range(len(call.inputs)))
        if len(call.inputs) == 2 and call.node.inputs[0] == call.node.inputs[1]:
            return (grad.times(2.0), grad.times(2.0))
        return tuple(_collected(grad, call.ratio(i)) for i in range(len(call.inputs)))


class Mul(Propagator):
    """E (x y)² = E x² E y² for independent factors; a gain is the same for every sample and position."""

    kinds = ("mul",)

    def forward(self, call: Call) -> Flow:
        """Product of the inputs, then of the parameters."""
        inputs = [_inverse(x) if i and call.node.op == "div" else x for i, x in enumerate(call.inputs)]
        if len(inputs) == 2 and call.node.inputs[0] == call.node.inputs[1]:
            form = inputs[0].gaussian()
            from fanin.theory.propagation._flow import gaussian_image

            inner = form.value
            square = gaussian_image(lambda u: inner(u) ** 2, form.mean, form.variance, form.correlation)
            return replace(square, unit=inputs[0].unit)
        flow: Flow | None = inputs[0] if inputs else None
        for i, other in enumerate(inputs[1:], start=1):
            flow = _product(flow, other, call, i) if flow is not None else other
        for use in call.node.params:
            mean, second = call.moments(use)
            if flow is None:
                flow = Flow(mean, second, alike(second), unit=len(call.node.shape) - 1)
            elif math.prod(use.shape) == 1 and flow.form is not None and abs(second - mean**2) < 1e-12:
                flow = flow.affine(mean)
            else:
                flow = flow.times_units(mean, second)
        return flow if flow is not None else Flow(0.0, 0.0, alike(0.0), exact=False)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Each factor's gradient is multiplied by the other."""
        gains = math.prod(call.moments(use)[1] for use in call.node.params)
        if len(call.inputs) < 2:
            return tuple(_collected(grad.times(gains), call.ratio(i)) for i in range(len(call.inputs)))
        others = [_inverse(x) if i and call.node.op == "div" else x for i, x in enumerate(call.inputs)]
        result = []
        for i in range(len(call.inputs)):
            second = math.prod(other.second for j, other in enumerate(others) if j != i)
            far = math.prod(float(other.kernel[2]) for j, other in enumerate(others) if j != i)
            result.append(_collected(grad.times(gains * second, gains * far), call.ratio(i)))
        return tuple(result)


class Concat(Propagator):
    """Moments of a union are averages weighted by size."""

    kinds = ("concat",)

    def forward(self, call: Call) -> Flow:
        """Weighted averages; parameters count as inputs (a class token)."""
        rank = len(call.node.shape)
        parts = [(x, math.prod(call.shape(i))) for i, x in enumerate(call.inputs)]
        for use in call.node.params:
            mean, second = call.moments(use)
            size = math.prod(use.shape) * (call.graph.batch_size or 1 if use.shape and use.shape[0] == 1 else 1)
            parts.append((Flow(mean, second, relations(second, mean**2, mean**2, mean**2)), size))
        total = sum(size for _, size in parts)
        unit = call.inputs[0].unit if call.inputs else -1
        if total == 0:
            return Flow(0.0, 0.0, alike(0.0), exact=False)
        share = [(x, size / total) for x, size in parts]
        if call.node.op == "stack" and unit >= 0:
            dim = int(call.attrs.get("dim", 0)) % max(1, rank)
            unit += dim <= unit
        return Flow(
            sum(x.mean * part for x, part in share),
            sum(x.second * part for x, part in share),
            np.asarray(sum(x.kernel * part for x, part in share)),
            unit=unit,
            exact=all(x.exact for x in call.inputs),
        )

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """Every part receives its part."""
        return (grad,) * len(call.inputs)


def _signal(call: Call) -> int:
    """Index of the operand that is no mask: the larger one, which a weight has touched."""
    sizes = [math.prod(call.shape(i)) for i in range(len(call.inputs))]
    outside = [call.graph.nodes[i].kind == "input" for i in call.node.inputs]
    return min(range(len(sizes)), key=lambda i: (outside[i], -sizes[i]))


def _sum(x: Flow, y: Flow, sign: float) -> Flow:
    cross = 2 * sign * x.mean * y.mean
    unit = x.unit
    return Flow(
        x.mean + sign * y.mean,
        x.second + y.second + cross,
        x.kernel + y.kernel + cross,
        unit=unit,
        last=None if x.last is None and y.last is None else (x.last or x.mean**2) + (y.last or y.mean**2) + cross,
        masked=x.masked or y.masked,
        exact=x.exact and y.exact,
    )


def _product(x: Flow, y: Flow, call: Call, position: int) -> Flow:
    kernel = y.kernel
    if math.prod(call.shape(position)) < math.prod(call.node.shape):
        kernel = relations(kernel[0], y.second, y.second, kernel[0])  # broadcast over positions
    return Flow(x.mean * y.mean, x.second * y.second, x.kernel * kernel, unit=x.unit, exact=x.exact and y.exact)


def _inverse(x: Flow) -> Flow:
    """1/y for a y that stays away from 0: to second order in its relative variance."""
    spread = x.variance / x.second if x.second else 0.0
    second = (1 + 3 * spread) / x.second if x.second else 0.0
    mean = math.copysign(math.sqrt(second / (1 + spread)), x.mean or 1.0)
    kernel = np.where(x.kernel != 0, second, 0.0)
    return Flow(mean, second, kernel, unit=x.unit, exact=False)


def _per_unit(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape) <= 1


def _parameter_kernel(call: Call, shape: tuple[int, ...], mean: float, second: float) -> np.ndarray:
    """A parameter with positions (learned positions): shared by samples, independent between positions."""
    positions = second if _per_unit(shape) else mean**2
    return relations(second, positions, positions, positions)


def _collected(grad: Grad, copies: float) -> Grad:
    """Gradient of a tensor that was broadcast ``copies`` times: the copies' gradients are summed."""
    if copies <= 1:
        return grad
    return Grad(copies * grad.second + copies * (copies - 1) * grad.far, grad.far * copies**2)
