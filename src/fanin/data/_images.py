"""The image sets known by name: the embedded digits, and MNIST and Fashion-MNIST from a local copy."""

from __future__ import annotations

import gzip
import os
from importlib import resources
from pathlib import Path

import numpy as np

from fanin.data._dataset import Dataset
from fanin.data._idx import read_idx
from fanin.errors import DataError

__all__ = ["digits", "idx_images"]

DIGITS_TRAIN = 1437
"""Four fifths of 1,797. The file is ordered by writer, so the last 360 images are by writers not trained on (apart from
one who straddles the border): a harder and more honest test than a shuffled split."""

_STANDARD_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# name → (folder spellings: ours and torchvision's, where to get it)
_SETS = {
    "mnist": (
        ("mnist", "MNIST"),
        "torchvision.datasets.MNIST(DIR, download=True) writes DIR/MNIST/raw",
    ),
    "fashion-mnist": (
        ("fashion-mnist", "FashionMNIST", "fashion_mnist"),
        "torchvision.datasets.FashionMNIST(DIR, download=True) writes DIR/FashionMNIST/raw, "
        "and https://github.com/zalandoresearch/fashion-mnist has the files",
    ),
}


def digits() -> Dataset:
    """The embedded UCI optical digits: 1,437 training and 360 test images of 8×8 pixels, standardised.

    Source: Alpaydin & Kaynak, 1998 (CC BY 4.0).
    """
    packed = resources.files("fanin.data").joinpath("digits", "digits.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    table = np.array([line.split(",") for line in lines]).astype(np.uint8)
    images = table[:, :64].reshape(-1, 1, 8, 8)
    labels = table[:, 64].astype(np.int64)
    border = DIGITS_TRAIN
    source = "UCI optical digits (Alpaydin & Kaynak, 1998)"
    return _standardised(
        "digits", images[:border], labels[:border], images[border:], labels[border:], top=16, source=source
    )


def idx_images(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """MNIST or Fashion-MNIST from local IDX files.

    Args:
        name: "mnist" or "fashion-mnist".
        data_dir: where to look; default: the environment variable FANIN_DATA where it is set, else ./data.

    Raises:
        DataError: if a file is missing, damaged or of the wrong format, or images and labels differ in number.
    """
    files = _find(name, data_dir)
    train_x, train_y, test_x, test_y = (read_idx(path, 3 if "images" in path.name else 1) for path in files)
    for images, labels, path in ((train_x, train_y, files[1]), (test_x, test_y, files[3])):
        if len(images) != len(labels):
            raise DataError(f"{path}: {len(labels):,} labels for {len(images):,} images.")
        if len(images) == 0:
            raise DataError(f"{path}: no samples.")
    return _standardised(
        name,
        train_x[:, None],
        train_y.astype(np.int64),
        test_x[:, None],
        test_y.astype(np.int64),
        top=255,
        source=f"{name} in {files[0].parent}",
    )


def _find(name: str, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    folders, how = _SETS[name]
    environment = os.environ.get("FANIN_DATA")
    root = Path(data_dir) if data_dir is not None else Path(environment) if environment else Path("data")
    places = [root / folder / raw for folder in folders for raw in (".", "raw")] + [root, root / "raw"]
    for place in places:
        found = {file: _either(place, file) for file in _STANDARD_NAMES}
        missing = [file for file, path in found.items() if path is None]
        if not missing:
            return [path for path in found.values() if path is not None]
        if len(missing) < len(found):
            raise DataError(f"{name}: {place} lacks {', '.join(missing)} (or the same with .gz). {how}.")
    raise DataError(
        f"{name}: no {_STANDARD_NAMES[0]}[.gz] in any of {', '.join(map(str, places))}. Name the folder with "
        f"--data-dir DIR, data_dir=DIR or the environment variable FANIN_DATA. To get it: {how}."
    )


def _either(place: Path, file: str) -> Path | None:
    return next((path for path in (place / file, place / f"{file}.gz") if path.is_file()), None)


def _standardised(
    name: str,
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    top: int,
    source: str,
) -> Dataset:
    """Divide by the range, then subtract one mean and divide by one standard deviation, both of the training part."""
    scaled, scaled_test = train_x.astype(np.float32) / top, test_x.astype(np.float32) / top
    mean, std = float(scaled.mean(dtype=np.float64)), float(scaled.std(dtype=np.float64))
    if std == 0:
        raise DataError(f"{source}: all training pixels are equal.")
    for part in (scaled, scaled_test):
        part -= np.float32(mean)
        part /= np.float32(std)
    return Dataset(name, scaled, train_y, scaled_test, test_y, int(train_y.max()) + 1, mean, std, source)
