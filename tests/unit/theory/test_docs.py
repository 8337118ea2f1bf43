"""The numbers in docs/theory.md are those the code gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanin import theory
from fanin.theory import chi_par, chi_perp, critical, fixed_points, gain, moments

TEXT = (Path(__file__).parents[3] / "docs" / "theory.md").read_text()


def shown(text: str) -> None:
    assert text in TEXT, text


def test_numbers_of_the_page() -> None:
    relu = moments("relu")
    shown(f"{relu.mean:.3f} and variance {relu.variance:.3f}")
    shown(f"exact: {gain('tanh'):.4f}")
    shown(f"({gain('sigmoid'):.4f} or {gain('sigmoid', 'variance'):.4f})")
    (point,) = fixed_points("sigmoid", 16.0, correlations=False)
    shown(f"q = {point.q:.3f}")
    shown(f"= {point.chi_perp:.3f}\n")
    (plain,) = fixed_points("sigmoid", 1.0, correlations=False)
    shown(f"it is {plain.chi_perp:.4f}")
    shown(f"a factor {1 / point.chi_perp:.1f} of gradient")
    shown(f"instead of {1 / plain.chi_perp:.0f}:")
    for name in ("gelu", "silu"):
        shown(f"{chi_par(name, 1.0, gain(name) ** 2):.3f} ({ {'gelu': 'GELU', 'silu': 'SiLU'}[name] })")
    gelu = critical("gelu")
    shown(f"({gelu.weight_var:.8f}, {gelu.bias_var:.8f})")
    shown(f"({critical('tanh', bias_var=0.05).weight_var:.3f}, 0.05)")
    shown(f"(χ∥ = {chi_par('selu', 1.0, 1.0):.3f})")
    grown = chi_perp("selu", 1.0, 1.0)
    shown(f"{grown:.4f} per layer, {grown**60:.0f}-fold over 60")
    shown(f"q = {critical('sigmoid', bias_var=0.0).q:.2f}")


@pytest.mark.parametrize(
    "name", [n for n in theory.__all__ if n[0].islower() and n not in ("array_flow", "array_moments")]
)
def test_functions_of_the_page_exist(name: str) -> None:
    assert callable(getattr(theory, name))
    if name not in ("weight_moments", "simulate_jacobian", "critical_line"):
        shown(name)
