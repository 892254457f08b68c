import errno
import gc
import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import s3_server
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from podium.errors import CheckpointError, StorageFault
from podium.store import read, remove, write
from podium.sweep.messages import Saved
from podium.training.checkpoint import Checkpoints, erase, lying, reading, withdraw


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "folder":
            return str(tmp_path)
        case "memory":
            return f"memory://podium-test/{tmp_path.name}"
        case _:
            address: str = request.getfixturevalue("s3_store").address
            return address


def put(checkpoints: Checkpoints, epoch: int, step: int = 0, text: str = "content") -> Saved:
    draft = checkpoints.draft()
    with draft.writing() as path:
        (path / "sub").mkdir()
        (path / "sub/file").write_text(text)
    return draft.place(epoch, step, {"epoch": epoch})


def get(store: str, folder: str) -> tuple[str, dict[str, Any]]:
    with reading(store, folder) as found:
        return (found.path / "sub/file").read_text(), found.state


def test_what_is_written_is_read(store: str) -> None:
    saved = put(Checkpoints(store, "toy", 7, holder=2), 3, 5)
    assert saved.folder.startswith("checkpoints/toy/00007/h2-e3-s5-")
    assert (saved.trial, saved.epoch, saved.step) == (7, 3, 5)
    assert get(store, saved.folder) == ("content", {"epoch": 3})


def test_its_size_is_that_of_its_files(tmp_path: Path) -> None:
    saved = put(Checkpoints(str(tmp_path), "toy", 7, holder=2), 3, text="x" * 1000)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / saved.folder).rglob("*") if path.is_file()}
    assert sizes["file"] == 1000
    assert saved.bytes == sum(sizes.values())


def test_two_of_the_same_place_stand_beside_each_other(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=2)
    one, other = put(checkpoints, 3, text="one"), put(checkpoints, 3, text="other")
    assert [get(store, saved.folder)[0] for saved in (one, other)] == ["one", "other"]


def test_the_furthest_comes_first_whoever_held_the_sweep(store: str) -> None:
    early, late = (Checkpoints(store, "toy", 7, holder) for holder in (9, 10))
    folders = [put(early, 1).folder, put(late, 2).folder, put(early, 2, 1).folder, put(late, 10).folder]
    assert early.newest_first() == late.newest_first() == folders[::-1]


def test_nothing_is_there_before_the_first(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    assert checkpoints.newest_first() == []
    with checkpoints.opening("") as found:
        assert found is None
    with pytest.raises(CheckpointError, match=r"h1-e1-s0"), reading(store, f"{checkpoints.root}/h1-e1-s0"):
        pass


def test_a_draft_is_no_checkpoint(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    with checkpoints.draft().writing() as path:
        (path / "file").write_text("content")
    assert checkpoints.newest_first() == []


def test_a_damaged_one_gives_way_to_the_furthest_before_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    folders = [put(checkpoints, epoch).folder for epoch in (1, 2, 3, 4)]
    for folder in folders[1:3]:
        (tmp_path / folder / "sub/file").write_text("altered")
    with checkpoints.opening(folders[2]) as found:
        assert found is not None
        assert (found.folder, found.state) == (folders[0], {"epoch": 1})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["state.json", "sub/file"]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    truncated=st.booleans(),
)
def test_damage_anywhere_is_noticed(tmp_path: Path, name: str, where: float, bit: int, truncated: bool) -> None:
    saved = put(Checkpoints(str(tmp_path), "toy", 7, holder=1), 1)
    path = tmp_path / saved.folder / name
    content = bytearray(path.read_bytes())
    position = int(where * len(content))
    if truncated:
        content = content[:position]
    else:
        content[position] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=saved.folder), reading(str(tmp_path), saved.folder):
        pass


def test_another_content_that_is_whole_in_itself_is_noticed(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    ours, theirs = put(checkpoints, 1), put(checkpoints, 1, text="planted")
    for name in ("sub/file", "state.json"):
        write(store, f"{ours.folder}/{name}", read(store, f"{theirs.folder}/{name}"))
    with pytest.raises(CheckpointError, match=f"{ours.folder} was altered: state.json"):
        get(store, ours.folder)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    saved = put(checkpoints, 1)
    with pytest.raises(RuntimeError, match="a mistake"), checkpoints.draft().writing():
        raise RuntimeError("a mistake")
    assert [path.name for path in (tmp_path / checkpoints.root).iterdir()] == [Path(saved.folder).name]


def test_another_format_is_refused(tmp_path: Path) -> None:
    saved = put(Checkpoints(str(tmp_path), "toy", 7, holder=1), 1)
    path = tmp_path / saved.folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="format 99, and this Podium reads 2"):
        get(str(tmp_path), saved.folder)


