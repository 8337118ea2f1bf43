"""The user's own arrays from a .npz file."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.data._dataset import Dataset
from fanin.data._samples import Samples
from fanin.errors import DataError, InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["as_model_input", "npz"]

_SPELLINGS = (
    ("x_train", "y_train", "x_test", "y_test"),  # keras' mnist.npz
    ("train_x", "train_y", "test_x", "test_y"),  # our own names
    ("x", "y", "x_test", "y_test"),
    ("X", "y", "X_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
    ("images", "labels", "test_images", "test_labels"),
)


def npz(path: Path) -> Dataset:
    """Arrays of a .npz file, values as they are: what is checked is what the model would be fed.

    Keys: x_train, y_train, x_test, y_test; or train_x …; or x, y; or images, labels. Targets and the test part may be
    absent.

    Raises:
        DataError: if the file is missing, damaged, needs pickle, or has no array of a known name.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (looked in {path.absolute().parent}).") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(f"{path}: not a readable .npz file of plain arrays ({error}).") from error
    for spelling in _SPELLINGS:
        if spelling[0] in arrays:
            parts = [arrays.get(key) for key in spelling]
            break
    else:
        starts = ", ".join(f"{x} (and {y})" for x, y, *_ in _SPELLINGS)
        raise DataError(f"{path}: arrays {', '.join(arrays) or 'none'}; expected one of {starts}.")
    return dataset_of(parts, path.name, str(path))


def dataset_of(parts: list[Any], name: str, source: str) -> Dataset:
    """A Dataset of (train_x, train_y, test_x, test_y), any but the first of which may be None."""
    train_x, train_y, test_x, test_y = (None if part is None else _ready(part) for part in parts)
    if train_x is None or len(train_x.shape) == 0 or len(train_x) == 0:
        raise DataError(f"{source}: no training samples.")
    none = np.zeros(0, np.int64)
    labels, test_labels = (none if y is None else _squeeze(y) for y in (train_y, test_y))
    try:
        return Dataset(name, train_x, labels, train_x[:0] if test_x is None else test_x, test_labels, source=source)
    except InputError as error:
        raise DataError(f"{source}: {error}") from None


def as_model_input(values: np.ndarray) -> np.ndarray:
    """Floats, bytes and booleans as float32 (values unchanged); other integers, such as token ids, as int64.

    Raises:
        DataError: for text, objects, dates and complex numbers.
    """
    kind = values.dtype
    if np.issubdtype(kind, np.floating) or kind in (np.uint8, np.bool_):
        return values.astype(np.float32)
    if np.issubdtype(kind, np.integer):
        return values.astype(np.int64)
    raise DataError(f"an array of dtype {kind} and shape {values.shape}; expected numbers.")


def _ready(part: Any) -> Any:
    """Beside other inputs a boolean array is a mask, which is no number to a model."""
    if not isinstance(part, Samples):
        return as_model_input(part)
    return part.map(lambda values: values if values.dtype == np.bool_ else as_model_input(values))


def _squeeze(labels: np.ndarray) -> np.ndarray:
    """Classes kept as a column (samples, 1) become (samples,), which is what a cross-entropy takes."""
    if labels.ndim == 2 and labels.shape[1] == 1 and np.issubdtype(labels.dtype, np.integer):
        return labels[:, 0]
    return labels
