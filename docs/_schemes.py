"""Write docs/schemes.md from the registry: ``python docs/_schemes.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from fanin.schemes import REGISTRY, Scheme, plan
from fanin.slots import find
from fanin.trace import trace

TARGET = Path(__file__).with_name("schemes.md")

HEAD = """# Schemes

Generated from the registry by `docs/_schemes.py`; do not edit. `fanin schemes` prints the list.

A scheme decides for every parameter what it starts as, and says why; nothing is written until asked.

```python
recipe = fanin.plan(model, x, scheme="gpt2")   # recipe.show() prints a line and a reason for each parameter
recipe.notes                                   # what the forward pass must be like, where the scheme needs more
fanin.init_(model, x, scheme="gpt2", seed=0)   # plan + write
```

Residual branches, their depth and ends, attention's queries, keys and values, gates, heads and the maps that make a
condition are found in the run of a batch, not by names of attributes. A scheme that does not fit a model says what it
looked for. Every scheme takes `overrides={name or pattern: Initializer}`, `keep=[…]` and `only=[…]`.

| scheme | what it does | looks for | needs | source |
| --- | --- | --- | --- | --- |
"""

NEEDS = {"graph": "inputs (traced)", "batch": "a batch like the training data", "targets": "targets"}


def text() -> str:
    """The whole page."""
    rows = [
        "| "
        + " | ".join(
            (
                f"[`{name}`](#{name})",
                _cell(cls.title),
                _cell(cls.looks_for or "any model"),
                ", ".join(NEEDS[need] for need in cls.needs) or "inputs help",
                _cell(cls.source),
            )
        )
        + " |"
        for name, cls in REGISTRY.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(_section(name, cls) for name, cls in REGISTRY.items())


def _section(name: str, cls: type[Scheme]) -> str:
    doc = inspect.getdoc(cls) or ""
    body, _, source = doc.partition("\nSource:")
    about, _, options = body.partition("\nArgs:\n")
    lines = [f"\n## {name}\n", about.strip()]
    if options.strip():
        lines += ["", "**Options**", "", *_options(options)]
    lines += ["", f"Source: {' '.join(source.split())}"]
    example = cls.example()
    if example is not None:
        lines += ["", *_lines(name, *example)]
    return "\n".join(lines) + "\n"


def _options(text: str) -> list[str]:
    found: list[str] = []
    for line in inspect.cleandoc(text).splitlines():
        if line.startswith(" "):
            found[-1] += " " + line.strip()
        elif line:
            option, _, what = line.partition(": ")
            found.append(f"- `{option}`: {what}")
    return found


def _lines(name: str, model: object, inputs: object, target: object) -> list[str]:
    """A few lines of the plan of the scheme's own example: one for each reason, and the notes."""
    graph = trace(model, inputs, statistics=False).graph
    recipe = plan(name, find(model, graph), graph, target=target, model=model, inputs=inputs)
    seen = {line.reason: line for line in reversed(recipe.lines) if line.initializer.to_json()["name"] != "Ones"}
    chosen = sorted(seen.values(), key=lambda line: list(recipe).index(line.name))[:7]
    rows = ["| parameter of a small example | shape | std | reason |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{line.name}` | {'×'.join(map(str, line.shape)) or 'scalar'} | {line.std:.4g} | {_cell(line.reason)} |"
        for line in chosen
    ]
    return rows + [part for note in recipe.notes for part in ("", f"> {note}")]


def _cell(value: str) -> str:
    return value.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
