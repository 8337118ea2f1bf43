"""The critical line χ⊥ = 1 of an activation and the points on it that a deep network can use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fanin.errors import InputError
from fanin.theory._fixed_points import MARGINAL, length_grid
from fanin.theory._mean_field import LayerAverages, averages, elementwise
from fanin.theory._roots import roots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fanin.theory._quadrature import Array
    from fanin.theory._scalar import Scalar

__all__ = ["Critical", "CriticalLine", "critical", "critical_line"]


@dataclass(frozen=True)
class Critical:
    """A point of the plane (σ_w², σ_b²) where gradients neither vanish nor explode.

    Args:
        weight_var: σ_w² = fan_in · Var W.
        bias_var: σ_b² = Var b.
        q: second moment of pre-activations that a layer then reproduces; 0 for the limit q → 0.
        chi_perp: factor of the gradient's second moment per layer: 1.
        chi_par: factor of an error in q per layer.
        stability: "stable" (χ∥ < 1), "unstable" (> 1), "half-stable" (1; attracts q from one
            side only) or "marginal" (1: any q).
        name: the activation.
    """

    weight_var: float
    bias_var: float
    q: float
    chi_perp: float
    chi_par: float
    stability: Literal["stable", "unstable", "half-stable", "marginal"] = "stable"
    name: str = ""

    @property
    def gain(self) -> float:
        """σ_w: weights of standard deviation gain/√fan_in."""
        return math.sqrt(self.weight_var)


@dataclass(frozen=True)
class CriticalLine:
    """The whole critical line, one entry per q.

    Args:
        q: (n,) second moments.
        weight_var: σ_w² = 1/E f′².
        bias_var: σ_b² = q − σ_w² E f²; negative entries are inadmissible.
        chi_par: slope of the length map.
    """

    q: Array
    weight_var: Array
    bias_var: Array
    chi_par: Array

    @property
    def admissible(self) -> NDArray[np.bool_]:
        """Where σ_b² >= 0, up to rounding."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.bias_var >= -1e-12 * np.maximum(self.q, 1e-3)) & np.isfinite(self.weight_var)


def _line(table: LayerAverages) -> CriticalLine:
    with np.errstate(divide="ignore", invalid="ignore"):
        weight_var = np.where(table.slope_square > 1e-200, 1 / table.slope_square, np.nan)
        return CriticalLine(table.q, weight_var, table.q - weight_var * table.square, weight_var * table.length_slope)


def critical_line(fn: Any, q: Array | None = None) -> CriticalLine:
    """σ_w²(q) = 1/E f′(√q z)², σ_b²(q) = q − σ_w² E f(√q z)² for every q.

    Args:
        fn: a name, module or callable.
        q: (n,) second moments > 0; by default 24 to a decade from 1e-8 to 1e4.

    Returns:
        The line; ``admissible`` says where σ_b² >= 0.

    Example:
        >>> line = critical_line("tanh", np.array([1.0]))
        >>> round(float(line.weight_var[0]), 8), round(float(line.bias_var[0]), 8)
        (2.15330265, 0.15096463)

    Source: Poole et al., 2016; Schoenholz et al., 2017.
    """
    f = elementwise(fn)
    return _line(averages(f, length_grid(f) if q is None else np.asarray(q, dtype=np.float64)))


