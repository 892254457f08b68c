import json
from pathlib import Path
from typing import Any

import pytest

from podium.errors import CheckpointError
from podium.training.checkpoint import Checkpoints, reading


@pytest.fixture(params=["folder", "address"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "folder" else f"memory://podium-test/{tmp_path.name}"


def put(checkpoints: Checkpoints, epoch: int, step: int = 0, text: str = "content") -> str:
    folder = checkpoints.folder(epoch, step)
    with checkpoints.writing(folder, {"epoch": epoch}) as made:
        (made / "sub").mkdir()
        (made / "sub/file").write_text(text)
    return folder


def get(store: str, folder: str) -> tuple[str, dict[str, Any]]:
    with reading(store, folder) as (path, state):
        return (path / "sub/file").read_text(), state


def test_what_is_written_is_read(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=2)
    folder = put(checkpoints, 3, 5)
    assert folder == "checkpoints/toy/00007/h2-e3-s5"
    assert get(store, folder) == ("content", {"epoch": 3})


def test_writing_again_replaces(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=2)
    put(checkpoints, 3)
    assert get(store, put(checkpoints, 3, text="other"))[0] == "other"
    assert len(checkpoints.newest_first()) == 1


def test_amending_keeps_the_files(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=2)
    folder = put(checkpoints, 3)
    checkpoints.amend(folder, {"epoch": 4})
    assert get(store, folder) == ("content", {"epoch": 4})


def test_the_furthest_are_kept_whoever_held_the_sweep(store: str) -> None:
    early, late = (Checkpoints(store, "toy", 7, holder) for holder in (9, 10))
    folders = [put(early, 1), put(late, 2), put(early, 2, 1), put(late, 10)]
    assert early.newest_first() == folders[::-1]
    late.prune(keep=2)
    assert early.newest_first() == [folders[3], folders[2]]
    late.keep_only(folders[2])
    assert early.newest_first() == [folders[2]]


def test_nothing_is_there_before_the_first(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    assert checkpoints.newest_first() == []
    checkpoints.prune(keep=1)
    with checkpoints.opening("") as found:
        assert found is None
    with pytest.raises(CheckpointError, match=r"h1-e1-s0"), reading(store, checkpoints.folder(1, 0)):
        pass


def test_a_damaged_one_gives_way_to_the_furthest_before_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    folders = [put(checkpoints, epoch) for epoch in (1, 2, 3, 4)]
    for folder in folders[1:3]:
        (tmp_path / folder / "sub/file").write_text("altered")
    with checkpoints.opening(folders[2]) as found:
        assert found is not None
        assert found[1] == {"epoch": 1}


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    folder = put(checkpoints, 1)
    with pytest.raises(RuntimeError, match="killed"), checkpoints.writing(folder, {}):
        raise RuntimeError("killed")
    assert get(str(tmp_path), folder)[0] == "content"
    assert [path.name for path in (tmp_path / folder).parent.iterdir()] == ["h1-e1-s0"]


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = put(Checkpoints(str(tmp_path), "toy", 7, holder=1), 1)
    path = tmp_path / folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="format 99, and this Podium reads 1"):
        get(str(tmp_path), folder)


def test_numbers_have_to_be_finite(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    with pytest.raises(ValueError, match="JSON"), checkpoints.writing(checkpoints.folder(1, 0), {"x": float("nan")}):
        pass
