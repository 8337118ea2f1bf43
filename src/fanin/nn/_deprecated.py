"""torch's deprecated names without the underscore; each warns and calls the present one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from fanin.nn import _matrix, _scaled, _simple

__all__ = [
    "constant",
    "dirac",
    "eye",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "orthogonal",
    "sparse",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
]

P = ParamSpec("P")
R = TypeVar("R")


def _deprecated(function: Callable[P, R]) -> Callable[P, R]:
    name = function.__name__

    @functools.wraps(function)
    def old(*args: P.args, **kwargs: P.kwargs) -> R:
        warnings.warn(f"fanin.nn.{name[:-1]} is deprecated: use {name}.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    old.__name__ = name[:-1]
    old.__doc__ = f"Deprecated name of :func:`{name}`."
    return old


uniform = _deprecated(_simple.uniform_)
normal = _deprecated(_simple.normal_)
constant = _deprecated(_simple.constant_)
eye = _deprecated(_matrix.eye_)
dirac = _deprecated(_matrix.dirac_)
xavier_uniform = _deprecated(_scaled.xavier_uniform_)
xavier_normal = _deprecated(_scaled.xavier_normal_)
kaiming_uniform = _deprecated(_scaled.kaiming_uniform_)
kaiming_normal = _deprecated(_scaled.kaiming_normal_)
orthogonal = _deprecated(_matrix.orthogonal_)
sparse = _deprecated(_matrix.sparse_)
