"""load and batch: any data by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.data._dataset import Batch, Dataset
from fanin.data._factory import first_batch, iterate, locate
from fanin.data._images import digits, idx_images
from fanin.data._npz import dataset_of, npz
from fanin.data._text import alice
from fanin.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    import os

__all__ = ["NAMES", "batch", "load"]

NAMES = ("digits", "alice", "mnist", "fashion-mnist")
"""Data sets known by name; digits and alice come with the package."""

_LARGEST = 4 << 30
"""Bytes that load() gathers from a factory before it refuses: an endless loader must not fill the memory."""


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set.

    ``digits`` (1,437 + 360 images of 8×8, in the package), ``mnist`` and ``fashion-mnist`` (from local IDX files) are
    standardised by the mean and standard deviation of their training part. ``alice`` (in the package) is a text as
    windows of 64 characters; each one's target is the character that follows. A user's own arrays keep their values.

    Args:
        name: "digits", "alice", "mnist", "fashion-mnist", a ``path.npz``, or ``pkg.mod:factory`` /
            ``file.py:factory``: a callable without arguments that returns a Dataset, (x, y), (x, y, x_test, y_test),
            or an iterable of batches (x, y).
        data_dir: folder with the IDX files, as ``DIR/mnist/*.gz``, ``DIR/MNIST/raw/*`` or ``DIR/*``; default: the
            environment variable FANIN_DATA, then ``./data``.

    Raises:
        DataError: if a file is missing, truncated or corrupt; the text says which, where it looked and how to get it.
        UnknownNameError: if the name is neither known nor a file nor a factory.

    Example:
        >>> load("digits")
        Dataset('digits', 1,437 + 360 samples of (1, 8, 8), 10 classes)

    Source: digits: Alpaydin & Kaynak, 1998; mnist: LeCun, Cortes & Burges; fashion-mnist: Xiao, Rasul & Vollgraf, 2017;
    alice: Carroll, 1865.
    """
    if name == "digits":
        return digits()
    if name == "alice":
        return alice()
    if name in ("mnist", "fashion-mnist"):
        return idx_images(name, data_dir)
    if name.endswith(".npz"):
        return npz(Path(name))
    if ":" in name:
        return _gather(_call(name), name)
    raise UnknownNameError("data set", name, (*NAMES, "path.npz", "pkg.mod:factory"))


def batch(name: str, size: int | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> Batch:
    """One batch of training samples, to check a model on.

    Args:
        name: as in :func:`load`; a factory may also return a dict of keyword arguments (its entry "target" is the
            target), a tuple of positional arguments as inputs, or a single array.
        size: number of samples; default 256, or for a factory all of its first batch.
        data_dir: as in :func:`load`.

    Returns:
        A Batch of tensors.

    Raises:
        DataError: as in :func:`load`.

    Example:
        >>> batch("digits", 64).inputs.shape
        torch.Size([64, 1, 8, 8])
    """
    if ":" not in name or name.endswith(".npz"):
        # Drawn, not the first: files are often ordered by class or by writer.
        return load(name, data_dir=data_dir).batch(256 if size is None else size, seed=0)
    made = _call(name)
    if isinstance(made, Dataset):
        return made.batch(256 if size is None else size, seed=0)
    if isinstance(made, tuple) and len(made) == 4:
        made = made[:2]
    return first_batch(made, size, name)


def _call(name: str) -> Any:
    factory = locate(name)
    if not isinstance(factory, Callable):  # type: ignore[arg-type]
        return factory
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise DataError(f"{name}: it raised {type(error).__name__}: {error}") from error


def _gather(made: Any, source: str) -> Dataset:
    if isinstance(made, Dataset):
        return made
    if isinstance(made, tuple) and len(made) in (2, 4) and all(hasattr(entry, "shape") for entry in made):
        parts: list[np.ndarray | None] = [np.asarray(entry) for entry in made]
        return dataset_of([*parts, None, None][:4], source, source)
    xs, ys, size = [], [], 0
    for sample in iterate(made, source):
        if not (isinstance(sample, (tuple, list)) and len(sample) == 2 and hasattr(sample[0], "shape")):
            raise DataError(f"{source}: a batch of {type(sample).__name__}; to train on it, batches must be (x, y).")
        x, y = np.asarray(sample[0]), np.asarray(sample[1])
        size += x.nbytes + y.nbytes
        if size > _LARGEST:
            raise DataError(f"{source}: more than {_LARGEST >> 30} GiB; does the iterable end?")
        xs.append(x)
        ys.append(y)
    try:
        return dataset_of([np.concatenate(xs), np.concatenate(ys), None, None], source, source)
    except ValueError as error:
        raise DataError(f"{source}: its batches do not fit together ({error}).") from error
