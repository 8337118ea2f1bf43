"""Normalization layers: what they make of second moment, mean and correlations."""

from __future__ import annotations

import numpy as np

from fanin.theory.propagation._base import Call, Propagator
from fanin.theory.propagation._flow import CROSS, FAR, SAMPLE, Array, Flow, Grad, alike, relations

__all__ = ["Norm"]

_UNCENTRED = ("rms_norm", "normalize")


class Norm(Propagator):
    """x̂ = (x − μ)/σ over the normalized axes, times gain, plus shift.

    E μ² is the mean of E x x′ over all pairs inside a group: other units contribute (E x)², other positions and samples
    the flow's kernel. Batch norm so removes what is common to all samples, layer norm only the common mean.

    Source: Ioffe & Szegedy, 2015; Ba, Kiros & Hinton, 2016; Wu & He, 2018.
    """

    kinds = ("norm",)

    def forward(self, call: Call) -> Flow:
        """Centred and scaled kernels, then gain and shift."""
        x, op = call.inputs[0], call.node.op
        eps = _eps(call)
        if op == "batch_norm" and call.attrs.get("training") is False:
            flow = Flow(x.mean, x.second, x.kernel, unit=x.unit, exact=False)  # running statistics start at 0 and 1
        else:
            together, pairs = (0.0, alike(0.0)) if op in _UNCENTRED else self._group_means(call, x)
            second = x.second - together
            scale = 1 / max(second + eps, 1e-300)
            kernel = x.kernel - pairs
            mean = x.mean * scale**0.5 if op in _UNCENTRED else 0.0
            flow = Flow(mean, second * scale, kernel * scale, unit=x.unit, exact=x.exact)
        if op == "normalize":
            width = call.shape()[int(call.attrs.get("dim", -1))]
            flow = flow.affine(width**-0.5)
        gain, shift = call.node.param("weight"), call.node.param("bias")
        if gain is not None:
            flow = flow.times_units(*call.moments(gain))
        return flow.plus_units(*call.moments(shift))

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """g γ/σ less its mean over the group and its part along x̂."""
        x, op = call.inputs[0], call.node.op
        gain = call.node.param("weight")
        factor = call.moments(gain)[1] if gain is not None else 1.0
        if not (op == "batch_norm" and call.attrs.get("training") is False):
            together = 0.0 if op in _UNCENTRED else self._group_means(call, x)[0]
            factor /= max(x.second - together + _eps(call), 1e-300)
            samples, units, positions = self._group(call, x)
            members = max(1, samples * units * positions)
            if members > 3:  # E 1/s² of n Gaussians: small variances weigh more (inverse χ² of n − 1 degrees)
                factor *= (members - 1) / (members - 3)
            along = grad.second / members  # the part along x̂: one direction of the group
            shared = (grad.second + (positions - 1) * grad.far) / positions / (samples * units)
            mean = 0.0 if op in _UNCENTRED else shared
            far = grad.far - mean if positions > 1 else grad.far
            grad = Grad(max(0.0, grad.second - mean - along), min(max(0.0, far), grad.second), grad.tilt)
            if op == "normalize":
                factor /= call.shape()[int(call.attrs.get("dim", -1))]
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 1)
        return (grad.times(factor), *rest)

    def _group(self, call: Call, x: Flow) -> tuple[int, int, int]:
        """(samples, units, positions) that share one mean."""
        shape = call.shape()
        rank = len(shape)
        axes = [int(a) % rank for a in call.attrs.get("normalized_axes", [rank - 1])]
        batch = call.graph.nodes[call.node.inputs[0]].batch_axis
        unit = x.unit % rank if rank else 0
        if call.node.op in ("layer_norm", "rms_norm", "normalize") and len(axes) == 1:
            unit = axes[0]
        samples = shape[batch] if batch is not None and batch in axes else 1
        units = shape[unit] if unit in axes else 1
        if call.node.op == "group_norm":
            units = max(1, shape[1] // int(call.attrs.get("num_groups", 1) or 1))
            unit = 1
        positions = int(np.prod([shape[a] for a in axes if a not in (batch, unit)], dtype=np.int64))
        return samples, units, max(1, positions)

    def _group_means(self, call: Call, x: Flow) -> tuple[float, Array]:
        """E μ², and E μ μ′ of the groups of two values for each relation between them."""
        samples, units, positions = self._group(call, x)
        own, pairs = x.second, x.kernel
        if positions > 1:  # both values of a sample lie in one group
            own = (x.second + (positions - 1) * float(x.kernel[FAR])) / positions
            other = (float(x.kernel[SAMPLE]) + (positions - 1) * float(x.kernel[CROSS])) / positions
            pairs = relations(other, own, own, other)
        if samples > 1:
            own = (own + (samples - 1) * float(pairs[SAMPLE])) / samples
            pairs = alike(own)
        rest = (1 - 1 / units) * x.mean**2
        return own / units + rest, pairs / units + rest


def _eps(call: Call) -> float:
    """The constant added to the variance; of a formula written out, the one that was added before the root."""
    eps = call.attrs.get("eps")
    if eps is None:
        parts = (
            n for n in call.graph.nodes[call.node.inputs[0] : call.node.id] if n.attrs.get("part_of") == call.node.id
        )
        eps = next((n.attrs["addend"] for n in parts if n.kind == "scale" and n.attrs.get("addend")), 0.0)
    return float(eps) if isinstance(eps, (int, float)) else 0.0
