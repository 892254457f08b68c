"""The user's code in the store."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.errors import StorageFault, UserError
from podium.folders import CONTENTS
from podium.wiring import code
from podium.wiring.place import Place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a task, a module beside it, and what is none of Podium's business."""
    mine = tmp_path / "mine"
    for name in ("task.py", "lib/helper.py", ".venv/lib/big.py", "lib/__pycache__/helper.py"):
        path = mine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    (mine / "notes.md").write_text("not code")
    (mine / "folder.py").mkdir()
    return mine


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path / "home", str(tmp_path / "store"))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_python_files_are_copied_and_hidden_ones_left(folder: Path, place: Place) -> None:
    digest = code.stage(folder, place)
    assert names(place.fetch(code.staged(digest))) == {"task.py", "lib/helper.py", CONTENTS}


def test_the_digest_is_a_function_of_names_and_content_alone(folder: Path, place: Place, tmp_path: Path) -> None:
    digest = code.stage(folder, place)
    (folder / "notes.md").write_text("changed")
    (folder / "task.py").touch()
    assert code.stage(folder, place) == digest
    moved = folder.rename(tmp_path / "moved")
    assert code.stage(moved, Place.of(tmp_path / "other")) == digest
    (moved / "task.py").write_text("# changed\n")
    changed = code.stage(moved, place)
    (moved / "task.py").rename(moved / "task2.py")
    assert len({digest, changed, code.stage(moved, place)}) == 3


def test_content_that_moves_between_files_is_another_code(place: Place, tmp_path: Path) -> None:
    digests = set()
    for index, (one, other) in enumerate([("ab", "c"), ("a", "bc")]):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "a.py").write_text(one)
        (folder / "b.py").write_text(other)
        digests.add(code.stage(folder, place))
    assert len(digests) == 2


def test_a_store_inside_the_folder_is_not_code(folder: Path) -> None:
    place = Place.of(folder / "home")
    first = code.stage(folder, place)
    assert code.stage(folder, place) == first


@pytest.mark.parametrize("store", [None, "memory://code"])
def test_a_home_that_is_the_folder_is_not_code_either(folder: Path, store: str | None) -> None:
    place = Place.of(folder, store)
    first = code.stage(folder, place)
    assert code.stage(folder, place) == first


def test_launches_at_the_same_time_make_one_whole_copy(folder: Path, place: Place, tmp_path: Path) -> None:
    for index in range(50):
        (folder / f"module_{index}.py").write_text(f"x = {index}\n")
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda _: code.stage(folder, place), range(16)))
    assert len(set(digests)) == 1
    (copy,) = (tmp_path / "store" / "code").iterdir()
    assert len(names(copy)) == 53


def test_a_folder_full_of_code_is_refused_with_its_number(place: Place, tmp_path: Path) -> None:
    for index in range(code.MOST_FILES + 1):
        (tmp_path / f"module_{index}.py").write_text("")
    with pytest.raises(UserError, match=r"holds 501 Python files.* at most 500; put .* into a folder of their own"):
        code.stage(tmp_path, place)
    assert not (tmp_path / "store").exists()


def test_a_disk_that_fills_up_leaves_no_half_of_the_code(folder: Path, small_disk: Path, tmp_path: Path) -> None:
    (folder / "big.py").write_text("#" * 2_000_000)
    place = Place.of(tmp_path / "home", str(small_disk))
    with pytest.raises(StorageFault, match=f"code/.* could not be written: {small_disk}: No space left on device; 0.0"):
        code.stage(folder, place)
    assert list((small_disk / "code").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert "big.py" in names(place.fetch(code.staged(code.stage(folder, place))))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Kind", True), ("made", True), ("train", False), ("other", False), ("missing", False), ("twice", False)],
)
def test_a_task_is_told_from_a_training_function(tmp_path: Path, name: str, expected: bool) -> None:
    text = """
import no_such_library
class Kind: ...
made = Kind()
other = made
class twice: ...
def train(trial): ...
def twice(trial): ...
"""
    (tmp_path / "task.py").write_text(text)
    assert code.is_task(f"task.py:{name}", tmp_path) is expected


def test_code_that_cannot_be_read_holds_no_task(tmp_path: Path) -> None:
    assert not code.is_task("task.py:Kind", tmp_path)
    (tmp_path / "task.py").write_text("class Kind(:")
    assert not code.is_task("task.py:Kind", tmp_path)
