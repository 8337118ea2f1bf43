"""The phase diagram of an activation: where deep networks are ordered, critical or chaotic.

Draws the plane of weight variance (sigma_w^2 = fan_in * Var W, to the right) and bias variance (sigma_b^2, upwards)
with the critical line, along which gradients neither vanish nor explode; then the points to use, and where the usual
rules land.

  fanin phase tanh
  fanin phase gelu --weight-var 4 --bias-var 0.5
  fanin phase mymodule.py:my_activation --json
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from fanin.report import Screen
    from fanin.theory import PhaseDiagram

__all__ = ["add_arguments", "run"]

_RULES = {"torch's default reset": 1 / 3, "LeCun, Glorot": 1.0, "He": 2.0}
"""sigma_w^2 of square layers: U(+-1/sqrt(fan_in)) has variance 1/(3 fan_in), He has 2/fan_in."""

_DEEP = 6.0
"""Layers: correlations that travel farther are drawn in the shade next to the line."""

_ALMOST = 0.85
"""χ⊥ next to unbounded cells from which the line lies between them, as for ReLU; below it an unstable length ends."""

_BLOCKS = {"dies": " ", "ordered": "·", "ordered, deep": "░", "critical": "●", "chaotic, deep": "▒", "chaotic": "▓"}
_LETTERS = {"dies": " ", "ordered": ".", "ordered, deep": "-", "critical": "O", "chaotic, deep": "+", "chaotic": "#"}
_UNBOUNDED = "^"
_STYLES = {
    "ordered": "blue",
    "ordered, deep": "blue",
    "critical": "bold green",
    "chaotic, deep": "red",
    "chaotic": "red",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("activation", help="a name of `fanin gain`, or pkg.mod:function of your own")
    parser.add_argument(
        "--weight-var", type=float, metavar="MAX", help="right end of sigma_w^2; by default twice critical"
    )
    parser.add_argument("--bias-var", type=float, metavar="MAX", help="upper end of sigma_b^2")
    parser.add_argument("--json", action="store_true", help="print all numbers of a 60 x 60 grid as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Compute and draw."""
    import json

    import numpy as np

    from fanin import theory
    from fanin.cli._base import own_activation
    from fanin.errors import InputError

    name = arguments.activation
    fn: Any = own_activation(name) if ":" in name else name
    for option in ("weight_var", "bias_var"):
        value = getattr(arguments, option)
        if value is not None and not 0 < value < math.inf:
            raise InputError.of(f"--{option.replace('_', '-')}", value, "a finite number > 0")
    theory.gain(fn)  # a function that cannot be used is refused before anything is drawn
    points, why = _points(fn)
    right, top = _range(fn, points)
    right, top = arguments.weight_var or right, arguments.bias_var or top
    if arguments.json:
        diagram = theory.phase_diagram(fn, np.linspace(right / 60, right, 60), np.linspace(0, top, 60))
        rules = [_landing(fn, label, w) for label, w in _RULES.items()]
        print(json.dumps({"critical": points, "why_none": why, "rules": rules, "diagram": diagram.to_json()}))
        return
    _show(fn, str(name), points, why, right, top)


def _points(fn: Any) -> tuple[list[dict[str, Any]], str]:
    """The point to use first, then points of other bias variances; and why there is none."""
    from fanin import theory
    from fanin.errors import InputError

    found: list[dict[str, Any]] = []
    why = ""
    for bias_var in (None, 0.0, 0.01, 0.05, 0.1, 0.2):
        try:
            point = theory.critical(fn, bias_var=bias_var)
        except InputError as error:
            why = why or (str(error) if bias_var is None else "")
            if bias_var is None:
                break
            continue
        entry = {key: getattr(point, key) for key in ("weight_var", "bias_var", "q", "chi_par", "stability")}
        entry |= {"gain": point.gain, "use": bias_var is None}
        if not any(abs(entry["bias_var"] - e["bias_var"]) < 1e-9 for e in found):
            found.append(entry)
    return found, why.removeprefix("fn: ")


def _range(fn: Any, points: list[dict[str, Any]]) -> tuple[float, float]:
    from fanin import theory

    if points:
        return 2 * points[0]["weight_var"], max(0.3, 2 * points[0]["bias_var"])
    slope = theory.moments(fn).derivative_second_moment
    return 2 / slope if slope > 1e-12 else 4.0, 0.3


def _landing(fn: Any, label: str, weight_var: float) -> dict[str, Any]:
    """What a rule that sets the weight variance alone does with this activation."""
    from fanin import theory

    at = theory.phase_diagram(fn, [weight_var], [0.0])
    q, chi, depth = float(at.q[0, 0]), float(at.chi_perp[0, 0]), float(at.correlation_depth[0, 0])
    if math.isinf(q):
        effect = "the signal grows without bound"
    elif abs(chi - 1) < 1e-6:
        effect, depth = "critical" if q > 0 else "critical, shrinking", math.inf
    elif q == 0:
        effect = "the signal dies"
    else:
        effect = "chaotic: gradients explode" if chi > 1 else "ordered: gradients vanish"
    finite = (value if math.isfinite(value) else None for value in (q, chi, depth))
    return {"rule": label, "weight_var": weight_var, **dict(zip(("q", "chi_perp", "depth"), finite)), "effect": effect}


