"""Moments of an activation under a Gaussian input, and the gains that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fanin.errors import InputError
from fanin.theory._callable import resolve
from fanin.theory._quadrature import Array, differentiate, gaussian_weights
from fanin.theory._scalar import Scalar, expectation_grid, scalar_of
from fanin.theory.activations import Activation, Gated
from fanin.theory.activations._base import normal_cdf

__all__ = ["GainKind", "Moments", "gain", "moments"]

GainKind = Literal["second_moment", "variance", "backward"]

RADII = (14.0, 20.0, 28.0, 36.0)
"""|z| up to which is integrated, tried in turn until the tail is below rounding; φ(36) is still above 1e-308."""


@dataclass(frozen=True)
class Moments:
    """Gaussian moments of f(x), x = √q z, z ~ N(0, 1).

    Args:
        name: the activation with its parameters.
        q: second moment of the pre-activation.
        mean: E f.
        second_moment: E f².
        variance: E (f − E f)².
        fourth_moment: E f⁴; infinite where it diverges.
        derivative_second_moment: E f′², with the derivative that autograd uses: jumps of f are not counted;
            infinite where it diverges (√|x|).
        derivative_fourth_moment: E f′⁴.
        second_derivative_second_moment: E f″²; infinite where f′ jumps.
        saturation: share of z on a flat part: within 0.5 % of the range of a finite limit where both limits are
            finite, else where f′ is exactly 0.
        error_bound: bound on the absolute quadrature error of mean, second_moment and derivative_second_moment.
        kinks: points where f or f′ jumps.
    """

    name: str
    q: float
    mean: float
    second_moment: float
    variance: float
    fourth_moment: float
    derivative_second_moment: float
    derivative_fourth_moment: float
    second_derivative_second_moment: float
    saturation: float
    error_bound: float
    kinks: tuple[float, ...] = ()

    @property
    def gain_second_moment(self) -> float:
        """(E f²/q)^−½: keeps the second moment of the pre-activation."""
        return math.sqrt(self.q / self.second_moment)

    @property
    def gain_variance(self) -> float:
        """(Var f/q)^−½: keeps the variance where the mean is subtracted."""
        return math.sqrt(self.q / self.variance)

    @property
    def gain_backward(self) -> float:
        """(E f′²)^−½: keeps the second moment of the gradient."""
        return 1 / math.sqrt(self.derivative_second_moment)


def moments(fn: Any, q: float = 1.0) -> Moments:
    """Gaussian moments of an activation by composite Gauss–Legendre quadrature with kinks as panel edges.

    E g = ∫ g(√q z) φ(z) dz. A callable that is not registered is probed: kinks are found by bisection, derivatives
    are those of its polynomial on each panel. The stated error bound is the change when every panel is halved, plus
    what lies in the tail and in panels too small to resolve.

    Args:
        fn: a name ("gelu", "leaky_relu(0.2)"), an ``nn.Module``, or a callable on arrays, tensors or floats.
        q: second moment of the pre-activation, > 0.

    Returns:
        The record of moments.

    Raises:
        UnknownNameError: for an unknown name.
        InputError: if fn is not elementwise, is random, returns NaN, or grows too fast to integrate.

    Example:
        >>> m = moments("gelu")
        >>> round(m.mean, 8), round(m.second_moment, 8), m.error_bound < 1e-12
        (0.28209479, 0.42522148, True)

    Source: the definitions are those of He et al., 2015, and Klambauer et al., 2017.
    """
    if isinstance(q, bool) or not isinstance(q, (int, float, np.floating, np.integer)) or not 0 < q < math.inf:
        raise InputError.of("q", q, "a finite number > 0, the second moment of the pre-activation")
    found = resolve(fn)
    if isinstance(found, Scalar):
        return _integrate(found, float(q))
    key = (found, float(q))
    if key not in _CACHE:
        if len(_CACHE) >= 4096:
            _CACHE.clear()
        _CACHE[key] = _gated(found, float(q)) if isinstance(found, Gated) else _integrate(scalar_of(found), float(q))
    return _CACHE[key]


_CACHE: dict[tuple[Activation | Gated, float], Moments] = {}


def gain(fn: Any, kind: GainKind = "second_moment", *, q: float = 1.0) -> float:
    """The factor g such that weights of standard deviation g/√fan_in keep a signal steady through fn.

    second_moment: g = (E f²)^−½ keeps the second moment of pre-activations (He et al.; AutoInit).
    variance:      g = (Var f)^−½ keeps the variance where the weights' mean is subtracted (NFNet).
    backward:      g = (E f′²)^−½ keeps the second moment of gradients (with fan_out).

    For a gated unit f(g)·u the inputs are both branches, independent and of second moment q.

    Args:
        fn: a name ("gelu", "leaky_relu(0.2)"), an ``nn.Module``, or a callable on arrays, tensors or floats.
        kind: which of the three is kept.
        q: second moment of the pre-activation, > 0; 1 is the normalized case that tables list.

    Returns:
        The gain, exact to about 1e-15 for registered activations.

    Raises:
        UnknownNameError: for an unknown name.
        InputError: if fn cannot be integrated, kind is unknown, or f is so flat that no gain keeps the signal.

    Example:
        >>> round(gain("relu"), 8), round(gain("tanh"), 8), round(gain("gelu", "variance"), 8)
        (1.41421356, 1.59253742, 1.70092624)

    Source: He et al., 2015; Brock et al., 2021 (variance); Bingham & Miikkulainen, 2023 (second moment).
    """
    if kind not in ("second_moment", "variance", "backward"):
        raise InputError.of("kind", kind, "'second_moment', 'variance' or 'backward'")
    found = moments(fn, q)
    kept = {
        "second_moment": found.second_moment,
        "variance": found.variance,
        "backward": found.derivative_second_moment,
    }[kind]
    if kept <= 1e-28 * max(1.0, found.second_moment) or kept == math.inf:
        what = {"second_moment": "E f²", "variance": "Var f", "backward": "E f′²"}[kind]
        raise InputError(
            f"fn: {found.name} has {what} = {kept:.3g} at q = {q:g}: it is constant, no gain keeps a signal."
        )
    return math.sqrt((1.0 if kind == "backward" else q) / kept)


def _gated(unit: Gated, q: float) -> Moments:
    """f(g)·u with independent g, u ~ N(0, q): E (f u)² = q E f²; each input's derivative is f′u or f."""
    gate = moments(unit.activation, q)
    per_input = (q * gate.derivative_second_moment + gate.second_moment) / 2
    return Moments(
        name=unit.name,
        q=q,
        mean=0.0,
        second_moment=q * gate.second_moment,
        variance=q * gate.second_moment,
        fourth_moment=3 * q**2 * gate.fourth_moment,
        derivative_second_moment=per_input,
        derivative_fourth_moment=(3 * q**2 * gate.derivative_fourth_moment + gate.fourth_moment) / 2,
        second_derivative_second_moment=math.nan,
        saturation=gate.saturation,
        error_bound=(1 + q) * gate.error_bound,
        kinks=gate.kinks,
    )


