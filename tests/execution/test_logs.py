"""Log files of trials."""

import subprocess
import sys

from podium.execution.logs import copied, log_path, tail


def test_each_trial_has_a_file_of_its_own(tmp_path):
    assert log_path(str(tmp_path), "digits", 7) == tmp_path / "logs" / "digits" / "trial-00007.log"


def test_the_tail_is_the_last_lines(tmp_path):
    file = tmp_path / "log"
    assert tail(file) == ""
    file.write_text("\n".join(f"line {number}" for number in range(100)))
    assert tail(file, lines=3) == "line 97\nline 98\nline 99"


def test_the_tail_survives_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"\xff" * 10_000 + b"\nend\n")
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
