import datetime
import gzip
import io
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from s3_server import Store

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.sources import arrow_files, csv_files, make_source, parquet_files, reading
from podium.data.sources.files import File
from podium.errors import DataError
from podium.spec.sweep import DataSettings

ROWS = 60
SPLITS = ("train", "validation", "test")


def rides(rows: int = ROWS, first: int = 0) -> pa.Table:
    """Two features, a class as a number and as a name, numbers to predict, a rider and a day."""
    number = np.arange(first, first + rows)
    return pa.table(
        {
            "distance": number * 1.5,
            "hour": number % 24,
            "late": number % 2,
            "kind": [("bus", "taxi", "tram")[each % 3] for each in number],
            "fare": number / 4,
            "rider": number // 4,
            "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(each)) for each in number],
        }
    )


def settings(kind: str, path: str, targets: Any = "late", inputs: Any = ("distance", "hour"), **rest: Any) -> Any:
    source = {"kind": kind, "path": path, "targets": targets, "inputs": inputs}
    return DataSettings(source=source, normalize=False, **rest)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reader]:
    """Prepares the data that settings name beside `tmp_path`, and reads them."""

    def prepared(*args: Any, **rest: Any) -> Reader:
        made = settings(*args, **rest)
        return Reader(prepare(made, base=tmp_path, store=str(tmp_path), cache=tmp_path), purpose="promotion")

    return prepared


def content(reader: Reader) -> list[tuple[Any, Any]]:
    """Inputs and targets of all samples, in order."""
    rows = sum(reader.manifest.rows.values())
    found = [batch for split in SPLITS if reader.manifest.rows[split] for batch in reader.sequential(split, rows)]
    return sorted(pair for batch in found for pair in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True))


def expected(target: str = "late") -> list[tuple[Any, Any]]:
    table = rides()
    inputs = zip(table["distance"].to_pylist(), map(float, table["hour"].to_pylist()), strict=True)
    return sorted(zip(map(list, inputs), table[target].to_pylist(), strict=True))


def write_stream(table: pa.Table, path: Path, rows: int = 1000) -> None:
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


def write_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def write_gzip(table: pa.Table, path: Path) -> None:
    with gzip.open(path, "wb") as file:
        pa.csv.write_csv(table, file)


