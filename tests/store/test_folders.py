"""Folders made once: whole or not at all, by one process, whoever else tries or dies."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from s3_server import Store

from podium.errors import StorageFault, UserError
from podium.folders import CONTENTS, discard, fetch, has, is_whole, make
from podium.store import copy_into, read, remove, write

MAKER = """
import sys, time
from pathlib import Path
from podium.folders import make

store, name, made, gate = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])


def fill(folder):
    with made.open("a") as file:
        file.write(f"{folder}\\n")
    (folder / "a").write_text("a")
    while not gate.exists():
        time.sleep(0.01)
    if gate.read_text():
        raise SystemExit(1)
    (folder / "b").write_text("b")


print(make(store, name, Path(store) / "cache", fill))
"""


def fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a").write_text("a")
    (folder / "b").write_bytes(bytes(1000))


def refuse(folder: Path) -> None:
    raise AssertionError(f"{folder} has to be there")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Makers:
    """Processes that make folders in a store, and end theirs when their gate opens; text in it makes them fail."""

    def __init__(self, folder: Path) -> None:
        self.store, self.gate, self._made = folder / "store", folder / "gate", folder / "made"
        self.processes: list[subprocess.Popen[str]] = []

    def begin(self, name: str, gate: Path | None = None) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", MAKER, str(self.store), name, str(self._made), str(gate or self.gate)]
        self.processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return self.processes[-1]

    @property
    def drafts(self) -> list[Path]:
        """The folders that were begun, in their order."""
        return [Path(line) for line in self._made.read_text().splitlines()] if self._made.exists() else []

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[Makers]:
    makers = Makers(tmp_path)
    yield makers
    makers.close()


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    folder = make(str(tmp_path), "kind/one", tmp_path / "cache", fill)
    assert folder == tmp_path / "kind" / "one" == make(str(tmp_path), "kind/one", tmp_path / "cache", refuse)
    assert (folder / "deep" / "a").read_text() == "a"
    assert is_whole(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kind"]
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "no contents", "other contents"])
def test_a_damaged_folder_is_made_anew(damage: str, tmp_path: Path) -> None:
    folder = make(str(tmp_path), "one", tmp_path, fill)
    if damage == "missing":
        (folder / "deep" / "a").unlink()
    elif damage == "truncated":
        (folder / "b").write_bytes(bytes(999))
    elif damage == "no contents":
        (folder / CONTENTS).unlink()
    else:
        (folder / CONTENTS).write_text("[]")
    assert not is_whole(folder)
    assert make(str(tmp_path), "one", tmp_path, fill) == folder
    assert is_whole(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise UserError("no")

    with pytest.raises(UserError, match=r"^no$"):
        make(str(tmp_path), "one", tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


def test_of_many_one_makes_and_the_others_wait(makers: Makers) -> None:
    processes = [makers.begin("kind/one") for _ in range(4)]
    wait_until(lambda: makers.drafts)
    makers.gate.touch()
    assert {process.communicate()[0].strip() for process in processes} == {str(makers.store / "kind" / "one")}
    assert len(makers.drafts) == 1
    assert [path.name for path in (makers.store / "kind").iterdir()] == ["one"]


def test_who_waits_for_a_maker_that_is_killed_makes_it(makers: Makers) -> None:
    first = makers.begin("kind/one")
    wait_until(lambda: makers.drafts)
    second = makers.begin("kind/one")
    first.kill()
    wait_until(lambda: len(makers.drafts) == 2)
    assert not makers.drafts[0].exists()
    makers.gate.touch()
    folder = Path(second.communicate()[0].strip())
    assert is_whole(folder)
    assert list(folder.parent.iterdir()) == [folder]


def waits(process: "subprocess.Popen[str]") -> bool:
    """Whether a process has come to a lock, or passed it."""
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            if os.readlink(link).partition(" ")[0].endswith(".lock"):
                return True
    return False


def test_after_a_maker_that_failed_there_is_one_again(makers: Makers, tmp_path: Path) -> None:
    """The lock that the second waited for is gone with the first; the third must not find another one free."""
    first = makers.begin("kind/one", tmp_path / "first gate")
    wait_until(lambda: makers.drafts)
    second = makers.begin("kind/one")
    wait_until(lambda: waits(second))
    (tmp_path / "first gate").write_text("fail")
    wait_until(lambda: len(makers.drafts) == 2)
    third = makers.begin("kind/one")
    wait_until(lambda: waits(third))
    time.sleep(0.2)  # a third that would not wait is given the time to show it
    makers.gate.touch()
    assert first.wait(60) == 1
    assert second.communicate()[0] == third.communicate()[0] == f"{makers.store / 'kind' / 'one'}\n"
    assert len(makers.drafts) == 2


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(makers: Makers) -> None:
    dead, living = makers.begin("kind/dead"), makers.begin("kind/living")
    wait_until(lambda: len(makers.drafts) == 2)
    lying, growing = sorted(makers.drafts)
    dead.kill()
    dead.communicate()
    assert (lying / "a").exists()
    make(str(makers.store), "kind/other", makers.store, fill)
    assert not lying.exists()
    assert (growing / "a").exists()
    makers.gate.touch()
    assert is_whole(Path(living.communicate()[0].strip()))
    assert sorted(path.name for path in (makers.store / "kind").iterdir() if path.is_dir()) == ["living", "other"]


def test_what_is_discarded_is_gone_unless_a_process_is_making_it(makers: Makers) -> None:
    folder = make(str(makers.store), "kind/one", makers.store, fill)
    assert discard(folder, "one", dry_run=True) == discard(folder, "one", dry_run=True) > 1000
    assert has(str(makers.store), "kind/one")
    discard(folder, "one", dry_run=False)
    assert discard(folder, "one", dry_run=False) == 0
    assert not has(str(makers.store), "kind/one")
    assert list(folder.parent.iterdir()) == []
    living = makers.begin("kind/one")
    wait_until(lambda: makers.drafts)
    for dry_run in (True, False):
        assert discard(makers.drafts[0], "one", dry_run=dry_run) is None
    makers.gate.touch()
    assert is_whole(Path(living.communicate()[0].strip()))


def test_without_locks_the_first_to_end_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlocked(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", unlocked)
    made: list[tuple[Path, int]] = []
    (tmp_path / f".other-{'0' * 32}").mkdir()

    def overtaken(folder: Path) -> None:
        other = make(str(tmp_path), "one", tmp_path, fill)
        made.append((other, other.stat().st_ino))
        fill(folder)

    folder = make(str(tmp_path), "one", tmp_path, overtaken)
    assert made == [(folder, folder.stat().st_ino)]
    drafts = [path.name for path in tmp_path.iterdir() if path.is_dir() and path != folder]
    assert drafts == [f".other-{'0' * 32}"], "who may live is left alone"


def test_a_full_disk_is_one_fault_and_leaves_nothing(small_disk: Path) -> None:
    def fill_much(folder: Path) -> None:
        (folder / "big").write_bytes(bytes(2_000_000))

    problem = rf"^kind/one could not be written: {small_disk}: No space left on device; 0\.0 of 1\.0 MB are free there$"
    with pytest.raises(StorageFault, match=problem):
        make(str(small_disk), "kind/one", small_disk, fill_much)
    assert list((small_disk / "kind").iterdir()) == []
    make(str(small_disk), "kind/one", small_disk, fill)


def test_what_one_host_made_another_fetches(s3_store: Store, tmp_path: Path) -> None:
    store = s3_store.address
    one, two = tmp_path / "one", tmp_path / "two"
    assert make(store, "kind/one", one, fill) == one / "kind" / "one"
    assert make(store, "kind/one", two, refuse) == two / "kind" / "one"
    assert is_whole(two / "kind" / "one")
    assert (two / "kind" / "one" / "deep" / "a").read_text() == "a"
    inode = (two / "kind" / "one").stat().st_ino
    assert has(store, "kind/one")
    remove(store, "kind/one/b")
    assert not has(store, "kind/one")
    assert fetch(store, "kind/one", two).stat().st_ino == inode, "what is here is not fetched again"


@pytest.mark.parametrize("damage", ["deep/a", "b", CONTENTS])
def test_what_an_address_does_not_have_whole_is_refused_and_made_anew(
    damage: str, s3_store: Store, tmp_path: Path
) -> None:
    store = s3_store.address
    make(store, "kind/one", tmp_path / "one", fill)
    if damage == "b":
        write(store, "kind/one/b", bytes(10))
    else:
        remove(store, f"kind/one/{damage}")
    missing = "is not there as a whole" if damage == CONTENTS else f"/{damage} is missing or truncated"
    fix = f"; delete {store}/kind/one and launch the sweep again, and it is made anew"
    with pytest.raises(UserError) as refusal:
        fetch(store, "kind/one", tmp_path / "two")
    assert str(refusal.value).endswith(f"{store}/kind/one{missing if missing[0] == '/' else ' ' + missing}{fix}")
    assert list((tmp_path / "two" / "kind").iterdir()) == []
    make(store, "kind/one", tmp_path / "one", refuse)
    assert is_whole(fetch(store, "kind/one", tmp_path / "two"))


def test_a_damaged_copy_is_fetched_again(s3_store: Store, tmp_path: Path) -> None:
    folder = make(s3_store.address, "kind/one", tmp_path, fill)
    (folder / "b").write_bytes(bytes(999))
    assert fetch(s3_store.address, "kind/one", tmp_path) == folder
    assert is_whole(folder)


def test_an_upload_that_broke_off_does_not_count(s3_store: Store, tmp_path: Path) -> None:
    """The list of contents comes last: without it there is nothing, however many files are there."""
    store = s3_store.address
    folder = make(str(tmp_path), "one", tmp_path, fill)
    (folder / CONTENTS).rename(tmp_path / "contents")
    copy_into(store, "one", folder)
    with pytest.raises(UserError, match="is not there as a whole"):
        fetch(store, "one", tmp_path / "cache")
    made: list[Path] = []
    make(store, "one", tmp_path / "cache", lambda folder: (made.append(folder), fill(folder))[1])
    assert len(made) == 1
    assert read(store, f"one/{CONTENTS}") == (tmp_path / "contents").read_bytes()


def test_a_full_cache_is_no_fault_of_the_address(s3_store: Store, small_disk: Path, tmp_path: Path) -> None:
    def fill_much(folder: Path) -> None:
        for name in "abc":
            (folder / name).write_bytes(os.urandom(700_000))

    make(s3_store.address, "kind/one", tmp_path, fill_much)
    with pytest.raises(StorageFault, match=rf"^kind/one could not be written: {small_disk}: No space left on device; "):
        fetch(s3_store.address, "kind/one", small_disk)
    assert list((small_disk / "kind").iterdir()) == []


FETCH = """
import sys
from pathlib import Path
from podium.folders import fetch
for name in sys.argv[3:]:
    print(fetch(sys.argv[1], name, Path(sys.argv[2])), flush=True)
