"""Flows set to what was measured, so that the next op is predicted from the inputs that it really had."""

from __future__ import annotations

import math
from dataclasses import replace

from fanin.signals import Signal
from fanin.theory.propagation import Flow
from fanin.theory.propagation._flow import SAMPLE, alike

__all__ = ["anchored"]


def anchored(flow: Flow, signal: Signal | None) -> Flow:
    """The flow with the mean, second moment and sample correlation of a measured signal.

    What was not measured (how positions correlate, which function of a Gaussian the values are) is kept as predicted.
    Without a measurement the flow comes back as it was.

    Args:
        flow: as predicted.
        signal: as measured at the same place, or None.
    """
    if signal is None or signal.count == 0 or signal.nonfinite_fraction > 0:
        return flow
    mean, second = signal.mean, signal.second_moment
    if not (math.isfinite(second) and math.isfinite(flow.second) and second < _LARGEST):
        return flow
    variance = max(0.0, second - mean**2)
    if flow.variance <= 1e-12 * flow.second or variance <= 1e-12 * second:
        moved = Flow(mean, second, alike(mean**2), unit=flow.unit, masked=flow.masked)
    else:
        factor = math.sqrt(variance / flow.variance)
        moved = flow.affine(factor, mean - factor * flow.mean)
    kernel = moved.kernel.copy()
    if signal.sample_correlation is not None:
        kernel[SAMPLE] = max(-1.0, min(1.0, signal.sample_correlation)) * second
    return replace(moved, mean=mean, second=second, kernel=kernel, exact=True)


_LARGEST = 1e140
"""Second moments whose squares stay finite."""
