"""Log files of trials."""

import subprocess
import sys
from pathlib import Path

import pytest

from podium.errors import StorageFault
from podium.execution.logs import copied, log_path, publish, read_log, tail


def test_each_trial_has_a_file_of_its_own(tmp_path):
    cache = tmp_path / "cache"
    for store, folder in ((str(tmp_path), tmp_path), (f"file://{tmp_path}", tmp_path), ("memory://x", cache)):
        assert log_path(store, "digits", 7, cache) == folder / "logs" / "digits" / "trial-00007.log"


def write(store: str, cache: Path, text: str) -> None:
    path = log_path(store, "toy", 7, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def test_in_a_folder_there_is_nothing_to_publish(tmp_path):
    store, cache = str(tmp_path / "store"), tmp_path / "cache"
    assert read_log(store, "toy", 7, cache) == b""
    write(store, cache, "first\nsecond\n")
    publish(store, "toy", 7, cache)
    assert read_log(store, "toy", 7, cache) == b"first\nsecond\n"
    assert read_log(store, "toy", 7, cache, start=6) == b"second\n"
    assert not cache.exists()


def test_at_an_address_the_parts_of_all_hosts_follow_each_other(s3_store, tmp_path):
    store, one, two = s3_store.address, tmp_path / "one", tmp_path / "two"
    publish(store, "toy", 7, one)
    assert read_log(store, "toy", 7, one) == b""
    for cache, text in ((one, "a1\n"), (two, "b1\n"), (two, ""), (one, "a2\n")):
        write(store, cache, text)
        publish(store, "toy", 7, cache)
        assert not list((cache / "logs" / "toy").iterdir())
    write(store, two, "b2 so far")
    assert read_log(store, "toy", 7, one) == b"a1\nb1\na2\n"
    assert [read_log(store, "toy", 7, two, start)[:4] for start in (0, 6, 9, 12, 99)] == [
        b"a1\nb", b"a2\nb", b"b2 s", b"so f", b"",
    ]  # fmt: skip


def test_what_could_not_be_published_stays_and_is_published_next(s3_store, tmp_path):
    lost = s3_store.address.replace("podium-", "no-such-podium-")
    write(lost, tmp_path, "first\n")
    with pytest.raises(StorageFault, match=r"logs/toy/trial-00007.log could not be .* bucket does not exist"):
        publish(lost, "toy", 7, tmp_path)
    write(lost, tmp_path, "second\n")
    publish(s3_store.address, "toy", 7, tmp_path)
    assert read_log(s3_store.address, "toy", 7, tmp_path / "another") == b"first\nsecond\n"


def test_the_tail_is_the_last_lines(tmp_path):
    file = tmp_path / "log"
    assert tail(file) == ""
    file.write_text("\n".join(f"line {number}" for number in range(100)))
    assert tail(file, lines=3) == "line 97\nline 98\nline 99"


def test_the_tail_survives_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "log"
    file.write_bytes((b"\xff" * 100 + b"\n") * 100 + b"end\n")
    assert tail(file, lines=2).endswith("\nend")


CAPTURE = """
import os, subprocess, sys
from pathlib import Path
from podium.execution.logs import captured
print("before")
try:
    with captured(Path(sys.argv[1])):
        print("from python")
        sys.stdout.flush()
        os.write(2, b"from c\\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        raise ValueError
except ValueError:
    print("afterwards")
"""


def test_captures_what_python_c_code_and_children_write_until_an_error(tmp_path):
    """In a process of its own: pytest replaces the streams that are captured here."""
    file = tmp_path / "deep" / "log"
    for _ in range(2):
        command = [sys.executable, "-c", CAPTURE, str(file)]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (child.stdout, child.stderr) == ("before\nafterwards\n", "")
    assert file.read_text().splitlines() == ["from python", "from c", "from a child"] * 2


def test_copies_and_leaves_the_terminal_its_share(tmp_path, capsys):
    file = tmp_path / "deep" / "log"
    with copied(file):
        print("seen twice")
        print("and this", file=sys.stderr)
    assert file.read_text() == "seen twice\nand this\n"
    assert capsys.readouterr().err == "seen twice\nand this\n"
