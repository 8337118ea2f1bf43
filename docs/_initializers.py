"""Write docs/initializers.md from the registry: ``python docs/_initializers.py``."""

from __future__ import annotations

import math
from pathlib import Path

from fanin.initializers import REGISTRY, Initializer

TARGET = Path(__file__).with_name("initializers.md")

HEAD = """# Initializers

Generated from the registry by `docs/_initializers.py`; do not edit.

Each is a frozen value with exact moments. The numbers are those of one instance on one tensor: mean and standard
deviation of an entry, and the bounds that no entry exceeds.

| name | what it is | formula | source |
| --- | --- | --- | --- |
"""

MOMENTS = """
## Exact moments

| instance | shape | fan_in | fan_out | mean | std | support |
| --- | --- | --- | --- | --- | --- | --- |
"""


def text() -> str:
    """The whole page."""
    cells = [(f"`{cls.__name__}`", _sentence(cls), f"`{_cell(cls.formula)}`", cls.source) for cls in REGISTRY.values()]
    names = ["| " + " | ".join(row) + " |" for row in cells]
    rows = [row for cls in REGISTRY.values() for row in _moments(cls)]
    return HEAD + "\n".join(names) + "\n" + MOMENTS + "\n".join(rows) + "\n"


def _sentence(cls: type[Initializer]) -> str:
    first = (cls.__doc__ or "").split("\n\n")[0]
    return _cell(" ".join(first.split()))


def _cell(value: str) -> str:
    return value.replace("|", "\\|")


def _moments(cls: type[Initializer]) -> list[str]:
    rows = []
    for initializer, shape, fans in cls.examples():
        low, high = initializer.support(fans, shape)
        bounds = f"[{_number(low)}, {_number(high)}]"
        numbers = [fans.fan_in, fans.fan_out, initializer.mean(fans, shape), initializer.std(fans, shape)]
        cells = [f"`{_cell(repr(initializer))}`", str(shape), *map(_number, numbers), bounds]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value + 0.0:.6g}".replace("-", "−")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
