"""Linear maps by a parameter: y_j = Σ_i W_ji x_i + b_j, in any layout: linear, convolution, matmul, einsum."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from fanin.graph import ParamUse
from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import Array, Flow, Grad, alike, relations

__all__ = ["Linear", "without_addend"]


class Linear(Propagator):
    """E y² = n Var W · E x² + (E W)² E (Σ x)² + E b²; correlations between samples and positions pass unchanged.

    Source: He et al., 2015, equations 6–7, with the input's second moment in place of its variance.
    """

    kinds = ("linear",)

    def forward(self, call: Call) -> Flow:
        """Sum of n independent products, plus the bias of each unit."""
        if not call.inputs:
            return _parameters_alone(call)
        alpha, beta = _factors(call)
        product = without_addend(call)
        flow = self._multiplied(product).affine(alpha)
        if product is not call:
            flow = _sum(flow, call.inputs[0].affine(beta))
        mean, second = call.moments(_bias_use(call))
        return flow.plus_units(beta * mean, beta**2 * second)

    def _multiplied(self, call: Call) -> Flow:
        x = _together(call)
        mean_w, second_w = self._weight(call)
        n, m = self.terms(call), x.mean
        variance_w = max(0.0, second_w - mean_w**2)

        def passed(k: float) -> float:
            return n * variance_w * k + mean_w**2 * (n * (k - m**2) + (n * m) ** 2)

        kernel = n * variance_w * x.kernel + mean_w**2 * (n * (x.kernel - m**2) + (n * m) ** 2)
        kernel = kernel * self._shared(call)
        flow = Flow(n * mean_w * m, passed(x.second), kernel, unit=self._unit(call), exact=x.exact)
        if x.last is not None and flow.unit != len(call.node.shape) - 1:
            flow = replace(flow, last=passed(x.last))
        return flow

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """E (Σ_j W_ji g_j)² over the outputs that an input feeds: as many connections back as there were forth."""
        if not call.inputs:
            return ()
        alpha, beta = _factors(call)
        product = without_addend(call)
        passed = self._back(product, grad.times(alpha**2))
        return passed if product is call else (grad.times(beta**2 * call.ratio()), *passed)

    def _back(self, call: Call, grad: Grad) -> tuple[Grad | None, ...]:
        _, second_w = self._weight(call)
        weight_is_input = _weight_use(call) is None
        result: list[Grad | None] = []
        for i in range(len(call.inputs)):
            others = math.prod(x.second for j, x in enumerate(call.inputs) if j != i and not weight_is_input)
            data = i == 0 or not weight_is_input
            result.append(grad.times(self.terms(call) * call.ratio(i) * second_w * others) if data else None)
        return tuple(result)

    def _weight(self, call: Call) -> tuple[float, float]:
        use = _weight_use(call)
        if use is not None:
            return call.computed_moments(use)
        if len(call.inputs) > 1:  # a weight that the model computes, such as weight norm's
            return call.inputs[1].mean, call.inputs[1].second
        return 0.0, 0.0

    def _unit(self, call: Call) -> int:
        rank = len(call.node.shape)
        return 1 if call.node.op.startswith("conv") and rank > 1 else rank - 1

    def terms(self, call: Call) -> float:
        """Products summed in one output, on average: windows that reach into zero padding count in part."""
        use, node = _weight_use(call), call.node
        shape = use.shape if use is not None else call.shape(1) if len(call.inputs) > 1 else ()
        if node.op == "linear":
            return float(shape[-1])
        if node.op.startswith("conv_transpose"):
            return self._fans(call, use) or shape[0] * math.prod(shape[2:]) / _groups(call)
        if node.op.startswith("conv") and len(shape) > 2:
            return shape[1] * math.prod(shape[2:]) * math.prod(float(v.mean()) for v in _valid(call, shape[2:]))
        fan_in = self._fans(call, use)
        if fan_in:
            return fan_in
        other = use is not None and use.argument in ("other", "mat2", "batch2") and len(shape) > 1
        return float(shape[-2] if other else shape[-1]) if shape else 1.0

    def _shared(self, call: Call) -> Array:
        """Share of the terms of one output that two outputs have in common, by relation: padding thins them out."""
        use = _weight_use(call)
        shape = use.shape if use is not None else call.shape(1) if len(call.inputs) > 1 else ()
        transposed = call.node.op.startswith("conv_transpose")
        if transposed or not call.node.op.startswith("conv") or len(shape) < 3:
            return alike(1.0)
        far = near = 1.0
        for valid in _valid(call, shape[2:]):
            often = valid.mean(0)  # per tap, over output positions
            far *= float(np.square(often).sum() / max(often.sum(), 1e-300))
            if len(valid) > 1:
                near *= float((valid[1:] * valid[:-1]).mean(0).sum() / max(often.sum(), 1e-300))
        return relations(1.0, near, far, far)

    @staticmethod
    def _fans(call: Call, use: ParamUse | None) -> float | None:
        if use is None or use.name not in call.slots:
            return None
        fans = call.slots[use.name].fans
        return None if fans is None else fans.fan_in


def _together(call: Call) -> Flow:
    """The input; of several that one contraction multiplies with the weight (gated experts), their product."""
    flow = call.inputs[0]
    if _weight_use(call) is None:
        return flow
    for other in call.inputs[1:]:
        kernel = flow.kernel * other.kernel
        exact = flow.exact and other.exact
        flow = Flow(flow.mean * other.mean, flow.second * other.second, kernel, unit=flow.unit, exact=exact)
    return flow


_ADDING = ("addmm", "baddbmm", "addbmm", "addmv")
"""y = β b + α x W, with b as the argument "input"."""


def _factors(call: Call) -> tuple[float, float]:
    """(α, β): what the product and what is added to it are multiplied by."""
    if call.node.op not in _ADDING:
        return 1.0, 1.0
    return float(call.attrs.get("alpha", 1.0)), float(call.attrs.get("beta", 1.0))


def without_addend(call: Call) -> Call:
    """The call without a signal that it adds to its product; the call itself where it adds a parameter or nothing."""
    places = {use.position for use in call.node.params}
    if call.node.op not in _ADDING or 0 in places or len(places) + len(call.inputs) < 3:
        return call
    return replace(call, node=replace(call.node, inputs=call.node.inputs[1:]), inputs=call.inputs[1:])


def _sum(x: Flow, y: Flow) -> Flow:
    """Sum of a product and what it does not depend on."""
    cross, exact = 2 * x.mean * y.mean, x.exact and y.exact
    return Flow(x.mean + y.mean, x.second + y.second + cross, x.kernel + y.kernel + cross, unit=x.unit, exact=exact)


def _is_added(call: Call, use: ParamUse) -> bool:
    return use.argument == "bias" or (use.argument == "input" and call.node.op in _ADDING)


def _bias_use(call: Call) -> ParamUse | None:
    return next((use for use in call.node.params if _is_added(call, use)), None)


def _weight_use(call: Call) -> ParamUse | None:
    uses = [use for use in call.node.params if not _is_added(call, use)]
    named = [use for use in uses if use.argument == "weight"]
    candidates = named or uses
    return candidates[0] if candidates else None


def _groups(call: Call) -> int:
    return int(call.attrs.get("groups", 1) or 1)


def _valid(call: Call, window: tuple[int, ...]) -> list[Array]:
    """For each axis (outputs, taps): 1 where a tap lies inside the input."""
    sizes, outputs = call.shape()[-len(window) :], call.node.shape[-len(window) :]
    result = []
    for axis, (k, size, out) in enumerate(zip(window, sizes, outputs)):
        stride, dilation = (_at(call.attrs.get(name, 1), axis) for name in ("stride", "dilation"))
        padding = call.attrs.get("padding", 0)
        left = dilation * (k - 1) // 2 if padding == "same" else 0 if padding == "valid" else _at(padding, axis)
        result.append(_inside(out, k, size, stride, dilation, left))
    return result


@lru_cache(maxsize=256)
def _inside(outputs: int, taps: int, size: int, stride: int, dilation: int, left: int) -> Array:
    at = np.arange(outputs)[:, None] * stride - left + np.arange(taps)[None, :] * dilation
    return ((at >= 0) & (at < size)).astype(np.float64)


def _at(value: object, axis: int) -> int:
    if isinstance(value, (list, tuple)):
        return int(value[axis] if axis < len(value) else value[-1])
    return int(value)  # type: ignore[call-overload,no-any-return]


def _parameters_alone(call: Call) -> Flow:
    """A product of parameters, made before any input is seen."""
    uses = call.node.params
    second, mean = 1.0, 0.0
    for use in uses:
        second *= call.moments(use)[1]
    n = uses[0].shape[-1] if uses and uses[0].shape else 1
    return Flow(mean, n * second, alike(n * second), exact=False)