WRITERS: dict[str, tuple[str, Callable[[pa.Table, Path], None]]] = {
    "rides.parquet": ("parquet", lambda table, path: pq.write_table(table, path, row_group_size=7)),
    "rides.csv": ("csv", pa.csv.write_csv),
    "rides.csv.gz": ("csv", write_gzip),
    "rides.arrow": ("arrow", write_file),
    "stream.arrow": ("arrow", write_stream),
    "packed.feather": ("arrow", lambda table, path: pa.feather.write_feather(table, str(path), compression="lz4")),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("block_bytes", [100, 2**24])
def test_every_kind_of_file_gives_the_same(
    name: str, block_bytes: int, read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (arrow_files, reading):
        monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", max(block_bytes, 200))
    kind, write = WRITERS[name]
    write(rides(), tmp_path / name)
    made = make_source(settings(kind, name), tmp_path).blocks(str(tmp_path))
    assert (len(made) > 8) == (block_bytes == 100)
    travelled = pickle.loads(pickle.dumps(list(made)))
    assert sum(len(block.read()) for block in travelled) == ROWS
    assert content(read(kind, name)) == expected()


def test_large_row_groups_are_unpacked(
    read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (arrow_files, parquet_files, reading):
        monkeypatch.setattr(module, "BLOCK_BYTES", 200)
    monkeypatch.setattr(parquet_files, "ROW_GROUP_BYTES", 400)
    table = rides()
    table = table.set_column(3, "kind", table["kind"].dictionary_encode())
    pq.write_table(table, tmp_path / "rides.parquet", row_group_size=35)
    blocks = make_source(settings("parquet", "rides.parquet", "kind"), tmp_path).blocks(str(tmp_path))
    assert len(blocks) > 4
    assert [name for block in blocks for name in block.read().targets.tolist()] == table["kind"].to_pylist()
    assert content(read("parquet", "rides.parquet")) == expected()


@pytest.mark.parametrize(
    ("targets", "classes", "names", "shape"),
    [
        ("late", 2, (), ()),
        ("kind", 3, ("bus", "taxi", "tram"), ()),
        ("fare", 0, (), ()),
        (["fare", "hour"], 0, (), (2,)),
    ],
)
def test_targets_are_classes_or_numbers(
    targets: Any,
    classes: int,
    names: tuple[str, ...],
    shape: tuple[int, ...],
    read: Callable[..., Reader],
    tmp_path: Path,
) -> None:
    pq.write_table(rides(), tmp_path / "rides.parquet")
    schema = read("parquet", "rides.parquet", targets, ["distance"]).schema
    assert (schema.classes, schema.class_names, schema.targets, schema.inputs) == (classes, names, shape, (1,))


def test_dictionaries_and_booleans_are_what_they_stand_for(read: Callable[..., Reader], tmp_path: Path) -> None:
    table = rides()
    for name in ("kind", "hour"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    table = table.set_column(2, "late", table["late"].cast(pa.bool_()))
    pq.write_table(table, tmp_path / "rides.parquet", row_group_size=9)
    assert content(read("parquet", "rides.parquet")) == expected()
    assert read("parquet", "rides.parquet", "kind").schema.class_names == ("bus", "taxi", "tram")


def test_all_columns_are_inputs_but_targets_the_splits_and_an_index(
    read: Callable[..., Reader], tmp_path: Path
) -> None:
    frame = rides().select(["distance", "hour", "late", "rider"]).to_pandas()
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "rides.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "rides.parquet").names
    reader = read("parquet", "rides.parquet", inputs=(), split={"by": "group", "column": "rider"})
    assert content(reader) == expected()


def test_a_partitioned_folder_has_its_folders_as_columns(read: Callable[..., Reader], tmp_path: Path) -> None:
    pq.write_to_dataset(rides(), tmp_path / "rides", partition_cols=["hour", "kind"])
    reader = read("parquet", "rides", "kind", split={"by": "group", "column": "hour"})
    assert content(reader) == sorted(
        ([inputs, hour], ("bus", "taxi", "tram").index(kind)) for (inputs, hour), kind in expected("kind")
    )
    some = read("parquet", "rides/hour=*/kind=taxi/*.parquet", "late")
    assert [target for _, target in content(some)] == [
        target for (_, target), (_, kind) in zip(expected(), expected("kind"), strict=True) if kind == "taxi"
    ]


def test_splits_and_filters_read_other_columns(read: Callable[..., Reader], tmp_path: Path) -> None:
    pq.write_table(rides(), tmp_path / "rides.parquet")
    late = read("parquet", "rides.parquet", split={"by": "time", "column": "day", "train": 0.6, "test": 0.25})
    days = [inputs[0] for split in SPLITS for batch in late.sequential(split, ROWS) for inputs in batch.inputs.tolist()]
    assert days == sorted(days)
    steps = [{"kind": "filter", "column": "kind", "keep": ["bus", "tram"]}]
    assert sum(read("parquet", "rides.parquet", steps=steps).manifest.rows.values()) == 40


def test_a_filter_may_leave_nothing_of_a_block(
    read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 100)
    pq.write_table(rides().sort_by("kind"), tmp_path / "rides.parquet", row_group_size=10)
    steps = [{"kind": "filter", "column": "kind", "keep": ["tram"]}]
    assert sum(read("parquet", "rides.parquet", steps=steps).manifest.rows.values()) == 20


def test_several_files_are_one_table(read: Callable[..., Reader], tmp_path: Path) -> None:
    (tmp_path / "rides").mkdir()
    for part in range(3):
        table = rides(20, 20 * part)
        pa.csv.write_csv(table.select(table.column_names[:: -1 if part else 1]), tmp_path / "rides" / f"{part}.csv")
    (tmp_path / "rides" / "notes.txt").write_text("what is no table does not count")
    assert content(read("csv", "rides")) == content(read("csv", "rides/*.csv")) == expected()


def save_to_disk(table: pa.Table, folder: Path, files: int = 1) -> None:
    """Writes a folder as Hugging Face's `datasets.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{index:05d}-of-{files:05d}.arrow" for index in range(files)]
    for index, name in enumerate(names):
        size = len(table) // files
        write_stream(table.slice(index * size, size), folder / name, rows=8)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    write_stream(table.slice(0, 2), folder / "cache-0123456789abcdef.arrow")


def test_a_saved_hugging_face_data_set(read: Callable[..., Reader], tmp_path: Path) -> None:
    save_to_disk(rides(), tmp_path / "rides", files=3)
    assert content(read("arrow", "rides")) == expected()


def test_a_saved_hugging_face_dict_gives_the_split(read: Callable[..., Reader], tmp_path: Path) -> None:
    for first, (split, rows) in zip((0, 30, 50), (("train", 30), ("validation", 20), ("test", 10)), strict=True):
        save_to_disk(rides(rows, first), tmp_path / "rides" / split)
    (tmp_path / "rides" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    reader = read("arrow", "rides", split={"by": "given"})
    assert reader.manifest.rows == {"train": 30, "validation": 20, "test": 10}
    assert content(reader) == content(read("arrow", "rides")) == expected()


def test_a_state_that_cannot_be_read_is_refused(read: Callable[..., Reader], tmp_path: Path) -> None:
    save_to_disk(rides(), tmp_path / "rides")
    for text, message in (("{", "is not as Hugging Face's"), ('{"_data_files": []}', "no file with rows, only")):
        (tmp_path / "rides" / "state.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read("arrow", "rides")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("are_structs", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_images_are_decoded(
    are_structs: bool, kind: str, read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_files, "BLOCK_BYTES", 20_000)
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 5, 6, 3), dtype=np.uint8)
    contents: list[Any] = list(map(png, pixels))
    contents[17] = b"no image"
    images = [{"bytes": each, "path": None} for each in contents] if are_structs else contents
    path = tmp_path / "images"
    (pq.write_table if kind == "parquet" else write_stream)(
        pa.table({"image": images, "label": np.arange(ROWS) % 2}), path
    )
    reader = read(kind, "images", "label", (), unreadable=1)
    assert (reader.schema.inputs, reader.schema.input_dtype) == ((3, 5, 6), "uint8")
    kept = [(np.moveaxis(each, -1, 0).astype(float).tolist(), row % 2) for row, each in enumerate(pixels) if row != 17]
    assert content(reader) == sorted(kept)
    assert reader.manifest.skipped == ((f"{path}, row 17", "it is no image of a known format"),)


LISTS = {
    "lists": (pa.list_(pa.float32()), (12,), (12,)),
    "fixed lists": (pa.list_(pa.float32(), 12), (12,), (12,)),
    "nested lists": (pa.list_(pa.list_(pa.uint8())), (3, 4), (1, 3, 4)),
    "three deep": (pa.large_list(pa.list_(pa.list_(pa.int16(), 2))), (2, 3, 2), (2, 3, 2)),
}


@pytest.mark.parametrize("case", LISTS)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_lists_are_tensors(
    case: str, kind: str, read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_files, "BLOCK_BYTES", 300)
    arrow, shape, sample = LISTS[case]
    x = np.random.default_rng(0).integers(0, 200, (ROWS, *shape)).astype(np.float32)
    dtype = np.uint8 if case == "nested lists" else np.int16 if case == "three deep" else np.float32
    table = pa.table({"x": pa.array(x.astype(dtype).tolist(), arrow), "y": np.arange(ROWS) % 2})
    (pq.write_table if kind == "parquet" else write_stream)(table, tmp_path / "lists")
    reader = read(kind, "lists", "y", ())
    assert reader.schema.inputs == sample
    assert content(reader) == sorted(
        zip(x.reshape(ROWS, *sample).tolist(), (np.arange(ROWS) % 2).tolist(), strict=True)
    )


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tensors_keep_their_shape(
    kind: str, read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_files, "BLOCK_BYTES", 1000)
    x = np.random.default_rng(0).normal(size=(ROWS, 2, 3, 4)).astype(np.float32)
    table = pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(x), "y": np.arange(ROWS) / 3})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "tensors", row_group_size=25)
    else:
        write_stream(table, tmp_path / "tensors")
    reader = read(kind, "tensors", "y", ())
    assert reader.schema.inputs == (2, 3, 4)
    assert [inputs for inputs, _ in content(reader)] == sorted(x.tolist())


@given(st.lists(st.integers(-(2**60), 2**60) | st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12))
def test_a_csv_column_is_of_the_first_type_that_all_its_text_fits(numbers: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "numbers.csv")
        path.write_text("\n".join(["x", *map(str, numbers)]) + "\n")
        file = csv_files.CsvFile(File(str(path), path.name), Path(folder))
        kind = csv_files.text_types([file], ["x"])["x"]
    assert kind == (pa.int64() if all(isinstance(each, int) for each in numbers) else pa.float64())


def test_numbers_in_csv_may_turn_to_fractions_late(
    read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 40)
    lines = ["x,y", *(f"{row},{row % 2}" for row in range(50)), *(f"{row}.5,{row % 2}" for row in range(10))]
    (tmp_path / "late.csv").write_text("\n".join(lines))
    assert content(read("csv", "late.csv", "y", ()))[:2] == [([0.0], 0), ([0.5], 0)]


def test_csv_quotes_and_names_of_classes(read: Callable[..., Reader], tmp_path: Path) -> None:
    names = ["NA", "a, b", "two\nlines"]
    rows = [f'{row},"{names[row % 3]}"' for row in range(ROWS)]
    (tmp_path / "names.csv").write_text("\n".join(["x,y", *rows]))
    assert read("csv", "names.csv", "y", ()).schema.class_names == ("NA", "a, b", "two\nlines")


def test_a_table_at_an_address(
    read: Callable[..., Reader], s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_to_dataset(rides(), tmp_path / "rides", partition_cols=["kind"])
    system, root = fsspec.core.url_to_fs(s3_store.address)
    system.put(str(tmp_path / "rides"), f"{root}/rides", recursive=True)
    reader = read("parquet", f"{s3_store.address}/rides", "kind", split={"by": "content"})
    assert [inputs for inputs, _ in content(reader)] == [inputs for inputs, _ in expected()]
    assert reader.schema.class_names == ("bus", "taxi", "tram")
    assert content(read("parquet", f"{s3_store.address}/rides/*/*.parquet")) == expected()


def with_column(name: str, values: Any) -> pa.Table:
    table = rides()
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def test_a_fingerprint_needs_no_pyarrow(tmp_path: Path) -> None:
    pq.write_table(rides(), tmp_path / "rides.parquet")
    code = """
import sys
from pathlib import Path
from podium.data.sources import make_source
from podium.spec.sweep import DataSettings
print(make_source(DataSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2])).fingerprint())
assert not {"pyarrow", "dask", "PIL", "pandas"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code, settings("parquet", "rides.parquet").model_dump_json(), str(tmp_path)]
    assert "sha256" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


REFUSED: dict[str, tuple[pa.Table, dict[str, Any], str]] = {
    "unknown input": (rides(), {"inputs": ["distanc"]}, "no column 'distanc', which inputs.*did you mean 'distance'?"),
    "unknown target": (rides(), {"targets": "price"}, "no column 'price', which targets.*allowed: day, distance, fare"),
    "unknown split": (rides(), {"split": {"by": "group", "column": "ridr"}}, "'ridr', which data.split names.*'rider'"),
    "unknown filter": (
        rides(),
        {"steps": [{"kind": "filter", "column": "sort", "keep": [1]}]},
        "'sort', which filter of data.steps names",
    ),
    "text": (rides(), {"inputs": ()}, "the column 'kind' of .* holds text; inputs are numbers.*data.source.inputs"),
    "times": (rides(), {"inputs": ["day"]}, r"the column 'day' of .* holds date32\[day\]; inputs are numbers"),
    "input and target": (rides(), {"inputs": ["late", "hour"]}, "both name 'late'"),
    "no inputs": (rides().select(["late"]), {"inputs": ()}, "has no column for inputs, only late"),
    "no targets": (rides(), {"targets": []}, "has no column for targets"),
    "nulls": (
        with_column("hour", [None if row in (3, 40) else row for row in range(ROWS)]),
        {},
        "the column 'hour' has 2 nulls in rows 0 to 59 of .*rides.parquet; fill them",
    ),
    "nulls in lists": (
        with_column("hour", [[row, None] for row in range(ROWS)]),
        {"inputs": ["hour"]},
        "the column 'hour' has 60 nulls in the lists of",
    ),
    "lengths": (
        with_column("hour", [[1.0] * (1 + row % 2) for row in range(ROWS)]),
        {"inputs": ["hour"]},
        "inputs have 2 shapes.*data.series: true",
    ),
    "lists and numbers": (
        with_column("hour", [[row, row] for row in range(ROWS)]),
        {},
        "'hour' of .* holds lists, and is not the only one",
    ),
    "channels last": (
        with_column("hour", np.zeros((ROWS, 5, 5, 3)).tolist()),
        {"inputs": ["hour"]},
        "channels last; channels come first",
    ),
    "images elsewhere": (
        with_column("hour", [{"bytes": None, "path": f"{row}.png"} for row in range(ROWS)]).cast(
            rides().schema.set(1, pa.field("hour", pa.struct({"bytes": pa.binary(), "path": pa.string()})))
        ),
        {"inputs": ["hour"]},
        "60 images without bytes",
    ),
    "no rows": (rides(0), {}, "rides.parquet has no rows"),
    "twice": (rides().rename_columns(["hour", *rides().column_names[1:]]), {}, "has 2 columns 'hour'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_cannot_be_trained_on_are_refused(case: str, read: Callable[..., Reader], tmp_path: Path) -> None:
    table, changed, message = REFUSED[case]
    pq.write_table(table, tmp_path / "rides.parquet")
    with pytest.raises(DataError, match=message) as refusal:
        read("parquet", "rides.parquet", **changed)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            with_column("hour", [str(row) for row in range(ROWS)]),
            "'hour' is int64 in .*0.parquet and string in .*1.par",
        ),
        (rides().drop_columns(["hour"]), "1.parquet has no column 'hour'"),
    ],
)
def test_files_that_differ_are_refused(
    other: pa.Table, message: str, read: Callable[..., Reader], tmp_path: Path
) -> None:
    (tmp_path / "rides").mkdir()
    pq.write_table(rides(), tmp_path / "rides" / "0.parquet")
    pq.write_table(other, tmp_path / "rides" / "1.parquet")
    with pytest.raises(DataError, match=message):
        read("parquet", "rides")


def test_a_column_that_one_file_alone_has_is_refused_where_all_are_inputs(
    read: Callable[..., Reader], tmp_path: Path
) -> None:
    (tmp_path / "rides").mkdir()
    numbers = rides().select(["distance", "hour", "late"])
    pq.write_table(numbers, tmp_path / "rides" / "0.parquet")
    pq.write_table(rides().select(["distance", "hour", "late", "fare"]), tmp_path / "rides" / "1.parquet")
    with pytest.raises(DataError, match=r"'fare' is absent in .*0.parquet and double in .*1.parquet"):
        read("parquet", "rides", inputs=())
    assert read("parquet", "rides", split={"duplicates": "drop_from_train"}).schema.inputs == (2,)


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        ("parquet", b"no table", "cannot be read as Parquet"),
        ("parquet", b"", "cannot be read as Parquet"),
        ("arrow", b"no table", "cannot be read as Arrow"),
        ("arrow", b"", "cannot be read as Arrow"),
        ("csv", b"", "cannot be read as CSV"),
        ("csv", b"distance,hour,late\n", "has no rows"),
        ("csv", b"distance,hour,late\n1,2\n", "cannot be read as CSV"),
        ("csv", b"distance,hour,late\n1,2,\xff\n", "cannot be read as CSV"),
    ],
)
def test_files_of_another_kind_are_refused(
    kind: str, written: bytes, message: str, read: Callable[..., Reader], tmp_path: Path
) -> None:
    (tmp_path / "rides").write_bytes(written)
    with pytest.raises(DataError, match=message) as refusal:
        read(kind, "rides")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "rides") in str(refusal.value)