def _show(fn: Any, name: str, points: list[dict[str, Any]], why: str, right: float, top: float) -> None:
    import numpy as np
    from rich.table import Table
    from rich.text import Text

    from fanin import theory
    from fanin.report import Screen

    screen = Screen()
    columns, rows = min(72, max(24, screen.width - 12)), 18
    step = right / columns
    diagram = theory.phase_diagram(fn, np.linspace(step / 2, right - step / 2, columns), np.linspace(0, top, rows))
    screen.print(screen.text(f"{name}: order and chaos over (σ_w², σ_b²)", "bold"))
    screen.print()
    _draw(screen, diagram, right)
    screen.print()
    if why:
        screen.print(screen.text(f"No usable critical point. {why}", "bold yellow"))
    else:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
        for heading in ("", "σ_w²", "σ_b²", "gain σ_w", "q", "χ∥", ""):
            table.add_column(screen.text(heading), justify="left" if not heading else "right", no_wrap=True)
        for point in points:
            cells = [f"{point[key]:.6g}" for key in ("weight_var", "bias_var", "gain", "q", "chi_par")]
            label = "use" if point["use"] else "also critical"
            style = "bold" if point["use"] else ""
            table.add_row(Text(label, style), *(Text(cell, style) for cell in cells), str(point["stability"]))
        screen.print(table)
    screen.print()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for heading in ("rule, without biases", "σ_w²", "χ⊥", "depth", "effect"):
        table.add_column(
            screen.text(heading), justify="right" if "²" in heading or heading in ("χ⊥", "depth") else "left"
        )
    for label, weight_var in _RULES.items():
        entry = _landing(fn, label, weight_var)
        chi, depth = entry["chi_perp"], entry["depth"]
        table.add_row(
            label,
            f"{weight_var:.3g}",
            "-" if chi is None else f"{chi:.4g}",
            "-" if depth is None else f"{depth:.3g}",
            entry["effect"],
        )
    screen.print(table)
    screen.print()
    screen.print(
        screen.text(
            "χ⊥: factor of the gradient's second moment per layer; 1 on the critical line. depth: layers over which "
            "two inputs stay distinguishable. χ∥: factor of an error in the length q per layer. Biases have variance "
            "σ_b², weights σ_w²/fan_in.",
            "dim",
        )
    )


def _draw(screen: Screen, diagram: PhaseDiagram, right: float) -> None:
    from rich.text import Text

    glyphs = _LETTERS if screen.ascii else _BLOCKS
    kinds = [_kinds(diagram, row) for row in range(len(diagram.bias_var))]
    for row in reversed(range(len(kinds))):
        value = diagram.bias_var[row]
        labelled = row % 4 == 0 or row == len(kinds) - 1
        line = Text(f"{value:8.3g} " if labelled else " " * 9, style="dim")
        line.append("|" if screen.ascii else "│", style="dim")
        for kind in kinds[row]:
            line.append(glyphs.get(kind, _UNBOUNDED), style=_STYLES.get(kind, "magenta" if kind == "unbounded" else ""))
        screen.print(line)
    width = len(diagram.weight_var)
    corner, dash = ("+", "-") if screen.ascii else ("└", "─")
    screen.print(Text(" " * 9 + corner + dash * width, style="dim"))
    ticks = [" "] * (width + 12)
    for part in range(5):
        text = f"{right * part / 4:.3g}"
        start = 10 + round(width * part / 4) - (len(text) // 2 if part else 0)
        ticks[start : start + len(text)] = text
    screen.print(Text("".join(ticks).rstrip(), style="dim"))
    used = [kind for kind in (*glyphs, "unbounded") if any(kind in row for row in kinds)]
    words = {"critical": "critical line", "dies": "the signal dies", "unbounded": "it grows without bound"}
    words |= {"ordered, deep": f"ordered, over {_DEEP:g} layers", "chaotic, deep": f"chaotic, over {_DEEP:g} layers"}
    legend = Text(" " * 10)
    for kind in used:
        glyph = glyphs.get(kind, _UNBOUNDED)
        legend.append(glyph if glyph.strip() else "blank", style=_STYLES.get(kind, ""))
        legend.append(f" {words.get(kind, kind)}   ", style="dim")
    screen.print(legend, hang=10)


def _kinds(diagram: PhaseDiagram, row: int) -> list[str]:
    """What each cell of a row is; of the two cells around χ⊥ = 1 the nearer one is the line."""
    chi, q, depth = diagram.chi_perp[row], diagram.q[row], diagram.correlation_depth[row]
    found = []
    for i in range(len(chi)):
        if math.isinf(q[i]):
            found.append("unbounded")
        elif q[i] == 0 and chi[i] < 1:
            found.append("dies")
        else:
            phase = "chaotic" if chi[i] > 1 else "ordered"
            found.append(f"{phase}, deep" if depth[i] > _DEEP else phase)
    for i in range(len(chi) - 1):
        if math.isfinite(chi[i]) and chi[i] < 1 <= chi[i + 1]:
            found[i if 1 - chi[i] < chi[i + 1] - 1 else i + 1] = "critical"
        elif _ALMOST < chi[i] <= 1 and math.isinf(q[i + 1]):
            found[i] = "critical"
    return found
