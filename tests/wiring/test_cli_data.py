"""`podium data`: what a user sees of prepared data."""

import fcntl
import uuid
from pathlib import Path

import pytest
from PIL import Image
from s3_server import Store
from wiring_cases import BLOBS, Outcome, podium_here, write_blobs

from podium.data.prepare import shards
from podium.ledger import Book
from podium.spec.files import read_sweep
from podium.sweep.messages import Launched

STRATIFIED = "data.split.by=stratified"


def note_launch(folder: Path, sweep: str, data: str) -> None:
    """Has the ledger say that a sweep was launched with a data set."""
    book = Book.at_home(folder / ".podium")
    held = book.hold(sweep)
    held.append([Launched(identity=uuid.uuid4().hex, spec=read_sweep(folder / "sweep.yaml").spec.written(), data=data)])
    held.release()


def prepare(folder: Path, *overrides: str) -> dict:
    outcome = podium_here(folder, "data", "prepare", "sweep.yaml", *overrides, "--json")
    assert outcome.code == 0, outcome.problems
    return outcome.json


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A folder whose sweep's data are prepared, with the sweep `used` that was launched with them; what that showed."""
    folder = write_blobs(tmp_path_factory.mktemp("blobs"))
    text = BLOBS.replace("  batch_size", "  licence: CC0\n  units: metres\n  batch_size")
    (folder / "sweep.yaml").write_text(text)
    name = prepare(folder)["name"]
    note_launch(folder, "used", name)
    return folder, prepare(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Path, dict]:
    """The like, for a test that changes it; no sweep uses the data."""
    folder = write_blobs(tmp_path)
    return folder, prepare(folder)


def test_what_is_not_prepared_is_said_and_not_prepared(tmp_path: Path) -> None:
    write_blobs(tmp_path)
    outcome = podium_here(tmp_path, "data", "show", "sweep.yaml")
    fix = "the data of sweep.yaml are not prepared yet; `podium data prepare sweep.yaml` does it"
    assert (outcome.code, outcome.problems) == (2, f"podium: {fix}\n")
    assert not (tmp_path / ".podium" / "shards").exists()
    assert podium_here(tmp_path, "data", "list", "--json").json == {"data": []}
    assert podium_here(tmp_path, "data", "gc").output == "there is nothing to remove\n"


def test_a_data_set_is_found_by_file_sweep_name_and_beginning(prepared: tuple[Path, dict]) -> None:
    folder, shown = prepared
    name = shown["name"]
    assert (shown["sweeps"], shown["licence"], shown["units"]) == (["used"], "CC0", "metres")
    for what in ("sweep.yaml", "used", name, name[:7], shards(name)):
        assert podium_here(folder, "data", "show", what, "--json").json == shown, what


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unknown", "podium: 'unknown' is no sweep file, no sweep, and begins no data set's name"),
        ("", "podium: '' is no sweep file"),
        ("absent.yaml", "podium: absent.yaml"),
        ("dataless", "podium: the sweep 'dataless' has no data"),
        ("gone", "holds no manifest.json"),
    ],
)
def test_what_there_is_not_is_one_clear_error(prepared: tuple[Path, dict], what: str, message: str) -> None:
    folder, _ = prepared
    if what in ("dataless", "gone"):
        note_launch(folder, what, "" if what == "dataless" else "0" * 16)
    for command in (("show", what), ("verify", what), ("diff", "used", what)):
        outcome = podium_here(folder, "data", *command)
        progress, problem = outcome.problems.splitlines()[:-1], outcome.problems.splitlines()[-1]
        assert outcome.code == 2
        assert message in problem
        assert all(line.startswith("Reading ") for line in progress)


def test_a_beginning_of_several_names_is_refused(fresh: tuple[Path, dict]) -> None:
    folder, shown = fresh
    one = shown["name"]
    other = one[:5] + ("0" if one[5] != "0" else "1") * 11
    (folder / ".podium" / "shards" / other).mkdir()
    outcome = podium_here(folder, "data", "show", one[:5])
    assert outcome.code == 2
    assert f"'{one[:5]}' begins the names of 2 data sets: {', '.join(sorted((one, other)))}" in outcome.problems
    assert podium_here(folder, "data", "show", one[:6], "--json").json["name"] == one


def test_people_see_what_there_is(prepared: tuple[Path, dict], tmp_path: Path) -> None:
    folder, shown = prepared
    sheet = tmp_path / "sheet.png"
    output = podium_here(folder, "data", "show", "used", "--sheet", str(sheet)).output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert f"data set {shown['name']}" in lines
    assert "source arrays blobs.npz" in lines
    assert "licence CC0" in lines
    assert "inputs 4 float32 of metres, standardized when they are read" in lines
    rows = shown["rows"]
    assert f"samples {rows['train']} train, {rows['validation']} validation, {rows['test']} test" in lines
    count = shown["classes"]["train"][2]
    assert any(line.startswith(f"2 {count} ({count / rows['train']:.1%})") for line in lines)
    with Image.open(sheet) as image:
        assert image.format == "PNG"
    assert podium_here(folder, "data", "show", "used", "--sheet", "sheet.pdf").code == 2