sys.stdin.readline()
"""


def fetching(store: str, cache: Path, *names: str, gigabytes: str) -> "subprocess.Popen[str]":
    """A process that has fetched some folders, and holds them until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, store, str(cache), *names],
        env={**os.environ, "PODIUM_CACHE_GB": gigabytes},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for name in names:
        assert process.stdout.readline().strip() == str(cache / name)
    return process


def test_a_host_keeps_no_more_of_a_store_than_it_may(s3_store: Store, tmp_path: Path) -> None:
    names = [f"shards/{letter * 16}" for letter in "abc"]
    for name in names:
        make(s3_store.address, name, tmp_path / "maker", lambda made: (made / "one").write_bytes(b"x" * 1000))
    cache, limit = tmp_path / "cache", str(2.5e-6)
    fetching(s3_store.address, cache, names[0], gigabytes=limit).communicate("")
    with fetching(s3_store.address, cache, names[1], gigabytes=limit) as holder:
        fetching(s3_store.address, cache, names[2], gigabytes=limit).communicate("")
        assert sorted(path.name for path in (cache / "shards").iterdir()) == ["b" * 16, "c" * 16], "the oldest went"
        fetching(s3_store.address, cache, names[0], gigabytes=limit).communicate("")
        assert sorted(path.name for path in (cache / "shards").iterdir()) == ["a" * 16, "b" * 16], "b is in use"
        holder.communicate("")


def test_a_limit_that_is_no_number_is_refused(s3_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(s3_store.address, "shards/d", tmp_path / "maker", lambda made: (made / "one").write_bytes(b"x"))
    monkeypatch.setenv("PODIUM_CACHE_GB", "much")
    with pytest.raises(UserError, match="PODIUM_CACHE_GB is 'much'; it is a number of gigabytes"):
        fetch(s3_store.address, "shards/d", tmp_path / "cache")