def test_numbers_have_to_be_finite(store: str) -> None:
    draft = Checkpoints(store, "toy", 7, holder=1).draft()
    with draft.writing() as path:
        pass
    with pytest.raises(ValueError, match="JSON"):
        draft.place(1, 0, {"x": float("nan")})
    assert not path.exists()


def test_what_some_holders_left_is_found(store: str) -> None:
    one, two, three = (Checkpoints(store, "toy", trial, holder) for trial, holder in [(7, 1), (7, 2), (8, 3)])
    saved = [put(one, 1), put(two, 2, 5), put(three, 3)]
    put(Checkpoints(store, "other", 7, holder=1), 1)
    assert lying(store, "toy", range(3)) == (saved[:2], [])
    assert lying(store, "toy", range(3, 4)) == (saved[2:], [])
    assert lying(store, "none", range(3)) == ([], [])


def test_what_killed_writers_left_is_found(tmp_path: Path) -> None:
    for holder in (1, 2):
        with Checkpoints(str(tmp_path), "toy", 7, holder).draft().writing() as path:
            (path / "file").write_text("content")
    checkpoints, hidden = lying(str(tmp_path), "toy", range(2))
    assert checkpoints == []
    assert [Path(folder).name.partition("-")[0] for folder in hidden] == [".h1"]
    erase(str(tmp_path), hidden[0])
    assert lying(str(tmp_path), "toy", range(2)) == ([], [])


