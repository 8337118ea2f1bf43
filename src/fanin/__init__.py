"""fanin: check, plan and write the initial weights of any PyTorch model.

    report = fanin.check(model, x, target=y)     what is wrong with this start, where, and what to do
    recipe = fanin.plan(model, x)                what each parameter should start as, and why; nothing written
    fanin.init_(model, x, seed=0)                plan + write
    fanin.theory.gain("gelu")                    exact gains and critical points for any activation

Everything heavy is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fanin import checks as checks
    from fanin import data as data
    from fanin import errors as errors
    from fanin import fans as fans
    from fanin import initializers as initializers
    from fanin import keys as keys
    from fanin import mup as mup
    from fanin import nn as nn
    from fanin import schemes as schemes
    from fanin import slots as slots
    from fanin import theory as theory
    from fanin.api import assert_healthy as assert_healthy
    from fanin.api import check as check
    from fanin.api import init_ as init_
    from fanin.api import plan as plan
    from fanin.api import rewire_ as rewire_
    from fanin.checks import Finding as Finding
    from fanin.compare import compare as compare
    from fanin.initializers import Initializer as Initializer
    from fanin.keys import Key as Key
    from fanin.materialize import fill_ as fill_
    from fanin.materialize import materialize as materialize
    from fanin.recipe import Recipe as Recipe
    from fanin.recorder import fast as fast
    from fanin.report import Report as Report
    from fanin.trace import trace as trace

_MODULES = (
    "checks",
    "compare",
    "data",
    "errors",
    "fans",
    "initializers",
    "keys",
    "mup",
    "nn",
    "schemes",
    "slots",
    "theory",
    "trace",
    "materialize",
)
_NAMES = {
    "Finding": "fanin.checks",
    "Initializer": "fanin.initializers",
    "Key": "fanin.keys",
    "Recipe": "fanin.recipe",
    "Report": "fanin.report",
    "assert_healthy": "fanin.api",
    "check": "fanin.api",
    "fast": "fanin.recorder",
    "fill_": "fanin.materialize",
    "init_": "fanin.api",
    "plan": "fanin.api",
    "rewire_": "fanin.api",
}

__all__ = [  # noqa: RUF022 - the order of a first visit
    "check",
    "assert_healthy",
    "plan",
    "init_",
    "rewire_",
    "fill_",
    "fast",
    "materialize",
    "trace",
    "compare",
    "theory",
    "initializers",
    "nn",
    "schemes",
    "mup",
    "checks",
    "slots",
    "fans",
    "keys",
    "data",
    "errors",
    "Finding",
    "Initializer",
    "Key",
    "Recipe",
    "Report",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fanin.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fanin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