def critical(fn: Any, q: float | None = None, bias_var: float | None = None) -> Critical:
    """A point with χ⊥ = 1: at a given q, at a given σ_b², or by default the one to use.

    The default is the half-stable point where there is one (GELU, SiLU), the single point of a positively homogeneous
    function (ReLU: σ_w² = 2, σ_b² = 0), else q = 1, or the nearest q that is admissible.

    Args:
        fn: a name, module or callable.
        q: the second moment to be kept, > 0.
        bias_var: σ_b² >= 0; q is then solved for. 0 may lead to the limit q → 0.

    Returns:
        The point.

    Raises:
        InputError: where σ_b² would be negative (the text says at which q it is not), where no point has that σ_b²,
            where fn has no usable critical point at all, or if both q and bias_var are given.

    Example:
        >>> c = critical("tanh", bias_var=0.05)
        >>> round(c.weight_var, 8), round(c.q, 8)
        (1.76095464, 0.57004788)
        >>> round(critical("gelu").q, 8)
        3.56155281

    Source: Poole et al., 2016; Schoenholz et al., 2017; half-stable: Roberts, Yaida & Hanin, 2022, §5.3.
    """
    f = elementwise(fn)
    if q is not None and bias_var is not None:
        raise InputError(f"q, bias_var: got both ({q!r}, {bias_var!r}); expected one: each fixes the other.")
    if q is not None:
        return _at(f, _positive("q", q))
    line = _line(averages(f, length_grid(f)))
    if bias_var is not None:
        return _with_bias(f, line, bias_var)
    if _homogeneous(line):
        return _at(f, 1.0)
    half = _half_stable(f, line)
    if half is not None:
        return half
    usable = line.admissible & (line.chi_par < 1) & (line.q > 1e-3)
    if not usable.any():
        raise InputError(_no_point(f, line))
    if not _admissible_at(f, 1.0):
        raise InputError(_no_point(f, line))
    return _at(f, 1.0)


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise InputError.of(name, value, "a finite number > 0")
    if not 0 < value < math.inf:
        raise InputError.of(name, value, "a finite number > 0")
    return float(value)


def _homogeneous(line: CriticalLine) -> bool:
    return bool(np.ptp(line.weight_var) < 1e-9 * line.weight_var[0] and np.abs(line.bias_var / line.q).max() < 1e-9)


def _admissible_at(f: Scalar, q: float) -> bool:
    return bool(_line(averages(f, np.array([q]))).admissible[0])


def _record(f: Scalar, line: CriticalLine, half: bool = False) -> Critical:
    q, weight_var, bias_var, chi = (float(part[0]) for part in (line.q, line.weight_var, line.bias_var, line.chi_par))
    if half:
        stability: Any = "half-stable"
    elif abs(chi - 1) <= MARGINAL:
        stability = "marginal"
    else:
        stability = "stable" if abs(chi) < 1 else "unstable"
    if abs(bias_var) <= 1e-12 * max(q, 1e-3):  # rounding of q − σ_w² E f²
        bias_var = 0.0
    return Critical(weight_var, bias_var, q, 1.0, chi, stability, f.name)


def _at(f: Scalar, q: float, half: bool = False) -> Critical:
    line = _line(averages(f, np.array([q])))
    if not math.isfinite(float(line.weight_var[0])):
        raise InputError(f"fn: {f.name} has E f′² = 0 at q = {q:g}: no weight keeps its gradients.")
    if not line.admissible[0]:
        whole = _line(averages(f, length_grid(f)))
        raise InputError(
            f"q: at q = {q:g} the critical point of {f.name} needs σ_b² = {float(line.bias_var[0]):.8g}, which is "
            "negative and so inadmissible (a variance is >= 0); "
            f"σ_w² would be {float(line.weight_var[0]):.8g}. {_where(f, whole)}"
        )
    return _record(f, line, half)


def _where(f: Scalar, line: CriticalLine) -> str:
    """Which q are admissible, in words."""
    allowed = line.admissible & (line.q > 1e-6)
    if not allowed.any():
        return f"σ_b² < 0 for every q in [{line.q[0]:.0e}, {line.q[-1]:.0e}]: {f.name} has no critical point."
    seen = (line.q > 1e-6) & np.isfinite(line.bias_var)
    first = roots(lambda x: _line(averages(f, x)).bias_var, line.q[seen], line.bias_var[seen])
    if len(first) and not allowed[seen][0]:
        at = float(first[0])
        width = 1 / float(averages(f, np.array([at])).slope_square[0])
        point = f"({width:.10g}, 0; {at:.9g})"
        return f"σ_b² < 0 for all q < {at:.6g}; the first admissible point is (σ_w², σ_b²; q) = {point}."
    return f"Admissible q: {', '.join(f'{value:.3g}' for value in line.q[allowed][[0, -1]])} and between."