def test_the_list_has_every_data_set_and_who_uses_it(fresh: tuple[Path, dict]) -> None:
    folder, shown = fresh
    other = prepare(folder, STRATIFIED)
    note_launch(folder, "blobs", other["name"])
    (folder / ".podium" / "shards" / ("0" * 16)).mkdir()
    next(Path(shown["folder"]).glob("train-*.arrow")).unlink()
    rows = {row["name"]: row for row in podium_here(folder, "data", "list", "--json").json["data"]}
    assert set(rows) == {shown["name"], other["name"], "0" * 16}
    assert (rows[other["name"]]["sweeps"], rows[other["name"]]["problem"]) == (["blobs"], "")
    assert rows[shown["name"]]["sweeps"] == []
    assert "podium data verify" in rows[shown["name"]]["problem"]
    assert "holds no manifest.json" in rows["0" * 16]["problem"]
    assert rows[shown["name"]]["bytes"] == shown["bytes"]
    output = podium_here(folder, "data", "list").output
    assert all(text in output for text in (*rows, "arrays blobs.npz"))


def test_an_altered_shard_is_found(fresh: tuple[Path, dict]) -> None:
    folder, shown = fresh
    whole = podium_here(folder, "data", "verify", "sweep.yaml", "--json")
    assert (whole.code, whole.json["problems"]) == (0, [])
    shard = next(Path(shown["folder"]).glob("test-*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    altered = podium_here(folder, "data", "verify", shown["name"])
    assert altered.code == 1
    assert f"the shard {shard} is not what its checksum says" in altered.output


def test_diff_says_what_differs_and_what_is_common(fresh: tuple[Path, dict]) -> None:
    folder, one = fresh
    other = prepare(folder, "data.split.train=0.5", "data.split.validation=0.35")
    found = podium_here(folder, "data", "diff", one["name"], other["name"], "--json").json
    assert found["differences"]["split.train"] == [0.7, 0.5]
    assert found["common"]["train"]["train"] == other["rows"]["train"]
    assert found["common"]["train"]["validation"] == one["rows"]["train"] - other["rows"]["train"]
    assert found["is_test_equal"] is True
    output = podium_here(folder, "data", "diff", one["name"], other["name"]).output
    assert "split.train" in output
    assert "test splits: equal" in output


def test_gc_removes_what_no_sweep_uses_and_nothing_else(fresh: tuple[Path, dict]) -> None:
    folder, unused = fresh
    used = prepare(folder, STRATIFIED)["name"]
    note_launch(folder, "blobs", used)
    store = folder / ".podium" / "shards"
    for name in (f".{'a' * 16}.work", f".{'b' * 16}-{uuid.uuid4().hex}", f".{used}.work", "notes"):
        (store / name).mkdir()
        (store / name / "file").write_bytes(bytes(1000))
    before = {path.name for path in store.iterdir()}
    gone = {unused["name"], *(name for name in before if name.startswith((f".{'a' * 16}", f".{'b' * 16}")))}
    planned = podium_here(folder, "data", "gc", "--dry-run", "--json").json
    assert {path.name for path in store.iterdir()} == before
    done = podium_here(folder, "data", "gc", "--json").json
    assert {path.name for path in store.iterdir()} == before - gone
    assert planned == done | {"dry_run": True}
    assert {Path(each["path"]).name for each in done["removals"]} == gone
    assert done["bytes"] >= unused["bytes"] + 2000
    assert podium_here(folder, "data", "verify", used).code == 0


def test_gc_leaves_what_is_being_made(fresh: tuple[Path, dict]) -> None:
    folder, shown = fresh
    store = folder / ".podium" / "shards"
    with (store / f".{shown['name']}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for options in (("--dry-run",), ()):
            outcome = podium_here(folder, "data", "gc", *options)
            assert "stays, since it is being made now" in outcome.output
            assert Path(shown["folder"]).is_dir()
    assert podium_here(folder, "data", "gc", "--json").json["bytes"] >= shown["bytes"]
    assert not Path(shown["folder"]).exists()


def test_a_store_at_an_address_is_shown_and_verified_and_not_cleaned(tmp_path: Path, s3_store: Store) -> None:
    write_blobs(tmp_path)

    def run(*arguments: str) -> Outcome:
        return podium_here(tmp_path, "data", *arguments, "--store", s3_store.address, "--json")

    shown = run("prepare", "sweep.yaml").json
    assert shown["folder"] == f"{s3_store.address}/shards/{shown['name']}"
    assert run("show", "sweep.yaml").json == shown
    assert [(row["name"], row["problem"]) for row in run("list").json["data"]] == [(shown["name"], "")]
    assert run("verify", shown["name"][:8]).code == 0
    refused = run("gc")
    assert refused.code == 2
    assert "for stores on this host" in refused.problems


def test_a_sweep_without_data_has_none_to_prepare(quick: Path) -> None:
    outcome = podium_here(quick, "data", "prepare", "sweep.yaml")
    assert (outcome.code, outcome.output) == (0, "the sweep of sweep.yaml has no data\n")
    assert podium_here(quick, "data", "show", "sweep.yaml").code == 2
