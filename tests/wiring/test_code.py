"""The user's code in the store."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.errors import UserError
from podium.wiring import code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a task, a module beside it, and what is none of Podium's business."""
    mine = tmp_path / "mine"
    for name in ("task.py", "lib/helper.py", ".venv/lib/big.py", "lib/__pycache__/helper.py"):
        path = mine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    (mine / "notes.md").write_text("not code")
    return mine


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_python_files_are_copied_and_hidden_ones_left(folder: Path, tmp_path: Path) -> None:
    digest = code.stage(folder, tmp_path / "store", tmp_path / "store")
    assert names(code.staged(digest, tmp_path / "store")) == {"task.py", "lib/helper.py"}


def test_the_digest_is_a_function_of_names_and_content_alone(folder: Path, tmp_path: Path) -> None:
    digest = code.stage(folder, tmp_path / "store", tmp_path / "store")
    (folder / "notes.md").write_text("changed")
    (folder / "task.py").touch()
    assert code.stage(folder, tmp_path / "store", tmp_path / "store") == digest
    moved = folder.rename(tmp_path / "moved")
    assert code.stage(moved, tmp_path / "other", tmp_path / "other") == digest
    (moved / "task.py").write_text("# changed\n")
    changed = code.stage(moved, tmp_path / "store", tmp_path / "store")
    (moved / "task.py").rename(moved / "task2.py")
    assert len({digest, changed, code.stage(moved, tmp_path / "store", tmp_path / "store")}) == 3


def test_content_that_moves_between_files_is_another_code(tmp_path: Path) -> None:
    digests = set()
    for index, (one, other) in enumerate([("ab", "c"), ("a", "bc")]):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "a.py").write_text(one)
        (folder / "b.py").write_text(other)
        digests.add(code.stage(folder, tmp_path / "store", tmp_path / "store"))
    assert len(digests) == 2


def test_a_store_inside_the_folder_is_not_code(folder: Path) -> None:
    first = code.stage(folder, folder / "home", folder / "home")
    assert code.stage(folder, folder / "home", folder / "home") == first


def test_launches_at_the_same_time_make_one_whole_copy(folder: Path, tmp_path: Path) -> None:
    for index in range(50):
        (folder / f"module_{index}.py").write_text(f"x = {index}\n")
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda _: code.stage(folder, tmp_path / "store", tmp_path / "store"), range(16)))
    assert len(set(digests)) == 1
    (copy,) = (tmp_path / "store" / "code").iterdir()
    assert len(names(copy)) == 52


def test_a_folder_full_of_code_is_refused_with_its_number(tmp_path: Path) -> None:
    for index in range(code.MOST_FILES + 1):
        (tmp_path / f"module_{index}.py").write_text("")
    with pytest.raises(UserError, match=r"holds 501 Python files.* at most 500; put .* into a folder of their own"):
        code.stage(tmp_path, tmp_path / "store", tmp_path / "store")
    assert not (tmp_path / "store").exists()
