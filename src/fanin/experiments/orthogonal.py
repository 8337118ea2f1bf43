"""orthogonal: which recipes for a random orthogonal matrix are uniform, and what orthogonality buys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fanin import theory
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.fans import linear
from fanin.initializers import Orthogonal
from fanin.keys import Key
from fanin.report.figures import figure

__all__ = ["EXPERIMENT"]

Sampler = Callable[[int, int, np.random.Generator], np.ndarray]

DEPTH = 20


def _svd_u(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    return np.asarray(np.linalg.svd(random.normal(size=(count, size, size)))[0])


def _svd_uv(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    u, _, v = np.linalg.svd(random.normal(size=(count, size, size)))
    return np.asarray(u @ v)


def _qr(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    return np.asarray(np.linalg.qr(random.normal(size=(count, size, size)))[0])


def _qr_signs(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(random.normal(size=(count, size, size)))
    return np.asarray(q * np.sign(np.einsum("nii->ni", r))[:, None, :])


def _fanin(count: int, size: int, random: np.random.Generator) -> np.ndarray:
    law, seed = Orthogonal(), int(random.integers(1 << 31))
    return np.array([law.draw(Key(seed, str(k)), (size, size), linear((size, size))) for k in range(count)], float)


RECIPES: dict[str, tuple[str, Sampler]] = {
    "svd_u": ("SVD, keep u", _svd_u),
    "svd_uv": ("SVD, u·vᵀ", _svd_uv),
    "qr": ("QR, keep Q", _qr),
    "qr_signs": ("QR, Q·sign(diag R)", _qr_signs),
    "fanin": ("fanin's Orthogonal", _fanin),
}


def measure(settings: Settings) -> Measured:
    """Traces and determinants of many 2×2 and 3×3 matrices, and spectra of deep products."""
    rows: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    for size in (2, 3):
        for key, (name, sampler) in RECIPES.items():
            count = settings.pick(20_000, 10_000, 200) if key != "fanin" else settings.pick(10_000, 3_000, 200)
            sample = sampler(count, size, np.random.default_rng([settings.seed, size]))
            row = _statistics(name, sample)
            rows.append(row)
            numbers[f"{key}_{size}_z"] = max(row["trace_z"], row["trace_squared_z"], row["det_z"])
            numbers[f"{key}_{size}_mean_trace"] = row["mean_trace"]
            numbers[f"{key}_{size}_mean_det"] = row["mean_det"]
            numbers["worst_orthogonality"] = max(numbers.get("worst_orthogonality", 0.0), row["orthogonality"])
    width = settings.pick(200, 100, 20)
    spectra = {
        kind: theory.simulate_jacobian("linear", DEPTH, width, weight_var=1.0, weights=kind, seed=settings.seed)
        for kind in ("gaussian", "orthogonal")
    }
    tanh = {
        f"tanh, {kind}": theory.simulate_jacobian("tanh", DEPTH, width, weight_var=1.0, weights=kind, q=0.01)
        for kind in ("gaussian", "orthogonal")
    }
    for kind, values in spectra.items():
        numbers[f"{kind}_condition"] = float(values[0] / values[-1])
        numbers[f"{kind}_relative_variance"] = float(np.var(values**2) / np.mean(values**2) ** 2)
    figures = {"jacobian": figure("jacobian", {**spectra, **tanh}, source=f"{DEPTH} layers of {width} units")}
    return Measured(
        rows, numbers, figures, f"random matrices of 2×2 and 3×3; products of {DEPTH} matrices of {width}×{width}"
    )


def _statistics(name: str, sample: np.ndarray) -> dict[str, Any]:
    """Of Haar's measure on O(2) and O(3): E tr = 0, E tr² = 1, E tr⁴ = 3, E det = 0."""
    count, size = sample.shape[:2]
    traces, dets = np.einsum("nii->n", sample), np.linalg.det(sample)

    def z(values: np.ndarray, expected: float, std: float) -> float:
        return float(abs(values.mean() - expected) / (std / math.sqrt(count)))

    return {
        "recipe": name,
        "size": size,
        "matrices": count,
        "mean_trace": float(traces.mean()),
        "mean_trace_squared": float(np.square(traces).mean()),
        "mean_det": float(dets.mean()),
        "trace_z": z(traces, 0.0, 1.0),
        "trace_squared_z": z(np.square(traces), 1.0, math.sqrt(2)),
        "det_z": z(dets, 0.0, 1.0),
        "orthogonality": float(np.abs(sample @ sample.transpose(0, 2, 1) - np.eye(size)).max()),
    }


CHANCE = "largest of three statistics, in Haar's standard errors; beyond 4.5 by chance once in 50,000"
BIASED = "largest of three statistics, in Haar's standard errors; chance never reaches 10"

EXPERIMENT = Experiment(
    name="orthogonal",
    question="Is a factor of an SVD a uniformly random orthogonal matrix?",
    known="No: u of an SVD and Q of a QR are orthogonal but not uniform (Haar), for the library fixes the signs; QR "
    "with the signs of R's diagonal is. Orthogonal products keep every direction, Gaussian ones lose most.",
    source="Mezzadri, 2007; Saxe, McClelland & Ganguli, 2013",
    claims=(
        Claim("all of them are orthogonal", "worst_orthogonality", high=1e-5, why="float32 rounding of fanin's"),
        Claim("u of an SVD is not Haar (2×2)", "svd_u_2_z", low=10, why=BIASED),
        Claim("u of an SVD is not Haar (3×3)", "svd_u_3_z", low=10, why=BIASED),
        Claim("Q of a QR is not Haar (3×3)", "qr_3_z", low=10, why=BIASED),
        Claim("u·vᵀ is Haar (3×3)", "svd_uv_3_z", high=4.5, why=CHANCE),
        Claim("QR with signs is Haar (2×2)", "qr_signs_2_z", high=4.5, why=CHANCE),
        Claim("QR with signs is Haar (3×3)", "qr_signs_3_z", high=4.5, why=CHANCE),
        Claim("fanin's Orthogonal is Haar (2×2)", "fanin_2_z", high=4.5, why=CHANCE),
        Claim("fanin's Orthogonal is Haar (3×3)", "fanin_3_z", high=4.5, why=CHANCE),
        Claim(
            "20 orthogonal linear layers keep every direction",
            "orthogonal_condition",
            high=1.0001,
            why="condition number of the product, exactly 1 but for rounding",
        ),
        Claim(
            "20 Gaussian ones spread the singular values: Var s²/(E s²)² near the depth",
            "gaussian_relative_variance",
            10,
            40,
            "theory: L = 20 (Pennington et al., 2017); one product of finite width strays",
        ),
    ),
    measure=measure,
)
