import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from podium.data import prepare as preparing
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.sources import function as functions
from podium.data.sources import make_source
from podium.errors import DataError, TaskError
from podium.spec.sweep import DataSettings

SPLITS = ("train", "validation", "test")

HEAD = """
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
from pathlib import Path
from PIL import Image

X = np.random.default_rng(0).integers(0, 200, (60, 4)).astype(np.float32)
Y = np.arange(60) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 5, 6, 3), dtype=np.uint8)


def noted(value):
    \"""Leaves a line for each call.\"""
    with Path(NOTES).open("a") as file:
        file.write("called\\n")
    return value


class Images:
    \"""As torchvision's data sets are; it does not raise IndexError.\"""

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return Image.fromarray(IMAGES[index % 60]), int(Y[index % 60])
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., DataSettings]:
    """Writes the code of `my_source` beside the sweep file, and gives the settings that name it."""

    def written(body: str, **rest: Any) -> DataSettings:
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        head = f"NOTES = {str(tmp_path / 'notes')!r}\n{HEAD}"
        (tmp_path / "task.py").write_text(f"{head}\n\ndef my_source():\n{lines}\n")
        return DataSettings(source="task.py:my_source", normalize=False, **rest)

    return written


@pytest.fixture
def read(write: Callable[..., DataSettings], tmp_path: Path) -> Callable[..., Reader]:
    def prepared(body: str, **rest: Any) -> Reader:
        made = write(body, **rest)
        return Reader(prepare(made, base=tmp_path, store=str(tmp_path), cache=tmp_path), purpose="promotion")

    return prepared


def content(reader: Reader) -> list[tuple[Any, Any]]:
    """Inputs and targets of all samples, in order."""
    rows = reader.manifest.rows
    found = [batch for split in SPLITS if rows[split] for batch in reader.sequential(split, rows[split])]
    return sorted(pair for batch in found for pair in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True))


VECTORS = np.random.default_rng(0).integers(0, 200, (60, 4)).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 5, 6, 3), dtype=np.uint8)
TARGETS = (np.arange(60) % 3).tolist()

RETURNED = {
    "a generator": "return ((x, y) for x, y in zip(X, Y))",
    "its own generator": "for x, y in zip(X, Y):\n    yield x.tolist(), int(y)",
    "one array, filled anew": (
        "x = np.empty(4, np.float32)\nfor row in range(60):\n    x[:] = X[row]\n    yield x, Y[row]"
    ),
    "a list": "return [(X[row], Y[row]) for row in range(60)]",
    "dicts": "return [{'input': X[row], 'target': Y[row], 'other': 'a'} for row in range(60)]",
    "two arrays": "return X, Y",
    "Dask's arrays": "return da.from_array(X, chunks=(17, 3)), da.from_array(Y, chunks=13)",
    "a Dask array and one of numpy": "return da.from_array(X, chunks=(17, 4)), Y",
    "a Dask bag": "return db.from_sequence(range(60), npartitions=7).map(lambda row: (X[row], Y[row]))",
    "a Dask bag with nothing in a partition": (
        "rows = db.from_sequence(range(90), npartitions=9).filter(lambda row: row < 60)\n"
        "return rows.map(lambda row: {'input': X[row], 'target': Y[row], 'patient': row})"
    ),
    "a Dask frame": (
        "frame = pd.DataFrame(X, columns=['input_a', 'input_b', 'input_c', 'input_d']).assign(target=Y, patient=Y)\n"
        "more = pd.concat([frame, frame.assign(target=9)], ignore_index=True)\n"
        "found = dd.from_pandas(more, npartitions=4)\n"
        "return found[found.target < 9]"
    ),
}


@pytest.mark.parametrize("case", RETURNED)
@pytest.mark.parametrize("block_bytes", [100, 2**24])
def test_whatever_gives_records_gives_the_same(
    case: str, block_bytes: int, read: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "BLOCK_BYTES", block_bytes)
    assert content(read(RETURNED[case])) == sorted(zip(VECTORS.tolist(), TARGETS, strict=True))


def test_a_data_set_of_images_ends_at_its_length(read: Callable[..., Reader]) -> None:
    reader = read("return Images()")
    assert (reader.schema.inputs, reader.schema.input_dtype, reader.schema.classes) == ((3, 5, 6), "uint8", 3)
    assert content(reader) == sorted(zip(np.moveaxis(PIXELS, -1, 1).tolist(), TARGETS, strict=True))


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (1, 5, 6)), ("1", (3, 5, 6)), ("RGBA", (3, 5, 6)), ("P", (3, 5, 6)), ("F", (1, 5, 6))]
)
def test_images_of_pillow_are_brightness_or_colours(
    mode: str, shape: tuple[int, ...], read: Callable[..., Reader]
) -> None:
    body = f"return [(Image.fromarray(IMAGES[row]).convert({mode!r}), int(Y[row])) for row in range(60)]"
    assert read(body).schema.inputs == shape


def test_tensors_of_torch_are_arrays(read: Callable[..., Reader]) -> None:
    body = "import torch\nreturn [(torch.from_numpy(X[row]), torch.tensor(int(Y[row]))) for row in range(60)]"
    assert content(read(body)) == sorted(zip(VECTORS.tolist(), TARGETS, strict=True))


@pytest.mark.parametrize("form", ["[{}]", "db.from_sequence({}, npartitions=4)"])
def test_names_masks_and_shapes_of_records(form: str, read: Callable[..., Reader]) -> None:
    named = "({'input': X[row], 'target': 'abc'[row % 3] * 2, 'patient': f'p{row // 6}'} for row in range(60))"
    reader = read(f"return list({named})", split={"by": "group", "column": "patient"})
    assert reader.schema.class_names == ("aa", "bb", "cc")
    masks = "[(IMAGES[row, : 4 + row % 2, :, 0], IMAGES[row, : 4 + row % 2, :, 1] % 2) for row in range(60)]"
    source = f"list({masks})" if form == "[{}]" else form.format(masks)
    reader = read(f"return {source}", steps=[{"kind": "resize", "height": 4, "width": 4}])
    assert (reader.schema.inputs, reader.schema.targets, reader.schema.classes) == ((1, 4, 4), (4, 4), 2)


def test_time_splits_read_dates(read: Callable[..., Reader]) -> None:
    body = """
