"""Statistics of the weights themselves, small enough to travel with a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.signals import BINS, Histogram

if TYPE_CHECKING:
    import numpy as np

    from fanin.report._report import Report

__all__ = ["SAMPLE", "WeightStats", "measure_weights", "operating_points"]

SAMPLE = 16384
"""Values behind a histogram: a bin that holds a share p of them is known to √(p/16384), under 1 % of the peak."""


@dataclass(frozen=True)
class WeightStats:
    """One parameter as it is.

    Args:
        name: canonical parameter name.
        shape: of the tensor.
        mean: mean over all finite values.
        std: standard deviation over all finite values.
        nonfinite: share of NaN and infinities.
        histogram: of the finite values (an evenly strided sample of large tensors), or None where there is none.
        gradient: root mean square of the loss gradient, or None where none reached it.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    nonfinite: float = 0.0
    histogram: Histogram | None = None
    gradient: float | None = None

    @property
    def rms(self) -> float:
        """Root mean square."""
        return math.hypot(self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes None."""
        data = asdict(self)
        data["shape"] = list(self.shape)
        if self.histogram is not None:
            data["histogram"]["counts"] = list(self.histogram.counts)
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WeightStats:
        """Inverse of :meth:`to_json`."""
        fields = dict(data)
        histogram = fields["histogram"]
        if histogram is not None:
            fields["histogram"] = Histogram(histogram["low"], histogram["high"], tuple(histogram["counts"]))
        for key in ("mean", "std"):
            fields[key] = math.nan if fields[key] is None else fields[key]
        return cls(**{**fields, "shape": tuple(fields["shape"])})


def measure_weights(
    parameters: Mapping[str, Any], gradients: Mapping[str, Any] | None = None
) -> tuple[WeightStats, ...]:
    """Mean, spread and histogram of each tensor; those without values (meta, integer, empty) are left out.

    Args:
        parameters: name → tensor or array.
        gradients: name → gradient of the loss.

    Example:
        >>> import numpy as np
        >>> [w] = measure_weights({"weight": np.arange(-2.0, 3.0)})
        >>> w.mean, round(w.std**2, 6), sum(w.histogram.counts)
        (0.0, 2.0, 5)
    """
    result = []
    for name, tensor in parameters.items():
        values = _values(tensor)
        if values is not None:
            gradient = (gradients or {}).get(name)
            result.append(_measured(name, tuple(map(int, tensor.shape)), values, gradient))
    return tuple(result)


def _values(tensor: Any) -> np.ndarray | None:
    """The values in one axis as float32 or float64, or None where there are none."""
    import numpy as np

    if hasattr(tensor, "detach"):
        if getattr(tensor, "is_meta", False) or tensor.numel() == 0 or not tensor.is_floating_point():
            return None
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # sharded over processes
        dense = whole.detach() if str(whole.layout) == "torch.strided" else whole.detach().to_dense()
        flat = dense.reshape(-1)
        flat = flat if str(flat.dtype) == "torch.float64" else flat.float()
        return np.asarray(flat.cpu().numpy())
    array = np.asarray(tensor)
    return array.reshape(-1) if array.size and array.dtype.kind == "f" else None


def _measured(name: str, shape: tuple[int, ...], values: np.ndarray, gradient: Any) -> WeightStats:
    import numpy as np

    total = float(values.sum(dtype=np.float64))
    finite = values if math.isfinite(total) else values[np.isfinite(values)]  # a copy only where it is needed
    slope = None if gradient is None else _values(gradient)
    reached = None if slope is None else math.sqrt(float(np.square(slope, dtype=np.float64).mean()))
    if reached is not None and not math.isfinite(reached):
        reached = None
    if not len(finite):
        return WeightStats(name, shape, math.nan, math.nan, 1.0, None, reached)
    mean = float(finite.mean(dtype=np.float64))
    std = float(finite.std(dtype=np.float64))
    # A prime stride, so that no axis of the tensor is seen at one index only.
    step = next(p for p in range(max(1, len(finite) // SAMPLE), len(finite) + 2) if p == 1 or _prime(p))
    sample = finite[::step]
    low, high = float(sample.min()), float(sample.max())
    edges = np.linspace(low, high, BINS + 1)
    if not (np.diff(edges) > 0).all():  # too close together for as many bins
        counts = [len(sample)] + [0] * (BINS - 1)
    else:
        counts = [int(count) for count in np.histogram(sample.astype(np.float64), bins=edges)[0]]
    lost = 1 - len(finite) / len(values)
    return WeightStats(name, shape, mean, std, lost, Histogram(low, high, tuple(counts)), reached)


def _prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, math.isqrt(number) + 1))


def operating_points(report: Report) -> tuple[str, dict[str, tuple[float, float]]]:
    """The commonest nonlinearity and, for each weight in front of it, (σ_w², σ_b²) = (fan_in · Var W, E b²).

    Weights in front of a normalization are left out: there the scale of the weight does not reach the nonlinearity.

    Raises:
        InputError: if the report holds no statistics of its weights or no slots.
    """
    from fanin.theory import ACTIVATIONS

    if not report.weights or report.slots is None:
        raise InputError("figure 'phase': the report holds no statistics of its weights; make it with fanin.check.")
    known = {weights.name: weights for weights in report.weights}
    biases = {s.owner: known[s.name] for s in report.slots.values() if s.role == "bias" and s.name in known}
    groups: dict[str, dict[str, tuple[float, float]]] = {}
    for slot in report.slots.values():
        after = slot.nonlinearity
        usable = slot.role == "weight" and not slot.parts and not slot.normalized and slot.fans is not None
        if not usable or after is None or after == "linear" or after not in ACTIVATIONS or slot.name not in known:
            continue
        arguments = [value for value in slot.nonlinearity_args.values() if isinstance(value, (int, float))]
        # Only one-parameter activations are spelled with it; others keep their defaults.
        label = f"{after}({arguments[0]:g})" if after in ("leaky_relu", "elu", "celu") and arguments else after
        bias = biases.get(slot.owner)
        weight = known[slot.name]
        assert slot.fans is not None
        if math.isfinite(weight.std):
            point = (slot.fans.fan_in * weight.std**2, bias.rms**2 if bias else 0.0)
            groups.setdefault(label, {})[slot.name] = point
    if not groups:
        return "", {}
    commonest = max(groups, key=lambda label: len(groups[label]))
    return commonest, groups[commonest]
