"""The shape of the code: one idea per file, plug-ins that do not know their siblings, no machine's paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "fanin"
PLUGIN_FOLDERS = (
    "experiments",
    "initializers",
    "schemes",
    "theory/activations",
    "checks",
    "slots",
    "cli",
    "report/figures",
)


def modules(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_plugins_never_import_a_sibling(folder: str) -> None:
    package = "fanin." + folder.replace("/", ".")
    siblings = {f"{package}.{path.stem}" for path in modules(SOURCE / folder)}
    assert siblings, f"no plug-ins in {folder}"
    for path in modules(SOURCE / folder):
        assert not imported(path) & siblings, f"{path.relative_to(ROOT)} imports a sibling; share through _base.py"


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_every_plugin_has_its_line(folder: str) -> None:
    listed = (SOURCE / folder / "__init__.py").read_text()
    for path in modules(SOURCE / folder):
        assert re.search(rf"\b{path.stem}\b", listed), (
            f"{folder}/__init__.py lacks the line for {path.name}: "
            f"from fanin.{folder.replace('/', '.')}.{path.stem} import …"
        )


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines: split it by idea"


def test_nothing_heavy_is_imported_early() -> None:
    """``import fanin``, the rule pages and the records come without torch."""
    code = (
        "import sys, fanin, fanin.checks, fanin.signals, fanin.graph, fanin.errors, fanin.cli\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'scipy' not in sys.modules, 'scipy was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_paths_of_any_machine() -> None:
    """Nothing in the tree points at somebody's disk."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    pattern = re.compile(r"(^|[^\w.])/(home|work|Users|root)/\w")
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".cpp", ".h", ".txt", ""} and path.is_file():
            found = pattern.search(path.read_text(errors="ignore"))
            assert not found, f"{name}: {found and found.group()!r}"
