"""Elementwise nonlinearities of a Gaussian, or of what a Gaussian became by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fanin.theory.activations import Activation, of_op
from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import FAR, Array, Flow, Form, Grad, gaussian_image, gaussian_nodes

__all__ = ["Elementwise", "function_of"]

_PLAIN: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": lambda x: np.log(np.maximum(x, 1e-12)),
    "log1p": lambda x: np.log1p(np.maximum(x, -1 + 1e-12)),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "rsqrt": lambda x: 1 / np.sqrt(np.maximum(x, 1e-12)),
    "square": np.square,
    "abs": np.abs,
    "sign": np.sign,
    "cos": np.cos,
    "tan": np.tan,
    "asin": lambda x: np.arcsin(np.clip(x, -1, 1)),
    "acos": lambda x: np.arccos(np.clip(x, -1, 1)),
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "sinc": np.sinc,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
}
"""Ops of torch that are elementwise but no activations; clipped to where they are defined."""


def function_of(call: Call) -> Callable[[Array], Array] | None:
    """f of an elementwise op, or None where its name is not known."""
    op, attrs = call.node.op, call.attrs
    if op == "pow" and isinstance(attrs.get("exponent"), (int, float)):
        exponent = float(attrs["exponent"])
        return (lambda x: x**exponent) if exponent.is_integer() and exponent >= 0 else _positive_power(exponent)
    if op == "clamp":
        low, high = (attrs.get(key) for key in ("min", "max"))
        return lambda x: np.clip(
            x,
            low if isinstance(low, (int, float)) else -math.inf,
            high if isinstance(high, (int, float)) else math.inf,
        )
    if op in ("rdiv", "reciprocal"):
        numerator = float(attrs.get("numerator", 1.0))
        return lambda x: numerator / np.where(np.abs(x) < 1e-6, 1e-6, x)
    if op in _PLAIN:
        return _PLAIN[op]
    options = dict(attrs)
    if op == "prelu" and call.node.params:
        options["weight"] = call.moments(call.node.params[0])[0]
    found = of_op(op, {key: value for key, value in options.items() if isinstance(value, (int, float, str))})
    return found.function if isinstance(found, Activation) else None


def _positive_power(exponent: float) -> Callable[[Array], Array]:
    return lambda x: np.maximum(x, 1e-12) ** exponent


class Elementwise(Propagator):
    """E f(u)² by quadrature, kernels by E f(u) f(u′); the gradient by E f′(u)².

    Source: Poole et al., 2016 (correlation map); Schoenholz et al., 2017 (gradient).
    """

    kinds = ("activation",)

    def forward(self, call: Call) -> Flow:
        """The image of the Gaussian that feeds it."""
        if call.node.op == "glu":
            return self._glu(call)
        x = call.inputs[0]
        f = function_of(call)
        if f is None:
            return replace(x, exact=False)
        form = _lognormal(x) if _needs_positive(call) and 2 * x.mean > math.sqrt(x.variance) else x.gaussian()
        inner = form.value

        def composed(u: Array) -> Array:
            return np.asarray(f(inner(u)))

        flow = gaussian_image(composed, form.mean, form.variance, form.correlation)
        made = Form(composed, form.mean, form.variance, form.correlation)
        return replace(flow, unit=x.unit, form=made, exact=x.exact)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """E f′², and E f′ f′ at two positions for what is common to them."""
        x = call.inputs[0]
        if call.node.op == "glu":
            return (self._glu_gradient(x, grad),)
        f = function_of(call)
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 1)
        if f is None:
            return (grad, *rest)
        return (_through(x, f, grad), *rest)

    def _glu(self, call: Call) -> Flow:
        gate = gaussian_image(_logistic, *_normal(call.inputs[0]))
        x = call.inputs[0]
        return Flow(x.mean * gate.mean, x.second * gate.second, x.kernel * gate.kernel, unit=x.unit, exact=x.exact)

    def _glu_gradient(self, x: Flow, grad: Grad) -> Grad:
        gate = gaussian_image(_logistic, *_normal(x))
        slope = gaussian_image(lambda u: _logistic(u) * (1 - _logistic(u)), *_normal(x))
        return grad.times((gate.second + slope.second * x.second) / 2)


def _needs_positive(call: Call) -> bool:
    exponent = call.attrs.get("exponent")
    power = isinstance(exponent, float) and (exponent < 0 or not exponent.is_integer())
    return call.inputs[0].form is None and (call.node.op in _ROOTS or (call.node.op == "pow" and power))


_ROOTS = frozenset({"sqrt", "rsqrt", "log", "log2", "log10", "reciprocal", "rdiv"})


def _lognormal(x: Flow) -> Form:
    """A positive law with these moments: means of squares are never 0, where a root's reciprocal would be infinite."""
    square = x.mean**2
    spread = math.log1p(x.variance / square)
    if spread < 1e-12:
        return x.gaussian()
    correlation = np.log1p(np.maximum(x.kernel - square, -0.9 * square) / square) / spread
    return Form(np.exp, math.log(x.mean) - spread / 2, spread, np.clip(correlation, -1.0, 1.0))


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _normal(x: Flow) -> tuple[float, float, Array]:
    form = x.gaussian()
    return x.mean, x.variance, form.correlation


def _through(x: Flow, f: Callable[[Array], Array], grad: Grad) -> Grad:
    """f′ is taken with respect to x = f₀(u), at the Gaussian nodes of u."""
    form = x.gaussian()
    z, w, hermite = gaussian_nodes()
    with np.errstate(all="ignore"):
        at = np.asarray(form.value(form.mean + math.sqrt(form.variance) * z), dtype=np.float64)
        step = 1e-5 * np.maximum(1e-3 * math.sqrt(x.second) + 1e-12, np.abs(at))
        slope = np.nan_to_num((f(at + step) - f(at - step)) / (2 * step))
    square = float(w @ slope**2)
    coefficients = np.square(hermite @ (w * slope))
    c = float(form.correlation[FAR])
    common = float(coefficients @ np.power(c, np.arange(len(coefficients))))
    common += max(0.0, square - float(coefficients.sum())) * c ** len(coefficients)
    return grad.times(square * grad.tilt, common)
