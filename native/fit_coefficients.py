"""Fit the polynomials of the transforms and print them as C hexadecimal floats.

The constants in coefficients.h and in src/fanin/keys/_coefficients.py are the output of this script (scipy >= 1.12):

    python native/fit_coefficients.py

Method: weighted minimax by Lawson's iteration (1961) on Chebyshev nodes in float64; each coefficient is then rounded
to float32, lowest order first, and the higher ones are fitted again to absorb the rounding.
"""

from __future__ import annotations

import numpy as np
from scipy import special


def nodes(low: float, high: float, count: int = 1500) -> np.ndarray:
    """Chebyshev nodes of the interval."""
    angle = np.pi * (np.arange(count) + 0.5) / count
    return (low + high) / 2 + (high - low) / 2 * np.cos(angle)


def minimax(basis: np.ndarray, target: np.ndarray, weight: np.ndarray, rounds: int = 60) -> np.ndarray:
    """Coefficients that minimise the largest weighted error."""
    lawson = np.ones(len(target))
    best = (np.inf, np.zeros(basis.shape[1]))
    for _ in range(rounds):
        root = np.sqrt(lawson) * weight
        coefficients, *_ = np.linalg.lstsq(basis * root[:, None], target * root, rcond=None)
        error = np.abs(basis @ coefficients - target) * weight
        if error.max() < best[0]:
            best = (error.max(), coefficients)
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.mean()
    return best[1]


def fit(x: np.ndarray, target: np.ndarray, degree: int, weight: np.ndarray) -> tuple[list[float], float]:
    """Float32 coefficients of a polynomial, and its largest weighted error."""
    basis = np.stack([x**k for k in range(degree + 1)], axis=1)
    rest, coefficients = target.copy(), []
    for k in range(degree + 1):
        value = float(np.float32(minimax(basis[:, k:], rest, weight)[0]))
        coefficients.append(value)
        rest = rest - value * basis[:, k]
    return coefficients, float(np.abs(rest * weight).max())


def rational(x: np.ndarray, target: np.ndarray, degree: int, weight: np.ndarray) -> tuple[list[float], ...]:
    """Float32 coefficients of numerator and denominator (1 + ...), by Sanathanan & Koerner's iteration (1963)."""
    powers = np.stack([x**k for k in range(degree + 1)], axis=1)
    lawson, below = np.ones_like(x), np.ones_like(x)
    best = (np.inf, np.zeros(degree))
    for _ in range(100):
        root = np.sqrt(lawson) * weight / below
        system = np.concatenate([powers, -target[:, None] * powers[:, 1:]], axis=1) * root[:, None]
        solution, *_ = np.linalg.lstsq(system, target * root, rcond=None)
        below = 1 + powers[:, 1:] @ solution[degree + 1 :]
        error = np.abs(powers @ solution[: degree + 1] / below - target) * weight
        if error.max() < best[0]:
            best = (error.max(), solution[degree + 1 :])
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.mean()
    denominator = [1.0, *(float(np.float32(value)) for value in best[1])]
    below = powers @ np.array(denominator)
    numerator, error = fit(x, target * below, degree, weight / below)
    return numerator, denominator, [float(error)]


def short_hex(value: float) -> str:
    """A hexadecimal float without trailing zeros."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def show(name: str, result: tuple[list[float], float], meaning: str) -> None:
    """Print one table."""
    coefficients, error = result
    print(f"{name}  // {meaning}; error {error:.2g}\n  " + ", ".join(map(short_hex, coefficients)))


def main() -> None:
    """Fit and print every table."""
    f = nodes(-0.5, -1e-4)
    target = -2 * np.log1p(f)
    show("LOG", fit(f, target / f, 7, f / target), "-2 log(1+f) = f LOG(f) on [-1/2, 0), relative")

    y = nodes(1e-3, 1.0)
    sine, cosine = np.sin(np.pi / 4 * y), np.cos(np.pi / 4 * y)
    show("SIN", fit(y * y, sine / y, 3, y / sine), "sin(pi/4 y) = y SIN(y^2), relative")
    show("COS", fit(y * y, (cosine - 1) / y**2, 2, y**2 / cosine), "cos(pi/4 y) = 1 + y^2 COS(y^2), relative")

    def two_sided(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P and |z| with P = P(|Z| < |z|) and t = -2 log(1 - P^2)."""
        inside = np.sqrt(-np.expm1(-t / 2))
        outside = np.exp(-t / 2) / (1 + inside)
        z = np.where(inside < 0.1, np.sqrt(2) * special.erfinv(inside), -special.ndtri(outside / 2))
        return inside, z

    lowest = 2 * (1 - special.erf(2.0005 / np.sqrt(2)) ** 2)
    x = nodes(lowest, 2.0)
    inside, z = two_sided(-2 * np.log(x / 2))
    ratio = np.where(inside > 1e-6, z / np.maximum(inside, 1e-300), np.sqrt(np.pi / 2))
    above, below, (error,) = rational(x, ratio, 4, 1 / ratio)
    meaning = "|z| = P NARROW_ABOVE(x) / NARROW_BELOW(x), x = 2 (1 - P^2), |z| <= 2, relative"
    show("NARROW_ABOVE", (above, error), meaning)
    show("NARROW_BELOW", (below, error), meaning)
    t = nodes(0.0, 10.0)
    inside, z = two_sided(t)
    show("CENTRE", fit(t - 5, z / inside, 9, inside), "|z| = P CENTRE(t-5), t < 10, absolute")
    s = nodes(np.sqrt(10.0) - 1e-3, 6.57)
    _, z = two_sided(s * s)
    show("TAIL", fit(s - 4.75, z, 8, np.ones_like(s)), "|z| = TAIL(sqrt(t)-4.75), t >= 10, absolute")


if __name__ == "__main__":
    main()
