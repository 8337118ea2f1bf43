"""Run the benchmarks of this folder: ``python -m benchmarks [NAME [ARGUMENT ...] ...]``.

Words after a NAME, up to the next one, are its arguments. Without a name every file runs; folders, which take longer,
run when they are named: ``python -m benchmarks training mlp --quick``.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path


def machine() -> str:
    """Processor, cores, load, versions."""
    import numpy
    import torch

    from fanin.keys import backends

    processor = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        lines = (line.partition(":") for line in listing.read_text().splitlines())
        processor = next((value.strip() for name, _, value in lines if name.strip() == "model name"), processor)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{processor}, {os.cpu_count()} processors, load {load:.1f}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, NumPy {numpy.__version__}; fanin backends {', '.join(backends())}"
    )


def named(words: list[str], files: list[str], packages: list[str]) -> list[tuple[str, list[str]]]:
    """Benchmarks and their arguments, from the words of a command line; files take options only."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word in (*files, *packages):
            found.append((word, []))
        elif not found or (found[-1][0] in files and not found[-1][1] and not word.startswith("-")):
            sys.exit(f"unknown: {word}; there are {', '.join([*files, *packages])}")
        else:
            found[-1][1].append(word)
    return found


def main() -> None:
    """Run the named benchmarks, or all files."""
    folder = Path(__file__).parent
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    packages = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    chosen = named(sys.argv[1:] or files, files, packages)
    print(machine())
    for name, arguments in chosen:
        print(f"\n=== {name}", flush=True)
        sys.argv = [str(folder / name), *arguments]
        importlib.import_module(f"{__package__ or 'benchmarks'}.{name}").main()


if __name__ == "__main__":
    main()