def test_what_an_interrupted_upload_left_is_no_checkpoint(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    whole, torn = put(checkpoints, 1), put(checkpoints, 2)
    remove(store, f"{torn.folder}/state.json")
    assert lying(store, "toy", range(2)) == ([whole], [torn.folder])
    with checkpoints.opening(torn.folder) as found:
        assert found is not None
        assert found.folder == whole.folder


def test_what_is_erased_while_it_is_read_is_read_whole_or_not_at_all(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    for _ in range(20):
        saved = put(checkpoints, 1)
        with ThreadPoolExecutor(1) as other:
            other.submit(lambda folder=saved.folder: erase(store, withdraw(store, folder)))
            with suppress(CheckpointError), reading(store, saved.folder) as found:
                assert found.state == {"epoch": 1}
        assert checkpoints.newest_first() == []


def test_what_was_withdrawn_and_erased_is_gone(store: str) -> None:
    checkpoints = Checkpoints(store, "toy", 7, holder=1)
    kept, gone = put(checkpoints, 1), put(checkpoints, 2)
    for _ in range(2):
        erase(store, withdraw(store, gone.folder))
        assert checkpoints.newest_first() == [kept.folder]
        assert lying(store, "toy", range(2)) == ([kept], [])


def test_a_withdrawn_one_is_out_of_sight_before_it_is_erased(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    saved = put(checkpoints, 1)
    rest = withdraw(str(tmp_path), saved.folder)
    assert checkpoints.newest_first() == []
    assert lying(str(tmp_path), "toy", range(2)) == ([], [rest])


def fault_of(checkpoints: Checkpoints, write: Callable[[Path], object]) -> str:
    """What the fault says; nothing is left of it, as its traceback would keep the file open."""
    try:
        with checkpoints.draft().writing() as path:
            write(path / "large")
    except StorageFault as fault:
        return str(fault)
    finally:
        gc.collect()
    return ""


WRITES: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: path.write_bytes(bytes(2_000_000)),
    "safetensors": lambda path: save_file({"x": torch.zeros(500_000)}, path),
    "torch": lambda path: torch.save({"x": torch.zeros(500_000)}, path),
    "numpy": lambda path: np.save(path, np.zeros(500_000)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_full_disk_is_a_fault_that_leaves_what_was_there(small_disk: Path, write: Callable[[Path], object]) -> None:
    checkpoints = Checkpoints(str(small_disk), "toy", 7, holder=1)
    saved = put(checkpoints, 1)
    failed = f"a checkpoint of trial 7 could not be written: {small_disk}: "
    assert re.fullmatch(
        failed + r".*No space left on device.*; \d.\d of 1.0 MB are free there", fault_of(checkpoints, write)
    )
    assert [each.name for each in (small_disk / checkpoints.root).iterdir()] == [Path(saved.folder).name]
    assert get(str(small_disk), put(checkpoints, 2).folder)[0] == "content"


def test_a_disk_that_is_full_at_the_last_moment_leaves_nothing(small_disk: Path) -> None:
    checkpoints = Checkpoints(str(small_disk), "toy", 7, holder=1)
    draft = checkpoints.draft()
    with draft.writing() as path:
        (path / "file").write_text("content")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(2_000_000))
    with pytest.raises(StorageFault, match="No space left"):
        draft.place(1, 0, {})
    with pytest.raises(StorageFault, match="No space left"):
        put(checkpoints, 1, text="x" * 100_000)
    ballast.unlink()
    assert list((small_disk / checkpoints.root).iterdir()) == []
    put(checkpoints, 1)


def test_a_read_only_disk_is_a_fault(small_disk: Path) -> None:
    checkpoints = Checkpoints(str(small_disk), "toy", 7, holder=1)
    saved = put(checkpoints, 1)
    draft = checkpoints.draft()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for attempt in (checkpoints.draft, lambda: draft.place(1, 0, {}), lambda: put(checkpoints, 2)):
        with pytest.raises(StorageFault, match="Read-only file system"):
            attempt()
    with pytest.raises(StorageFault, match="Read-only"), draft.writing() as path:
        (path / "file").write_text("content")
    assert get(str(small_disk), saved.folder)[0] == "content"


def test_an_error_of_the_disk_is_a_fault(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    with pytest.raises(StorageFault, match="Input/output error"), checkpoints.draft().writing():
        raise OSError(errno.EIO, "Input/output error")


def test_an_error_of_the_writer_s_own_is_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), "toy", 7, holder=1)
    with pytest.raises(FileNotFoundError, match="nowhere"), checkpoints.draft().writing() as path:
        (path / "nowhere/file").write_text("content")


def test_a_store_that_is_gone_is_a_fault(s3_store: s3_server.Store) -> None:
    checkpoints = Checkpoints("s3://podium-no-such-bucket", "toy", 7, holder=1)
    with pytest.raises(StorageFault, match=r"s3://podium-no-such-bucket: .*does not exist"):
        put(checkpoints, 1)


def test_a_store_that_does_not_answer_is_a_fault(dead_s3_store: str) -> None:
    checkpoints = Checkpoints(dead_s3_store, "toy", 7, holder=1)
    folder = f"{checkpoints.root}/h1-e1-s0"
    with pytest.raises(StorageFault, match="a checkpoint of trial 7 could not be written: s3://podium-nowhere: "):
        put(checkpoints, 1)
    with pytest.raises(StorageFault, match="s3://podium-nowhere"), checkpoints.opening(folder):
        pass


KILLING = """
import os, random, signal, sys, time
from pathlib import Path
from podium.training.checkpoint import Checkpoints, lying, reading

store, rounds = sys.argv[1], int(sys.argv[2])
moments, finished, torn = random.Random(0), 0, 0
for round in range(rounds):
    checkpoints = Checkpoints(store, "toy", round, holder=1)
    told, tell = os.pipe()
    writer = os.fork()
    if writer == 0:
        for epoch in range(1, 1000):
            draft = checkpoints.draft()
            with draft.writing() as path:
                for name in "abc":
                    (path / name).write_bytes(os.urandom(20_000))
            os.write(tell, bytes(draft.place(epoch, 0, {"epoch": epoch}).folder + "\\n", "utf-8"))
        os._exit(0)
    os.close(tell)
    began, lines = time.monotonic(), os.fdopen(told)
    folders = [lines.readline().strip() for _ in range(moments.randrange(3))]
    one_s = (time.monotonic() - began) / len(folders) if folders else 0.01
    time.sleep(moments.uniform(0, one_s))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    folders += lines.read().splitlines()
    there = checkpoints.newest_first()
    assert set(folders) <= set(there) and len(there) <= len(folders) + 1, (folders, there)
    for folder in there:
        with reading(store, folder) as found:
            assert sorted(path.name for path in found.path.iterdir()) == ["a", "b", "c", "state.json"]
    finished += len(there)
    torn += len(lying(store, "toy", range(2))[1])
print(finished, torn)
"""


def test_a_killed_writer_leaves_whole_checkpoints_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLING, str(tmp_path), "40"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    finished, torn = map(int, done.stdout.split())
    assert finished > 20
    assert torn > 0, "no writer was killed while it wrote"
