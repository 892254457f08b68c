"""What sources may hold or do that must neither slip through nor end in a traceback."""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from PIL import Image

from podium.data import build
from podium.data.manifest import load_manifest, verify
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.errors import DataError, UserError
from podium.spec.data import DataSettings

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def prepared(source: Any, **settings: Any) -> Path:
        data = DataSettings.model_validate({"source": source, **settings})
        return prepare(data, base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")

    return prepared


def write_table(path: Path, count: int = 200, offset: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{n + offset}.5,{n},{n % 2}" for n in range(count))
    path.write_text(f"a,b,label\n{rows}\n")


CSV = {"kind": "csv", "path": "tables", "targets": "label"}


def test_equal_inputs_of_two_dtypes_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "import numpy as np\ndef records():\n"
        "    for kind in (np.uint8, np.float32):\n"
        "        for n in range(100):\n            yield np.array([n, n + 1], kind), n % 2\n"
    )
    with pytest.raises(DataError, match=r"inputs are float32 and uint8 in different records.*make them alike"):
        make("task.py:records")


def test_groups_that_are_numbers_here_and_texts_there_are_refused(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.data.sources.function.BLOCK_BYTES", 20_000)
    (tmp_path / "task.py").write_text(
        "def records():\n    for n in range(200):\n"
        "        yield {'input': [n, n], 'target': n % 2, 'who': n % 20 if n < 100 else str(n % 20)}\n"
    )
    split = {"by": "group", "column": "who"}
    with pytest.raises(DataError, match="column 'who' holds integers, texts in different parts"):
        make("task.py:records", split=split)


def test_an_interruption_at_the_very_end_is_gone_on_from(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "tables" / "one.csv")
    with monkeypatch.context() as broken:
        broken.setattr("podium.data.prepare._write_durably", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(CSV)
    assert verify(make(CSV)) == []


def test_a_dask_collection_that_is_another_one_begins_anew(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "task.py").write_text(
        "import os\nimport dask.bag\ndef records():\n"
        "    records = [([n, n + 1.5], n % 2) for n in range(200)]\n"
        "    return dask.bag.from_sequence(records, npartitions=int(os.environ['PARTS']))\n"
    )
    monkeypatch.setenv("PARTS", "4")
    with monkeypatch.context() as broken:
        broken.setattr(build, "lay_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make("task.py:records")
    monkeypatch.setenv("PARTS", "5")
    with pytest.raises(DataError, match="returned another collection than when the preparation began"):
        make("task.py:records")
    assert sum(load_manifest(make("task.py:records")).rows.values()) == 200


def interrupted(*arguments: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", [".hidden", ".ipynb_checkpoints/deeper"])
def test_hidden_folders_do_not_count(where: str, make: Make, tmp_path: Path) -> None:
    write_table(tmp_path / "tables" / "one.csv")
    write_table(tmp_path / "tables" / where / "one.csv")
    assert load_manifest(make(CSV)).records == 200


def test_links_count_and_circles_are_refused(make: Make, tmp_path: Path) -> None:
    write_table(tmp_path / "elsewhere" / "one.csv")
    write_table(tmp_path / "tables" / "two.csv", offset=1000)
    (tmp_path / "tables" / "linked").symlink_to(tmp_path / "elsewhere")
    assert load_manifest(make(CSV)).records == 400
    (tmp_path / "tables" / "round").symlink_to(tmp_path / "tables")
    with pytest.raises(DataError, match="round is a link to a folder that it lies in"):
        make(CSV)


def test_a_folder_that_cannot_be_read_is_not_left_out(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "tables" / "one.csv")
    write_table(tmp_path / "tables" / "closed" / "two.csv", offset=1000)
    real = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DataError, match=r"cannot be read.*Permission denied"):
        make(CSV)


def test_the_value_of_a_partition_is_part_of_the_source(make: Make, tmp_path: Path) -> None:
    write_table(tmp_path / "tables" / "year=2023" / "one.csv")
    source = {**CSV, "path": "tables/*/one.csv"}
    first = make(source)
    (tmp_path / "tables" / "year=2023").rename(tmp_path / "tables" / "year=2024")
    assert make(source) != first


def test_a_folder_s_name_may_look_like_a_pattern(tmp_path: Path) -> None:
    base = tmp_path / "run[1]"
    write_table(base / "t (1)[2].csv")
    write_table(base / "more" / "one.csv", offset=500)
    for path, records in (("t (1)[2].csv", 200), ("more/*.csv", 200)):
        data = DataSettings.model_validate({"source": {**CSV, "path": path}})
        made = prepare(data, base=base, store=str(tmp_path / "store"), cache=tmp_path / "cache")
        assert load_manifest(made).records == records


def test_an_edit_that_keeps_size_and_time_is_seen(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "tables" / "one.csv"
    write_table(path)
    first, times = make(CSV), path.stat()
    path.write_text(path.read_text().replace("0.5,0,0", "9.5,0,0", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert make(CSV) != first


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([f"{n % 28 + 1:02d}/01/2026" for n in range(100)], "holds texts such as '01/01/2026'; write times as"),
        (["2026-01-01"] * 99 + ["NaT"], r"1 records have none, the first of them record 99"),
    ],
)
def test_times_that_are_none_are_refused(times: list[str], message: str, make: Make, tmp_path: Path) -> None:
    rows = "\n".join(f"{n}.5,{n},{n % 2},{time}" for n, time in enumerate(times))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "one.csv").write_text(f"a,b,label,at\n{rows}\n")
    with pytest.raises(DataError, match=message):
        make({**CSV, "inputs": ["a", "b"]}, split={"by": "time", "column": "at"})


RETURNS = {
    "a number": "return float(x.mean()), t",
    "text": "return 'text', t",
    "objects": "return x, {}",
    "complex numbers": "return x + 1j, t",
    "one array": "return x",
}


@pytest.mark.parametrize("case", RETURNS)
def test_what_a_step_returns_is_looked_at(case: str, make: Make, tmp_path: Path) -> None:
    write_table(tmp_path / "tables" / "one.csv")
    (tmp_path / "steps.py").write_text(f"def change(x, t):\n    {RETURNS[case]}\n")
    with pytest.raises(UserError, match=r"^steps\.py:change failed on a record: TypeError: it returned") as refusal:
        make(CSV, steps=[{"kind": "apply", "function": "steps.py:change"}])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("code", [b"import sys\nsys.exit(3)\n", "def change(x, t):\n    'é'\n".encode("latin-1")])
def test_code_that_cannot_be_imported_is_one_error(code: bytes, make: Make, tmp_path: Path) -> None:
    write_table(tmp_path / "tables" / "one.csv")
    (tmp_path / "steps.py").write_bytes(code)
    with pytest.raises(UserError, match=r"steps\.py (cannot be imported|is not in UTF-8)"):
        make(CSV, steps=[{"kind": "apply", "function": "steps.py:change"}])


def test_a_table_in_another_encoding_is_one_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "one.csv").write_bytes("größe,label\n1,0\n2,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"one\.csv cannot be read"):
        make(CSV)


def test_a_damaged_zarr_group_is_one_error(make: Make, tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "source"), mode="w")
    group.create_array("x", data=np.random.default_rng(0).normal(size=(60, 4)), chunks=(20, 4))
    group.create_array("y", data=np.arange(60) % 2)
    source = {"kind": "arrays", "path": "source"}
    chunk = tmp_path / "source" / "x" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(DataError, match="source cannot be read: ") as refusal:
        make(source)
    assert "\n" not in str(refusal.value)
    (tmp_path / "source" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="source cannot be read: "):
        make(source)


def test_formats_that_start_programs_are_not_opened(make: Make, tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / "photos" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / f"{number}.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "photos" / "0" / "disguised.eps")
    (tmp_path / "photos" / "0" / "disguised.eps").rename(tmp_path / "photos" / "0" / "disguised.png")
    with pytest.raises(DataError, match=r"disguised\.png: it is no image of a known format"):
        make({"kind": "images", "path": "photos"})


@pytest.mark.parametrize("path", ["https://TOKEN@host/x.npz", "https://host/x.npz?X-Amz-Signature=TOKEN"])
def test_addresses_that_may_hold_secrets_are_refused(path: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="may be secrets") as refusal:
        make({"kind": "arrays", "path": path})
    assert "TOKEN" not in str(refusal.value)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, tells nothing of when they changed, and keeps its peace."""

    def log_message(self, *arguments: Any) -> None:
        pass

    def send_header(self, keyword: str, value: str) -> None:
        if keyword.lower() != "last-modified":
            super().send_header(keyword, value)


def test_files_of_a_server_that_tells_their_size_alone_are_told_apart(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    served = tmp_path / "served"
    served.mkdir()
    for name, first in (("a", 0.0), ("b", 1.0)):
        inputs = np.random.default_rng(0).normal(size=(60, 4)) + first
        np.savez(served / f"{name}.npz", x=inputs, y=np.arange(60) % 2)
    assert len({path.stat().st_size for path in served.iterdir()}) == 1
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        a, b = (make({"kind": "arrays", "path": f"{address}/{name}.npz"}) for name in "ab")
        server.shutdown()
        system = fsspec.core.url_to_fs(address)[0]
        system.close_session(system.loop, system._session)
    assert a != b
    inputs = [next(Reader(each).stored("train"))[0].mean() for each in (a, b)]
    assert inputs[1] - inputs[0] == pytest.approx(1, abs=0.3)


def test_pictures_without_edges_are_near_each_other_in_a_moment(make: Make, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "plain.npz",
        x=np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(8, 2).repeat(8, 3),
        y=np.arange(200) % 2,
    )
    split = {"near": 2, "duplicates": "drop_from_train"}
    with pytest.raises(DataError, match="train split is empty"):
        make({"kind": "arrays", "path": "plain.npz"}, split=split)
