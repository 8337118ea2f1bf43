"""Write docs/rules.md from the docstrings of the rules: ``python docs/_rules.py``."""

from __future__ import annotations

import re
from pathlib import Path

from fanin.checks import Rule, rules

TARGET = Path(__file__).with_name("rules.md")

HEAD = """# Rules

Generated from the docstrings by `docs/_rules.py`; do not edit. `fanin explain F101` prints the same page.

A rule that lacks its evidence says *skipped*, never *passed*. Choose with `select=` and `ignore=` (codes or their
beginnings), and set limits with `thresholds={"F101.decades": 3}`.

| code | name | category | severity | what |
| --- | --- | --- | --- | --- |
"""


def text() -> str:
    """The whole page."""
    rows = [
        f"| [{r.code}](#{r.code.lower()}) | {r.name} | {r.category} | {r.severity} | {_cell(r.title())} |"
        for r in rules()
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(_section(rule) for rule in rules())


def _row(rule: type[Rule]) -> str:
    code = f"[{rule.code}](#{rule.code.lower()})"
    return f"| {code} | {rule.name} | {rule.category} | {rule.severity} | {_cell(rule.title())} |"


def _cell(value: str) -> str:
    return value.replace("|", "\\|")


def _section(rule: type[Rule]) -> str:
    """The docstring as Markdown: section names bold, examples and thresholds as blocks."""
    _, _, body = rule.explanation().partition("\n")
    parts = re.split(r"^(\w[\w ]*):$", body, flags=re.MULTILINE)
    lines = [f"\n## {rule.code}\n\n**{rule.name}**. {rule.title()}\n"]
    for name, content in zip(parts[1::2], parts[2::2]):
        lines.append(f"\n**{name}**\n\n{_block(name, content)}\n")
    return "".join(lines)


def _block(name: str, content: str) -> str:
    text = "\n".join(line.removeprefix("    ") for line in content.strip("\n").splitlines()).strip()
    if name == "Example":
        return f"```python\n{text}\n```"
    if name == "Thresholds" and text != "None.":
        flowing = re.sub(r"\n {2,}", " ", text)
        return "\n".join(f"- {line}" for line in flowing.splitlines())
    return text


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
