"""From what the caller passes as fn (a name, a module, any callable) to a function on float64 arrays."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.theory._scalar import Scalar
from fanin.theory.activations import Activation, Gated, find, of_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanin.theory._quadrature import Array

__all__ = ["resolve"]

# Irregular on purpose: no symmetry of the points may hide a dependence on order or neighbours.
PROBE = np.array([-3.07, 1.31, -0.46, 2.72, 0.013, -1.9, 0.77, -2.33, 3.61, -0.09, 1.93, -1.17, 0.41, 4.4, -4.21, 0.97])


def resolve(fn: Any) -> Activation | Gated | Scalar:
    """A registered activation where ``fn`` names or is one, else a probed callable.

    Args:
        fn: a name such as "gelu" or "leaky_relu(0.2)", an Activation, an ``nn.Module``, or a callable that maps NumPy
            arrays, torch tensors or floats entry by entry.

    Raises:
        UnknownNameError: for a name that is not registered.
        InputError: if the callable is not elementwise, is random, fails, or returns NaN; the text says which.
    """
    if isinstance(fn, str):
        return find(fn)
    if isinstance(fn, (Activation, Gated, Scalar)):
        return fn
    if isinstance(fn, type) and issubclass(fn, (Activation, Gated)):
        return fn()
    if not callable(fn):
        raise InputError.of("fn", fn, "a name, an nn.Module or a callable that maps arrays entry by entry")
    if "torch" in sys.modules and isinstance(fn, sys.modules["torch"].nn.Module):
        known = of_module(fn)
        if known is not None:
            return known
    return _probed(fn)


def _probed(fn: Callable[..., Any]) -> Scalar:
    name = getattr(fn, "__name__", None) or type(fn).__name__
    states = _random_states()
    try:
        value, rounding = _adapter(fn, name)
        _check_elementwise(value, name, tolerance=1e3 * rounding)
    finally:
        _restore_random(states)
    return Scalar(name, value, None, (), _limits(value), rounding)


def _adapter(fn: Callable[..., Any], name: str) -> tuple[Callable[[Array], Array], float]:
    """The first way of calling ``fn`` that returns as many numbers as it was given, and its rounding error."""
    failures = []
    for kind, make in (("arrays", _on_arrays), ("torch tensors", _on_tensors), ("floats", _on_floats)):
        try:
            call = make(fn)
            with np.errstate(all="ignore"):
                result = call(PROBE)
        except Exception as error:  # the caller's code: any failure means this way does not fit
            failures.append(
                f"with {kind}: {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
            )
            continue
        if result.shape != PROBE.shape:
            raise InputError(
                f"fn: {name} is not elementwise: it maps shape {PROBE.shape} to {result.shape}; "
                "expected the same shape."
            )
        if result.dtype.kind not in "fiub":
            failures.append(f"with {kind}: it returns {result.dtype}")
            continue
        if result.dtype.kind == "f" and result.dtype.itemsize < 4:
            raise InputError(f"fn: {name} computes in 16 bits or less; expected float32 or float64.")
        exact = result.dtype.kind != "f" or result.dtype.itemsize >= 8
        return _as_float64(call), 2.3e-16 if exact else float(np.finfo(result.dtype).eps)
    raise InputError(f"fn: {name} could not be called: " + "; ".join(failures) + ".")


def _as_float64(call: Callable[[Array], Any]) -> Callable[[Array], Array]:
    return lambda x: np.asarray(call(x), dtype=np.float64)


def _on_arrays(fn: Callable[..., Any]) -> Callable[[Array], Any]:
    if "torch" in sys.modules and isinstance(fn, sys.modules["torch"].nn.Module):
        raise TypeError("a module takes tensors")
    return lambda x: np.asarray(fn(x.copy()))


def _on_floats(fn: Callable[..., Any]) -> Callable[[Array], Any]:
    return lambda x: np.array([float(fn(float(entry))) for entry in x.reshape(-1)]).reshape(x.shape)


def _on_tensors(fn: Callable[..., Any]) -> Callable[[Array], Any]:
    import torch

    if isinstance(fn, torch.nn.Module):
        fn = copy.deepcopy(fn).double().eval()  # the caller's module keeps its dtype, mode and buffers

    def call(x: Array) -> Any:
        with torch.no_grad():
            result = fn(torch.from_numpy(np.array(x, dtype=np.float64)))
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"it returns {type(result).__name__}")
        return (result.half() if result.dtype == torch.bfloat16 else result).cpu().numpy()

    return call


def _check_elementwise(value: Callable[[Array], Array], name: str, *, tolerance: float) -> None:
    with np.errstate(all="ignore"):
        whole = value(PROBE)
        again = value(PROBE)
        order = np.argsort(np.cos(7 * PROBE))
        tests = {
            "permuting the inputs does not permute the outputs": (PROBE[order], whole[order]),
            "reshaping the input changes the outputs": (PROBE.reshape(4, 4), whole.reshape(4, 4)),
            "an output changes with the other inputs": (PROBE[3:8], whole[3:8]),
            "one number alone gives another output": (PROBE[5:6], whole[5:6]),
        }
    if np.isnan(whole).any():
        where = float(PROBE[np.isnan(whole)][0])
        raise InputError(f"fn: {name} returns NaN at x = {where:g}; expected a function of all reals.")
    if not np.array_equal(whole, again, equal_nan=True):
        raise InputError(f"fn: {name} is random: two calls with the same input differ.")
    for reason, (given, expected) in tests.items():
        try:
            with np.errstate(all="ignore"):
                found = value(given)
        except Exception as error:  # the caller's code
            raise InputError(f"fn: {name} is not elementwise: it fails for shape {given.shape}: {error}") from error
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=tolerance, atol=tolerance):
            raise InputError(f"fn: {name} is not elementwise: {reason}.")


def _limits(value: Callable[[Array], Array]) -> tuple[float, float]:
    """Limits at ±∞ as far as x = ±64 shows them; NaN where the function neither settles nor grows."""
    limits = []
    for sign in (-1.0, 1.0):
        with np.errstate(all="ignore"):
            far = value(sign * np.array([24.0, 32.0, 47.0, 64.0]))
        settled = np.isfinite(far).all() and np.ptp(far) <= 1e-6 * max(1.0, float(np.abs(far).max()))
        limits.append(float(far[-1]) if settled else sign * float("inf"))
    return limits[0], limits[1]


def _random_states() -> tuple[Any, Any]:
    torch = sys.modules.get("torch")
    return np.random.get_state(), torch.get_rng_state() if torch else None


def _restore_random(states: tuple[Any, Any]) -> None:
    np.random.set_state(states[0])
    torch = sys.modules.get("torch")
    if torch and states[1] is not None:
        torch.set_rng_state(states[1])