import datetime
day = datetime.datetime(2024, 1, 1)
return [{"input": [row], "target": row / 2, "day": day + datetime.timedelta(row)} for row in range(60)]
"""
    reader = read(body, split={"by": "time", "column": "day"})
    batches = [batch for split in SPLITS for batch in reader.sequential(split, 60)]
    assert [row for batch in batches for (row,) in batch.inputs.tolist()] == list(range(60))


def test_what_the_function_gives_need_not_be_the_same_twice(read: Callable[..., Reader], tmp_path: Path) -> None:
    body = "noted(0)\nrandom = np.random.default_rng()\nreturn ((random.normal(size=4), row % 2) for row in range(60))"
    assert sum(read(body).manifest.rows.values()) == 60
    assert (tmp_path / "notes").read_text().count("called") == 1


def test_partitions_are_computed_once_each(read: Callable[..., Reader], tmp_path: Path) -> None:
    body = """
def part(rows):
    noted(0)
    random = np.random.default_rng()
    return [(random.normal(size=4), row % 2) for row in rows]
return db.from_sequence(range(60), npartitions=5).map_partitions(part)
"""
    assert sum(read(body).manifest.rows.values()) == 60
    assert (tmp_path / "notes").read_text().count("called") == 5


def test_an_interrupted_preparation_does_not_call_the_function_again(
    write: Callable[..., DataSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write("noted(0)\nreturn zip(X, Y)")

    def run() -> Path:
        return prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)

    def interrupted(*args: Any, **rest: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr("podium.data.build.build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert sum(Reader(run()).manifest.rows.values()) == 60
    assert (tmp_path / "notes").read_text().count("called") == 1


def test_pieces_of_records_that_did_not_end_are_dropped(
    write: Callable[..., DataSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "BLOCK_BYTES", 100)
    source = make_source(write("return zip(X, Y)"), tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "piece-00000.npz").write_bytes(b"of records that were others then")
    (scratch / "piece-00099.npz").write_bytes(b"more of them")
    rows = [row for block in source.blocks(str(scratch)) for row in block.read().inputs.tolist()]
    assert rows == VECTORS.tolist()
    assert not (scratch / "piece-00099.npz").exists()


@pytest.mark.parametrize("case", ["a generator", "Dask's arrays", "a Dask bag", "a Dask frame"])
def test_blocks_travel_to_processes_that_do_not_have_the_code(
    case: str, write: Callable[..., DataSettings], tmp_path: Path
) -> None:
    blocks = make_source(write(RETURNED[case]), tmp_path).blocks(str(tmp_path))
    (tmp_path / "blocks").write_bytes(cloudpickle.dumps(list(blocks)))
    (tmp_path / "task.py").unlink()
    code = "import pickle, sys; print(sum(len(block.read()) for block in pickle.load(open(sys.argv[1], 'rb'))))"
    command = [sys.executable, "-c", code, str(tmp_path / "blocks")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "60\n"


def test_other_code_is_other_data(write: Callable[..., DataSettings], tmp_path: Path) -> None:
    digests = set()
    for body in ("return X, Y", "return X, Y + 0"):
        settings = write(body)
        fingerprint = make_source(settings, tmp_path).fingerprint()
        digests |= {fingerprint, preparing.settings_digest(settings, "the same", tmp_path)}
    assert len(digests) == 4


REFUSED = {
    "it fails": ("raise OSError('no\\nroute')", r"^task.py:my_source failed: OSError: no route; it takes no arguments"),
    "it fails late": ("yield X[0], 0\n1 / 0", "^task.py:my_source failed: ZeroDivisionError"),
    "a partition fails": ("return db.from_sequence([0]).map(lambda row: 1 / row)", "my_source failed: ZeroDivision"),
    "nothing": ("pass", "my_source returned NoneType; it takes"),
    "text": ("return 'records'", "my_source returned str; it takes"),
    "no record": ("return [(X[0], 0), 7]", "record 1 of task.py:my_source is int 7; a record is"),
    "no target": ("return [{'input': 7}]", r"record 0 of .* is dict \{'input': 7\}; a record is"),
    "no numbers": ("return [('cat', 0)]", "the input of record 0 of .* is str 'cat'; inputs are arrays"),
    "ragged": ("return [([[1], [1, 2]], 0)]", "the input of record 0 of .* cannot be an array"),
    "no class": ("return [(X[0], None)]", "the target of record 0 of .* is NoneType None; targets are"),
    "both kinds": ("return [(X[0], 'a'), (X[1], 1)]", "targets that are names of classes, and others"),
    "other columns": (
        "return [{'input': X[0], 'target': 0, 'day': 1}, (X[1], 1)]",
        "gave records of which not all have the columns day",
    ),
    "None in a column": (
        "return [{'input': X[row], 'target': 0, 'day': [1, None][row]} for row in range(2)]",
        "my_source gave NoneType None in the column 'day'",
    ),
    "channels last": ("return [(np.zeros((6, 6, 3)), 0)]", "looks like channels last"),
    "lengths": ("return X, Y[1:]", "failed: ValueError: zip"),
    "lengths in Dask": ("return da.from_array(X), da.from_array(Y[1:])", r"\(60, 4\) and \(59,\); there must be one"),
    "unknown lengths": ("x = da.from_array(X)\nreturn x[x[:, 0] > 9], da.from_array(Y)", "compute_chunk_sizes"),
    "text in Dask": ("return da.from_array(X.astype(str)), da.from_array(Y)", "they hold numbers"),
    "one Dask array": ("return da.from_array(X)", "returned Dask's Array; of Dask's it returns a pair"),
    "Dask's delayed": ("return dask.delayed(X)", r"returned Dask's Delayed\w*; of Dask's it returns a pair"),
    "a frame without target": ("return dd.from_pandas(pd.DataFrame({'a': [1]}))", "returned Dask's DataFrame"),
    "a frame without inputs": (
        "return dd.from_pandas(pd.DataFrame({'a': [1], 'target': 0}))",
        "returned Dask's DataFrame; .* others that begin with 'input'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_source_is_refused(case: str, read: Callable[..., Reader]) -> None:
    body, message = REFUSED[case]
    with pytest.raises((TaskError, DataError), match=message) as refusal:
        read(body)
    assert "\n" not in str(refusal.value)


def test_no_records_are_refused(read: Callable[..., Reader]) -> None:
    with pytest.raises(DataError, match=r"task\.py:my_source gave no records"):
        read("return iter(())")


def test_a_function_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = DataSettings(source="task.py:my_source")
    with pytest.raises(TaskError, match=r"task\.py, which the data settings name, cannot be read"):
        make_source(settings, tmp_path).fingerprint()
    (tmp_path / "task.py").write_text("other = 1")
    with pytest.raises(TaskError, match="has no function 'my_source'"):
        prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)
