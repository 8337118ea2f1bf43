"""Speed and digits of the theory: exact gains, critical points and phase diagrams, against SciPy and Monte Carlo.

    python benchmarks/theory.py

Rivals: ``scipy.integrate.quad`` (adaptive), a Monte-Carlo mean as published gains were made, and
``torch.nn.init.calculate_gain``. Ratios are taken interleaved in one process; read them, not the times.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.integrate
import torch

from fanin.theory import critical, depth_scale, gain, jacobian_spectrum, moments, phase_diagram, simulate_jacobian
from fanin.theory.activations import find

NAMES = ("relu", "gelu", "silu", "tanh", "elu", "hardswish", "mish")


def by_scipy(name: str) -> float:
    f = find(name)

    def integrand(z: float) -> float:
        return float(f.function(np.array(z))) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    edges = sorted({-12.0, 12.0, *f.kinks})
    parts = [scipy.integrate.quad(integrand, a, b, epsabs=1e-13, limit=200)[0] for a, b in itertools.pairwise(edges)]
    return 1 / math.sqrt(sum(parts))


def by_monte_carlo(name: str, samples: int = 1_000_000) -> float:
    z = np.random.default_rng(0).standard_normal(samples)
    return 1 / math.sqrt(float(np.square(find(name).function(z)).mean()))


def ours(name: str) -> float:
    f = find(name)
    return moments(lambda x: f.function(x)).gain_second_moment  # a callable: analysed anew every time


def timed(call: Callable[[str], float], name: str) -> tuple[float, float]:
    started = time.perf_counter()
    value = call(name)
    return time.perf_counter() - started, value


def gains(repeats: int = 5) -> None:
    print("gain of an unknown callable: seconds as a multiple of ours, and error against SciPy")
    print("(ours finds the kinks, gives all moments and an error bound; SciPy is told the kinks and gives one moment)")
    print(f"{'name':12} {'ours, ms':>9} {'scipy':>8} {'1e6 draws':>10}   {'our error':>10} {'draws error':>11}")
    for name in NAMES:
        rows = [[timed(call, name) for call in (ours, by_scipy, by_monte_carlo)] for _ in range(repeats)]
        ratios = [statistics.median(row[k][0] / row[0][0] for row in rows) for k in range(3)]
        mine = statistics.median(row[0][0] for row in rows)
        exact = rows[0][1][1]
        errors = [abs(rows[0][k][1] - exact) for k in (0, 2)]
        print(f"{name:12} {1e3 * mine:9.2f} {ratios[1]:7.1f}x {ratios[2]:9.1f}x   {errors[0]:10.1e} {errors[1]:11.1e}")
    started = time.perf_counter()
    for _ in range(1000):
        gain("gelu")
    print(f"a cached gain takes {1e3 * (time.perf_counter() - started):.1f} µs")
    for name, argument in (("tanh", "tanh"), ("selu", "selu"), ("sigmoid", "sigmoid"), ("relu", "relu")):
        classic = torch.nn.init.calculate_gain(argument)
        print(
            f"calculate_gain({name!r}) = {classic:.6f}, exact {gain(name):.6f}: off by {classic / gain(name) - 1:+.1%}"
        )


def diagrams() -> None:
    for name in ("tanh", "gelu"):
        started = time.perf_counter()
        diagram = phase_diagram(name)
        seconds = time.perf_counter() - started
        share = float((diagram.chi_perp > 1).mean())
        print(f"phase diagram of {name}, 60 × 60: {seconds:.2f} s; {share:.0%} of it chaotic")
    point = critical("gelu")
    print(f"critical('gelu'): σ_w² = {point.weight_var:.8f}, σ_b² = {point.bias_var:.8f}, q = {point.q:.8f}")
    print(f"depth scale of tanh at (1.5, 0.05): {depth_scale('tanh', 1.5, 0.05).correlation:.2f} layers")


def isometry(depth: int = 10, width: int = 300) -> None:
    point = critical("tanh", bias_var=0.05)
    print(f"squared singular values of {depth} tanh layers at (σ_w², σ_b²) = ({point.weight_var:.4f}, 0.05):")
    for weights in ("gaussian", "orthogonal"):
        arguments = {"weight_var": point.weight_var, "bias_var": point.bias_var, "q": point.q}
        predicted = jacobian_spectrum("tanh", depth, weights=weights, **arguments)
        nets = [simulate_jacobian("tanh", depth, width, weights=weights, seed=s, **arguments) ** 2 for s in range(4)]
        relative = statistics.mean(float(s.var() / s.mean() ** 2) for s in nets)
        print(
            f"  {weights:10} mean {predicted.mean:.3f}, measured {np.mean(nets):.3f}; "
            f"Var/mean² {predicted.relative_variance:.2f}, measured {relative:.2f}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    gains()
    diagrams()
    isometry()