def _integrate(f: Scalar, q: float) -> Moments:
    for radius in RADII:
        z, w, values, slopes = (part[0] for part in expectation_grid(f, np.array([q]), radius))
        outside = w * (np.abs(z) > radius - 2)
        tails = [float(outside @ np.square(g)) / max(float(w @ np.square(g)), 1e-300) for g in (values, slopes)]
        if max(tails) < 1e-14:
            break
    else:
        raise InputError(
            f"fn: {f.name} grows too fast to integrate: at q = {q:g} a share of {max(tails):.1e} of E f² still lies "
            f"beyond |z| = {radius - 2:g}; expected |f| to grow more slowly than exp(x²/{4 * q:g})."
        )
    mean = float(w @ values)
    second, slope_second = float(w @ np.square(values)), float(w @ np.square(slopes))
    with np.errstate(over="ignore"):
        fourth = [w * np.square(np.square(g)) for g in (values, slopes)]
    diverges = [float(part[np.abs(z) > radius - 2].sum()) > 1e-9 * float(part.sum()) for part in fourth]
    result = Moments(
        name=f.name,
        q=q,
        mean=mean,
        second_moment=second,
        variance=float(w @ np.square(values - mean)),
        fourth_moment=math.inf if diverges[0] else float(fourth[0].sum()),
        derivative_second_moment=slope_second,
        derivative_fourth_moment=math.inf if diverges[1] else float(fourth[1].sum()),
        second_derivative_second_moment=math.inf,
        saturation=_saturation(f, q),
        error_bound=0.0,
        kinks=f.kinks,
    )
    return _checked(f, q, radius, result)


