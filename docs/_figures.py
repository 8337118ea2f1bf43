"""Write docs/figures.md from the registry: ``python docs/_figures.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from fanin.report.figures import REGISTRY, Kind

TARGET = Path(__file__).with_name("figures.md")

HEAD = """# Figures

Generated from the registry by `docs/_figures.py`; do not edit.

```python
report = fanin.check(model, x, target=y)
report.save("r.html")                        # everything on one page that needs no network
report.figure("gradients").save("g.svg")     # one picture: .svg .png .pdf, .json (Vega-Lite 5), .html
report.figure("updates", lr=0.1)             # in a notebook the last line of a cell is shown

from fanin.report.figures import figure
figure("gradients", {"he": report_a, "xavier": report_b})    # several starts in one picture
figure("race", race, metric="test_accuracy")
figure("phase", "tanh", points={"mine": (2.5, 0.1)})         # (σ_w², σ_b²)
```

Pictures need the extra `figures` (`pip install 'fanin[figures]'`); the numbers (`.data`, `.table()`), the specification
(`.spec()`) and the page do not. Every title states what the numbers show; every figure comes in `theme="light"` and
`theme="dark"`, tells its series apart by colour, dash and shape, and has a table behind it.

| name | shows | reads | of a report |
| --- | --- | --- | --- |
"""

OPTIONS = """
## Arguments

"""

TAIL = """
## A figure of your own

One file in `report/figures/` with `data(records)` → plain JSON values (`title`, `subtitle`, `source`, `rows`),
`draw(data, theme)` → a Vega-Lite 5 specification, `table(data)`, `example()`, the line `KIND = REGISTRY.add(…)`, and
one line in `report/figures/__init__.py`. `_base.py` holds the shared parts. The tests walk the registry and check the
new figure unasked.

## TensorBoard

`report.to_tensorboard("runs/start")`, or with a `SummaryWriter` of your own: rms and histogram of every place
forward and backward, histograms of the weights, the findings as text, under the tag `fanin/`.
"""


def text() -> str:
    """The whole page."""
    rows = [
        f"| `{kind.name}` | {kind.shows} | {kind.takes} | {'yes' if kind.of_report else ''} |"
        for kind in REGISTRY.values()
    ]
    return HEAD + "\n".join(rows) + "\n" + OPTIONS + "\n".join(map(_options, REGISTRY.values())) + TAIL


def _options(kind: Kind) -> str:
    documented = inspect.cleandoc(kind.data.__doc__ or "")
    names = ", ".join(inspect.signature(kind.data).parameters)
    return f"### `{kind.name}({names})`\n\n```text\n{documented}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
