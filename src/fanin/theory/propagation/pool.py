"""Pooling windows and reductions: averages by their correlations, maxima by drawing the window alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fanin.theory.propagation._base import Call, Propagator, two_blocks
from fanin.theory.propagation._flow import CROSS, FAR, NEAR, SAMPLE, Array, Flow, Grad, alike, relations

__all__ = ["Pool", "Reduce"]

DRAWS = 8192
"""Windows drawn for a maximum: its second moment to about 1 %."""


def _average(x: Flow, n: float, within: int) -> Flow:
    """Mean of n values of one unit whose pairs have the kernel ``within``."""
    share = 1 / n
    second = share * x.second + (1 - share) * float(x.kernel[within])
    sample = share * float(x.kernel[SAMPLE]) + (1 - share) * float(x.kernel[CROSS])
    apart = float(x.kernel[FAR])
    near = share * float(x.kernel[NEAR]) + (1 - share) * apart
    return Flow(x.mean, second, relations(sample, near, apart, float(x.kernel[CROSS])), unit=x.unit, exact=x.exact)


def _maximum(call: Call, x: Flow, n: int, sign: float = 1.0) -> Flow:
    """Maximum (or minimum) of n values, by Monte Carlo over the op alone."""
    n = max(1, min(n, 256))
    c = x.gaussian().correlation
    random = call.random()
    rows = max(256, DRAWS * 4 // max(4, n))

    def top(same: float, other: float) -> Array:
        return np.asarray(sign * (sign * two_blocks(x, random, rows, n, same, other)).max(-1))

    samples, apart = top(float(c[SAMPLE]), float(c[CROSS])), top(float(c[FAR]), float(c[FAR]))
    every = np.concatenate([samples, apart])
    sample = float((samples[:, 0] * samples[:, 1]).mean())
    far = float((apart[:, 0] * apart[:, 1]).mean())
    mean, second = float(every.mean()), float((every**2).mean())
    cross = mean**2 if c[CROSS] <= 0 else min(sample, far)
    return Flow(mean, second, relations(sample, far, far, cross), unit=x.unit, exact=x.exact)


def _tilt(call: Call, x: Flow, n: int) -> float:
    """E f′(u)² where x = f(u) is the largest of its window, over E f′(u)² everywhere."""
    if x.form is None or n < 2:
        return 1.0
    form, c = x.form, float(x.form.correlation[NEAR])
    plain = replace(x, form=replace(form, value=lambda u: u))
    u = two_blocks(plain, call.random(), DRAWS, min(n, 64), c, c)[:, 0]
    step = 1e-5 * math.sqrt(form.variance) + 1e-12
    slope = np.square((form.value(u + step) - form.value(u - step)) / (2 * step))
    chosen = np.take_along_axis(slope, form.value(u).argmax(-1)[:, None], -1)
    everywhere = float(slope.mean())
    return float(chosen.mean()) / everywhere if everywhere > 0 else 1.0


class Pool(Propagator):
    """Windows of neighbouring positions, and interpolation between them."""

    kinds = ("pool",)

    def forward(self, call: Call) -> Flow:
        """Average, maximum or interpolation."""
        x, op = call.inputs[0], call.node.op
        if op == "interpolate":
            return self._interpolated(call, x)
        n = self._window(call)
        if "avg_pool" in op:
            wide = "adaptive" in op and math.prod(call.node.shape[2:]) == 1
            return _average(x, n, FAR if wide else NEAR)
        if "max_pool" in op:
            return _maximum(call, x, round(n))
        return replace(x, form=None, exact=False)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """An average sends g/n to each of its n entries, a maximum g to one."""
        ratio, op = call.ratio(), call.node.op
        if "avg_pool" in op:
            n = self._window(call)
            hits = ratio * n
            second = (hits * grad.second + max(0.0, hits * (hits - 1)) * grad.far) / n**2
            far = (
                second
                if n > 1 and ratio * n <= 1.5 and math.prod(call.node.shape[2:]) == 1
                else grad.far * hits**2 / n**2
            )
            return (Grad(second, min(far, second)),)
        if op == "interpolate":
            return (Grad(ratio * grad.second + max(0.0, ratio * (ratio - 1)) * grad.far, ratio**2 * grad.far),)
        return (Grad(ratio * grad.second, ratio**2 * grad.far, _tilt(call, call.inputs[0], round(self._window(call)))),)

    def _window(self, call: Call) -> float:
        space = len(call.node.shape) - 2
        if "adaptive" in call.node.op:
            return max(1.0, math.prod(call.shape()[2:]) / max(1, math.prod(call.node.shape[2:])))
        size = call.attrs.get("kernel_size", 2)
        if isinstance(size, (list, tuple)):
            return float(math.prod(int(k) for k in size)) if len(size) == space else float(int(size[0]) ** space)
        return float(int(size) ** space)

    def _interpolated(self, call: Call, x: Flow) -> Flow:
        mode = str(call.attrs.get("mode", "nearest"))
        near = (x.second + float(x.kernel[NEAR])) / 2
        kernel = relations(x.kernel[SAMPLE], near, x.kernel[FAR], x.kernel[CROSS])
        if mode.startswith("nearest"):
            return replace(x, kernel=kernel, form=None)
        # Linear interpolation at offsets ¼, ¾ (twofold; other factors are close): Σ w² = 0.625 per axis.
        share = 0.625 ** (len(call.node.shape) - 2)
        second = share * x.second + (1 - share) * float(x.kernel[NEAR])
        return replace(x, second=second, kernel=np.minimum(kernel, second), form=None)


class Reduce(Propagator):
    """mean, sum, max … over axes of positions, units or samples."""

    kinds = ("reduce",)

    def forward(self, call: Call) -> Flow:
        """Averages by kernels; the rest by Monte Carlo or, for spreads, by their expectation."""
        x, op = call.inputs[0], call.node.op
        n = 1 / call.ratio()
        unit = min(x.unit, len(call.node.shape) - 1)
        if n <= 1:
            return x
        over_units = self._over_units(call, x)
        if op in ("mean", "nanmean", "sum", "nansum"):
            flow = self._mean(x, n, over_units)
            flow = flow.affine(n) if "sum" in op else flow
        elif op in ("amax", "max", "amin", "min"):
            independent = replace(x, kernel=alike(x.mean**2), form=x.form) if over_units else x
            flow = _maximum(call, independent, round(n), -1.0 if "min" in op else 1.0)
        elif op in ("var", "std"):
            v = max(0.0, x.second - (x.mean**2 if over_units else float(x.kernel[FAR])))
            value = v if op == "var" else math.sqrt(v)
            flow = Flow(value, value**2, alike(value**2), exact=False)
        elif op in ("norm", "logsumexp"):
            value = math.sqrt(n * x.second) if op == "norm" else math.log(n) + x.variance / 2 + x.mean
            flow = Flow(value, value**2, alike(value**2), exact=False)
        else:
            flow = replace(x, form=None, exact=False)
        return replace(flow, unit=max(unit, 0), last=None)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """A mean sends g/n to every entry, the same one; a maximum g to one."""
        n = max(1.0, 1 / call.ratio())
        if call.node.op in ("mean", "nanmean"):
            return (Grad(grad.second / n**2, grad.second / n**2),)
        if call.node.op in ("sum", "nansum"):
            return (Grad(grad.second, grad.second),)
        return (Grad(grad.second / n),)

    @staticmethod
    def _mean(x: Flow, n: float, over_units: bool) -> Flow:
        if not over_units:
            return _average(x, n, FAR)
        share = 1 / n
        kernel = share * x.kernel + (1 - share) * x.mean**2
        return Flow(x.mean, share * x.second + (1 - share) * x.mean**2, kernel, unit=x.unit, exact=x.exact)

    @staticmethod
    def _over_units(call: Call, x: Flow) -> bool:
        shape = call.shape()
        dims = call.attrs.get("dim")
        if dims is None:
            return False
        listed = dims if isinstance(dims, (list, tuple)) else [dims]
        return (x.unit % len(shape)) in [int(d) % len(shape) for d in listed if isinstance(d, int)]
