"""The user's own objects and data, named as ``pkg.mod:name`` or ``file.py:name``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanin.data._dataset import Batch
from fanin.errors import DataError, InputError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["first_batch", "iterate", "locate"]

_FORM = "'pkg.mod:name' or 'file.py:name'"


def locate(text: str) -> Any:
    """The object that a text names.

    Args:
        text: ``pkg.mod:name`` (importable, so the folder must be on ``sys.path``) or ``path/file.py:name``; the name
            may have dots.

    Returns:
        The object, not called.

    Raises:
        InputError: if the text is malformed, the module or file does not exist, or it has no such name. Where the
            user's own code raised while it was imported, that exception is the cause.

    Example:
        >>> locate("math:sqrt")(9.0)
        3.0
    """
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise InputError.of("factory", text, f"{_FORM}, such as 'model.py:make_model'")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_path(place)
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise InputError(f"{place} has no {name!r}; it has {_names(module)}.")
        value = getattr(value, part)
    return value


def _names(module: ModuleType) -> str:
    """What the module defines itself, not what it imports; shortened."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return (", ".join(own[:12]) + (", …" if len(own) > 12 else "")) or "no functions or classes of its own"


def _from_path(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only where the named module itself (or a parent of it) is what is missing; else the user's file is at fault.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = f" For a file write {name}.py:name." if Path(f"{name}.py").is_file() else ""
            raise InputError(f"no module named {error.name!r} (factory {_FORM}).{hint}") from None
        raise InputError(f"{name}: importing it raised {type(error).__name__}: {error}") from error
    except (Exception, SystemExit) as error:  # a script without a main guard may leave
        raise InputError(f"{name}: importing it raised {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: no such file (looked in {path.absolute().parent}).")
    # Not the bare stem, so that a file called json.py cannot stand in for the standard library.
    name = f"_fanin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python source file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _on_path(path.absolute().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script without a main guard may leave
        del sys.modules[name]
        raise InputError(f"{path}: importing it raised {type(error).__name__}: {error}") from error
    return module


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """A script finds its neighbours, as it does under ``python file.py``."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def first_batch(made: Any, size: int | None, source: str) -> Batch:
    """The first batch of whatever a factory returned.

    Args:
        made: (inputs, target); a dict of keyword arguments, whose entry "target" is the target; one array or tensor;
            or an iterable (a DataLoader) of these.
        size: keep that many samples of arrays and tensors; None keeps all.
        source: named in errors.
    """
    sample = next(iterate(made, source))
    inputs, target = _pair(sample, source)
    cut = _cutter(size)
    return Batch(_each(inputs, cut), None if target is None else _each(target, cut), source)


def iterate(made: Any, source: str) -> Iterator[Any]:
    """The batches in what a factory returned; a single one is an iterator of one.

    Raises:
        DataError: if it is empty or nothing of the kind.
    """
    if (
        isinstance(made, (tuple, Mapping))
        or (isinstance(made, list) and made and _is_array(made[0]))
        or _is_array(made)
    ):
        yield made
        return
    try:
        batches = iter(made)
    except TypeError:
        raise DataError(
            f"{source}: returned {type(made).__name__}; expected (inputs, target), a dict of arrays, an array, "
            "or an iterable of these such as a DataLoader."
        ) from None
    empty = True
    for entry in batches:
        empty = False
        yield entry
    if empty:
        raise DataError(f"{source}: returned no batch.")


def _pair(sample: Any, source: str) -> tuple[Any, Any]:
    if isinstance(sample, Mapping):
        inputs = dict(sample)
        target = inputs.pop("target", None)
        return inputs, target
    if isinstance(sample, (tuple, list)):
        if len(sample) == 1:
            return sample[0], None
        if len(sample) == 2:
            return tuple(sample[0]) if isinstance(sample[0], list) else sample[0], sample[1]
        raise DataError(
            f"{source}: a batch of {len(sample)} entries; expected (inputs, target), where inputs may itself be a "
            "tuple of arguments or a dict."
        )
    return sample, None


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(entry, change) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_each(entry, change) for entry in value)
    return change(value) if _is_array(value) else value


def _cutter(size: int | None) -> Any:
    from fanin.data._dataset import tensor
    from fanin.data._npz import as_model_input

    def cut(value: Any) -> Any:
        if not hasattr(value, "detach"):  # numpy → torch; tensors stay as they are
            value = tensor(as_model_input(value))
        return value if size is None or value.ndim == 0 else value[:size]

    return cut
