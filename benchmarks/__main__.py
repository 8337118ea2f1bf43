"""Run every benchmark of this folder: ``python -m benchmarks [NAME ...]``."""

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


def main() -> None:
    """Run the named benchmarks, or all."""
    folder = Path(__file__).parent
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    names = sys.argv[1:] or known
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    print(machine())
    for name in names:
        print(f"\n=== {name}", flush=True)
        sys.argv = [str(folder / f"{name}.py")]
        importlib.import_module(f"{__package__ or 'benchmarks'}.{name}").main()


if __name__ == "__main__":
    main()
