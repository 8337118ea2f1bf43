"""Ops without a rule of their own: drawn inputs are sent through the op alone, or pass as they are; never exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fanin.theory.propagation._base import Call, Propagator, two_blocks
from fanin.theory.propagation._flow import FAR, Flow, Grad, alike

__all__ = ["Unknown"]


class Unknown(Propagator):
    """Monte Carlo over the op alone, by its name in torch; the result is marked ``exact=False``."""

    kinds = ("other", "loss")

    def forward(self, call: Call) -> Flow:
        """Moments of the op on Gaussian tensors of the recorded shapes; else the first input's."""
        if call.node.op == "_weight_norm" and len(call.node.params) == 2:
            return self._weight_norm(call)
        drawn = self._drawn(call)
        base = call.inputs[0] if call.inputs else Flow(0.0, 0.0, alike(0.0), exact=False)
        if drawn is None:
            return replace(base, form=None, exact=False)
        mean, second = float(drawn.mean()), float(np.square(drawn).mean())
        ratio = (base.kernel - base.mean**2) / base.variance if base.variance > 0 else alike(0.0)
        kernel = mean**2 + np.clip(ratio, 0, 1) * (second - mean**2)
        return Flow(mean, second, kernel, unit=min(base.unit, len(call.node.shape) - 1), exact=False)

    def backward(self, call: Call, output: Flow, grad: Grad) -> tuple[Grad | None, ...]:
        """As if the op were a scaling by the ratio of the root second moments."""
        if not call.inputs:
            return ()
        x = call.inputs[0]
        factor = output.second / x.second if x.second > 0 else 1.0
        rest: tuple[Grad | None, ...] = (None,) * (len(call.inputs) - 1)
        return (grad.times(factor * call.ratio()), *rest)

    @staticmethod
    def _weight_norm(call: Call) -> Flow:
        """w = g v/‖v‖: every row of n entries has the square norm g² (Salimans & Kingma, 2016)."""
        v, g = sorted(call.node.params, key=lambda use: -int(np.prod(use.shape)))
        n = np.prod(v.shape) / max(1.0, float(np.prod(g.shape)))
        second = call.moments(g)[1] / float(n)
        return Flow(0.0, second, alike(second))

    @staticmethod
    def _drawn(call: Call) -> np.ndarray | None:
        if (
            not call.inputs
            or call.node.params
            or any(int(np.prod(call.shape(i))) > 2**20 for i in range(len(call.inputs)))
        ):
            return None
        import torch

        function: Any = getattr(torch, call.node.op, None) or getattr(torch.nn.functional, call.node.op, None)
        if function is None:
            return None
        random = call.random()
        tensors = []
        for i, flow in enumerate(call.inputs):
            n = int(np.prod(call.shape(i)))
            c = float(flow.gaussian().correlation[FAR])
            values = two_blocks(flow, random, 1 + n // 2, 1, c, c).reshape(-1)[:n]
            tensors.append(torch.from_numpy(values.reshape(call.shape(i))))
        options = {k: v for k, v in call.attrs.items() if isinstance(v, (int, float, bool)) and k not in ("masked",)}
        try:
            with torch.no_grad():
                result = function(*tensors, **options)
        except Exception:  # an op that cannot be called like this has no prediction of its own
            return None
        if not isinstance(result, torch.Tensor) or tuple(result.shape) != call.node.shape:
            return None
        values = result.double().numpy()
        return values if np.isfinite(values).all() else None
