"""Data: the embedded set is what it says, files round-trip, and every damaged file is named."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fanin import data
from fanin.data import Dataset, locate
from fanin.data._idx import read_idx
from fanin.data._npz import as_model_input
from fanin.errors import DataError, InputError, UnknownNameError

ROOT = Path(__file__).parents[3]
REAL = Path(os.environ.get("FANIN_DATA", ROOT.parent / "shared" / "data"))

STANDARD = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(values: np.ndarray) -> bytes:
    """The format as its authors describe it: two zeros, type 8, rank, sizes in big-endian, then the bytes."""
    sizes = b"".join(side.to_bytes(4, "big") for side in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def write_set(folder: Path, *, suffix: str = ".gz", train: int = 12, test: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    arrays_ = (
        draw.integers(0, 256, (train, 4, 3)),
        np.arange(train) % 3,
        draw.integers(0, 256, (test, 4, 3)),
        np.arange(test) % 3,
    )
    for name, values in zip(STANDARD, arrays_):
        raw = idx(values)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(raw) if suffix else raw)


# -- digits


def test_digits_are_the_file_that_its_licence_names() -> None:
    folder = resources.files("fanin.data").joinpath("digits")
    licence = folder.joinpath("LICENSE.txt").read_text()
    digest = hashlib.sha256(folder.joinpath("digits.csv.gz").read_bytes()).hexdigest()
    assert digest in licence
    assert "CC BY 4.0" in licence


def test_digits_split_and_scale() -> None:
    digits = data.load("digits")
    assert len(digits.train_x) + len(digits.test_x) == 1797
    assert digits.train_x.dtype == np.float32
    assert digits.train_y.dtype == np.int64
    # Counts of the ten digits in the UCI test file (its optdigits.names).
    assert np.bincount(np.concatenate([digits.train_y, digits.test_y])).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert abs(digits.train_x.mean(dtype=np.float64)) < 1e-5
    assert abs(digits.train_x.std(dtype=np.float64) - 1) < 1e-5
    # Standardised by the training part alone: the test part is not exactly 0, 1.
    assert abs(digits.test_x.mean(dtype=np.float64)) > 1e-4
    raw = np.rint((digits.train_x * digits.std + digits.mean) * 16)
    assert raw.min() == 0
    assert raw.max() == 16


def test_importing_data_does_not_import_torch() -> None:
    code = "import sys, fanin.data; fanin.data.load('digits'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- IDX


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3)), st.booleans())
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, packed: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    assert np.array_equal(read_idx(path, 3), values)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw[:-1], "truncated"),
        (lambda raw: raw + b"\0", "longer than its header"),
        (lambda raw: raw[:7], "header"),
        (lambda raw: b"\x89PNG" + raw[4:], "89 50 4e 47"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "00 00 0d 03"),
        (lambda raw: gzip.compress(raw)[:-9], "damaged or truncated gzip"),
        (lambda raw: gzip.compress(raw)[:20] + b"\xff" * 9 + gzip.compress(raw)[29:], "damaged or truncated gzip"),
        (lambda raw: b"", "0 bytes"),
    ],
)
def test_damaged_idx_is_named(tmp_path: Path, damage: object, says: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(damage(idx(np.arange(120).reshape(5, 4, 6))))  # type: ignore[operator]
    with pytest.raises(DataError, match=says) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("layout", ["mnist", "MNIST/raw", "mnist/raw", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_layouts(tmp_path: Path, layout: str, suffix: str) -> None:
    write_set(tmp_path / layout, suffix=suffix)
    loaded = data.load("mnist", data_dir=tmp_path)
    assert loaded.train_x.shape == (12, 1, 4, 3)
    assert loaded.test_x.shape == (5, 1, 4, 3)
    assert loaded.classes == 3


def test_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "FashionMNIST" / "raw")
    monkeypatch.setenv("FANIN_DATA", str(tmp_path))
    assert len(data.load("fashion-mnist").train_x) == 12
    with pytest.raises(DataError, match="mnist"):
        data.load("mnist", data_dir=tmp_path / "elsewhere")  # an argument is stronger than the environment


def test_missing_files_say_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FANIN_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        data.load("mnist", data_dir=tmp_path)
    for part in (str(tmp_path / "MNIST" / "raw"), "FANIN_DATA", "torchvision", "--data-dir"):
        assert part in str(caught.value)
    write_set(tmp_path)
    (tmp_path / f"{STANDARD[3]}.gz").unlink()
    with pytest.raises(DataError, match="lacks t10k-labels"):
        data.load("mnist", data_dir=tmp_path)


def test_labels_and_images_must_agree(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / f"{STANDARD[1]}.gz").write_bytes(gzip.compress(idx(np.arange(11))))
    with pytest.raises(DataError, match="11 labels for 12 images"):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files(name: str) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"no {REAL / name}: set FANIN_DATA to the folder that holds {name}/")
    loaded = data.load(name, data_dir=REAL)
    assert loaded.train_x.shape == (60000, 1, 28, 28)
    assert loaded.test_x.shape == (10000, 1, 28, 28)
    # The constants that every tutorial prints for MNIST and Fashion-MNIST.
    mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[name]
    assert round(loaded.mean, 4) == mean
    assert round(loaded.std, 4) == std


# -- .npz and factories


@pytest.mark.parametrize(
    "keys", [("x", "y"), ("X", "y"), ("x_train", "y_train", "x_test", "y_test"), ("images", "labels")]
)
def test_npz_spellings(tmp_path: Path, keys: tuple[str, ...]) -> None:
    x, y = np.linspace(-3, 500, 24).reshape(8, 3), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", **dict(zip(keys, (x, y, x[:2], y[:2]))))
    loaded = data.load(str(tmp_path / "a.npz"))
    assert np.array_equal(loaded.train_x, x.astype(np.float32))  # a user's values are not rescaled
    assert loaded.classes == 2
    assert len(loaded.test_x) == (2 if len(keys) == 4 else 0)


def test_npz_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no such file"):
        data.load(str(path))
    path.write_bytes(b"PK\x03\x04 but not a zip")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        data.load(str(path))
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(DataError, match="arrays weights; expected one of"):
        data.load(str(path))
    np.savez(path, x=np.zeros((3, 2)), y=np.zeros(4, int))
    with pytest.raises(DataError, match="4 targets"):
        data.load(str(path))
    np.savez(path, x=np.array(["a", "b"]))
    with pytest.raises(DataError, match="expected numbers"):
        data.load(str(path))
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"not a readable \.npz"):  # pickles run code: never loaded
        data.load(str(path))


@pytest.mark.parametrize(
    ("given_", "kept"),
    [("float64", "float32"), ("float16", "float32"), ("uint8", "float32"), ("bool", "float32"), ("int32", "int64")],
)
def test_kinds_of_numbers(given_: str, kept: str) -> None:
    values = np.array([0, 1, 1]).astype(given_)
    assert as_model_input(values).dtype == kept
    assert np.array_equal(as_model_input(values), values)


FACTORIES = """
import numpy as np, torch
from fanin.data import Dataset
X, Y = torch.arange(12.).reshape(6, 2), torch.arange(6) % 3
pair = lambda: (X, Y)
four = lambda: (X.numpy(), Y.numpy(), X[:2].numpy(), Y[:2].numpy())
batches = lambda: ([X[i:i + 2], Y[i:i + 2]] for i in (0, 2, 4))
named = lambda: {"input_ids": Y, "attention_mask": torch.ones(6), "target": Y}
several = lambda: ((X, X), Y)
ready = lambda: Dataset("mine", X.numpy(), Y.numpy())
alone = lambda: X
empty = lambda: iter(())
three = lambda: (X, X, Y)
def broken(): raise KeyError("mine")
number = lambda: 3
class Nested:
    pair = staticmethod(pair)
