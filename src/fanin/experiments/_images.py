"""Which images an experiment trains on, said in words."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from fanin.data import Dataset, load
from fanin.errors import DataError
from fanin.experiments._base import Settings

__all__ = ["images"]


def images(settings: Settings, *, train: int | None = None, test: int | None = 2000) -> tuple[Dataset, str]:
    """The images asked for as rows of pixels, or the embedded digits where they are not found.

    Args:
        settings: names the data set and its folder.
        train: the first so many training samples; all where None.
        test: the first so many test samples.

    Returns:
        The data set, and what it is, in words.

    Raises:
        DataError: if a folder was named and does not hold the files.
        UnknownNameError: if there is no data set of that name.
    """
    whole, remark = _whole(settings.data, settings.data_dir)
    data = whole.take(len(whole.train_x) if train is None else train, test).flat()
    words = f"{data.name}: {len(data.train_x):,} training and {len(data.test_x):,} test images{remark}"
    return replace(data, source=words), words


@lru_cache(maxsize=2)
def _whole(name: str, folder: str | None) -> tuple[Dataset, str]:
    try:
        return load(name, data_dir=folder), ""
    except DataError as error:
        if folder is not None:
            raise
        return load("digits"), f" (embedded; {error})"
