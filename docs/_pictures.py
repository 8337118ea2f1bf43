"""Draw the README's picture: a real check of a real network, as the terminal shows it.

python docs/_pictures.py
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import nn

import fanin
from fanin.data import load

HERE = Path(__file__).parent
WIDTH = 92


def network() -> nn.Module:
    """Twelve hidden layers, as many people would write them."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(64, 100), nn.ReLU()]
    for _ in range(11):
        layers += [nn.Linear(100, 100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def main() -> None:
    """Write docs/check.svg."""
    digits = load("digits")
    x, y = torch.from_numpy(digits.train_x[:256]).flatten(1), torch.from_numpy(digits.train_y[:256])
    model = network()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")

    def shown(line: str, report: fanin.Report) -> None:
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        report.show(width=WIDTH, file=stream)
        console.print(Text(">>> ", style="green") + Text(line, style="bold"))
        console.print(Text.from_ansi(stream.getvalue().rstrip()))
        console.print()

    shown("fanin.check(model, x, y).show()", fanin.check(model, x, y))
    fanin.init_(model, x, y)
    console.print(Text(">>> ", style="green") + Text("fanin.init_(model, x, y)", style="bold"))
    shown("fanin.check(model, x, y).show()", fanin.check(model, x, y))
    picture = console.export_svg(title="fanin")
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # no request for a font leaves the page
    (HERE / "check.svg").write_text(picture)


if __name__ == "__main__":
    main()