"""


@pytest.fixture
def factories(tmp_path: Path) -> str:
    (tmp_path / "factories.py").write_text(FACTORIES)
    return f"{tmp_path / 'factories.py'}:"


@pytest.mark.parametrize("name", ["pair", "four", "batches", "ready", "Nested.pair"])
def test_factories_as_datasets(factories: str, name: str) -> None:
    loaded = data.load(factories + name)
    assert loaded.train_x.shape == (6, 2)
    assert loaded.train_y.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(loaded.test_x) == (2 if name == "four" else 0)


def test_factories_as_batches(factories: str) -> None:
    assert torch.equal(data.batch(factories + "pair", 4).inputs, torch.arange(8.0).reshape(4, 2))
    first = data.batch(factories + "batches")
    assert first.inputs.shape == (2, 2)
    assert first.target.tolist() == [0, 1]
    named = data.batch(factories + "named", 3)
    assert set(named.inputs) == {"input_ids", "attention_mask"}
    assert named.inputs["input_ids"].dtype == torch.int64
    assert named.target.shape == (3,)
    several = data.batch(factories + "several", 3)
    assert [t.shape[0] for t in several.inputs] == [3, 3]
    alone = data.batch(factories + "alone")
    assert alone.target is None
    assert data.batch(factories + "four", 2).inputs.dtype == torch.float32


def test_factory_faults(factories: str) -> None:
    with pytest.raises(DataError, match="no batch"):
        data.batch(factories + "empty")
    with pytest.raises(DataError, match="3 entries"):
        data.batch(factories + "three")
    with pytest.raises(DataError, match="KeyError") as caught:
        data.batch(factories + "broken")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(DataError, match="returned int"):
        data.batch(factories + "number")
    with pytest.raises(DataError, match="dict"):
        data.load(factories + "named")
    with pytest.raises(InputError, match="has no 'nothing'; it has"):
        data.load(factories + "nothing")


def test_locate(tmp_path: Path) -> None:
    assert locate("os.path:join") is os.path.join
    for text in ("os.path", "os.path:", ":join", ""):
        with pytest.raises(InputError, match="factory"):
            locate(text)
    with pytest.raises(InputError, match="no module named 'nowhere'"):
        locate("nowhere.at.all:x")
    (tmp_path / "broken.py").write_text("import nowhere_else\n")
    with pytest.raises(InputError, match="importing it raised ModuleNotFoundError") as caught:
        locate(f"{tmp_path / 'broken.py'}:x")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_file_does_not_replace_a_module(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text("x = 1\n")
    assert locate(f"{tmp_path / 'json.py'}:x") == 1
    assert sys.modules["json"] is json
    assert str(tmp_path) not in sys.path


# -- Dataset


def test_dataset_validates() -> None:
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(InputError, match="3 targets"):
        Dataset("a", x, np.zeros(3, int))
    with pytest.raises(InputError, match="test_x"):
        Dataset("a", x, np.zeros(4, int), np.zeros((2, 3), np.float32), np.zeros(2, int))
    with pytest.raises(InputError, match="size"):
        Dataset("a", x, np.zeros(4, int)).batch(0)


def test_batch_is_a_copy_and_seeded() -> None:
    digits = data.load("digits")
    first, again, other = (digits.batch(32, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    first.inputs.zero_()
    assert digits.train_x.any()
    assert digits.flat().sample_shape == (64,)
    assert len(digits.take(10, 3).test_x) == 3


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'mnits'.*Did you mean 'mnist'"):
        data.load("mnits")