def _checked(f: Scalar, q: float, radius: float, first: Moments) -> Moments:
    """The same moments with the error bound by halving every panel, and E f″² on the halved panels."""
    root = math.sqrt(q)
    cuts = f.edges(radius * root) / root
    edges = np.unique(np.concatenate([np.arange(-radius, radius + 1), cuts[np.abs(cuts) < radius]]))
    edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
    z, w = gaussian_weights(edges)
    values = f._evaluate(root * z)
    slopes = differentiate(values, root * edges) if f.slope is None else np.asarray(f.slope(root * z))
    again = [float((w * g).sum()) for g in (values, values**2, slopes**2)]
    once = [first.mean, first.second_moment, first.derivative_second_moment]
    # Panels that bisection had to make this small surround a point where f or f′ has no limit.
    narrow = np.diff(edges) < 1e-6 / max(root, 1.0)
    diverges = float((w * slopes**2)[narrow].sum()) > 1e-4 * again[2]
    if diverges:
        once[2] = again[2] = 0.0
    elif once[2] < 1e-20 * once[1]:
        once[2] = 0.0  # rounding of the differentiated polynomial: f is constant piece by piece
    changed = max(abs(a - b) for a, b in zip(once, again))
    unresolved = float((w * values**2)[narrow].sum())
    rounding = 8 * f.rounding * sum(abs(value) for value in once)
    smooth = not first.kinks and not diverges
    return replace(
        first,
        derivative_second_moment=math.inf if diverges else once[2],
        second_derivative_second_moment=float((w * differentiate(slopes, root * edges) ** 2).sum())
        if smooth
        else math.inf,
        error_bound=changed + unresolved + rounding,
    )


def _saturation(f: Scalar, q: float) -> float:
    """P(√q z on a flat part): cells of z that are flat throughout, their borders found by bisection."""
    low, high = f.limits
    bounded = math.isfinite(low) and math.isfinite(high) and high != low
    margin = 0.005 * abs(high - low) if bounded else 0.0
    root = math.sqrt(q)

    def flat(z: Array) -> Array:
        if bounded:
            values = f._evaluate(root * z)
            return np.asarray((np.abs(values - low) < margin) | (np.abs(values - high) < margin))
        step = 1e-6
        rise = f._evaluate(root * z + step) - f._evaluate(root * z - step)
        return np.asarray(np.abs(rise) <= 1e-12 * step)

    z = np.linspace(-9.0, 9.0, 721) + 1e-4
    inside = flat(z)
    borders = np.nonzero(inside[1:] != inside[:-1])[0]
    left, right = z[borders], z[borders + 1]
    for _ in range(40 if len(borders) else 0):
        middle = (left + right) / 2
        same = flat(middle) == inside[borders]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    cdf = np.concatenate([[0.0], normal_cdf(left), [1.0]])
    starts_flat = bool(inside[0])
    return float(sum(np.diff(cdf)[0 if starts_flat else 1 :: 2]))