def _no_point(f: Scalar, line: CriticalLine) -> str:
    allowed = line.admissible & (line.q > 1e-3)
    if allowed.any() and (line.chi_par[allowed] >= 1 + MARGINAL).all():
        return (
            f"fn: {f.name} has no usable critical point: χ∥ > 1 all along the critical line (at least "
            f"{float(line.chi_par[allowed].min()):.4g}), so that any error in q grows from layer to layer. "
            "Pass q to get the point anyway."
        )
    return f"fn: {f.name} has no usable critical point near q = 1. {_where(f, line)}"


def _half_stable(f: Scalar, line: CriticalLine) -> Critical | None:
    """χ⊥ = χ∥ = 1 at an admissible q > 0: V touches the diagonal there, so q is attracted from one side only."""
    inner = (line.q > 1e-2) & np.isfinite(line.chi_par)

    def excess(q: Array) -> Array:
        return _line(averages(f, q)).chi_par - 1

    found = [
        float(q)
        for q in roots(excess, line.q[inner], line.chi_par[inner] - 1)
        if _admissible_at(f, float(q))
        and abs(float(excess(np.array([q]))[0])) < MARGINAL
        # Where f is homogeneous but for rare large inputs, χ∥ is 1 to rounding over decades: no crossing there.
        and np.abs(excess(np.array([q / 2, 2 * q]))).min() > 1e-6
    ]
    return _at(f, found[0], half=True) if found else None


def _with_bias(f: Scalar, line: CriticalLine, bias_var: float) -> Critical:
    if (
        isinstance(bias_var, bool)
        or not isinstance(bias_var, (int, float, np.floating, np.integer))
        or not (0 <= bias_var < math.inf)
    ):
        raise InputError.of("bias_var", bias_var, "a finite number >= 0: a variance; a negative σ_b² is inadmissible")
    if bias_var == 0:
        if _homogeneous(line):
            return _at(f, 1.0)
        limit = _zero_limit(f, line)
        if limit is not None:
            return limit
    finite = np.isfinite(line.bias_var)
    at = roots(lambda q: _line(averages(f, q)).bias_var - bias_var, line.q[finite], line.bias_var[finite] - bias_var)
    found = [float(q) for q in at if q > 1e-6]
    if not found:
        raise InputError.of("bias_var", bias_var, f"a σ_b² on the critical line. {_where(f, line)}", f.name)
    points = [_record(f, _line(averages(f, np.array([q])))) for q in found]
    best = min(points, key=lambda point: (point.chi_par >= 1, abs(math.log(point.q))))
    return Critical(best.weight_var, float(bias_var), best.q, 1.0, best.chi_par, best.stability, f.name)


def _zero_limit(f: Scalar, line: CriticalLine) -> Critical | None:
    """The limit q → 0 where f(0) = 0: σ_w² = 2/(f′(0⁺)² + f′(0⁻)²), σ_b² = 0."""
    step = 1e-9
    at = f._evaluate(np.array([-step, 0.0, step]))
    below, above = (at[1] - at[0]) / step, (at[2] - at[1]) / step
    if abs(at[1]) > 1e-12 or below**2 + above**2 < 1e-12:
        return None
    near = float(line.chi_par[np.searchsorted(line.q, 1e-4)])
    stability: Any = "stable" if near < 1 - MARGINAL else "unstable" if near > 1 + MARGINAL else "marginal"
    return Critical(2 / float(below**2 + above**2), 0.0, 0.0, 1.0, 1.0, stability, f.name)
