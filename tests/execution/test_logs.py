"""Log files of trials."""

import os
import subprocess
import sys

from podium.execution.logs import captured, copied, log_path, tail


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


def test_captures_what_c_code_and_children_write(tmp_path, capfd):
    file = tmp_path / "deep" / "log"
    with captured(file):
        print("from python", flush=True)
        os.write(2, b"from c\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("afterwards")
    assert file.read_text().splitlines() == ["from python", "from c", "from a child"]
    assert capfd.readouterr().out == "afterwards\n"


def test_appends_and_restores_after_an_error(tmp_path, capfd):
    file = tmp_path / "log"
    for number in range(2):
        try:
            with captured(file):
                print(f"attempt {number}")
                raise ValueError
        except ValueError:
            print("restored")
    assert file.read_text() == "attempt 0\nattempt 1\n"
    assert capfd.readouterr().out == "restored\nrestored\n"


def test_copies_and_leaves_the_terminal_its_share(tmp_path, capsys):
    file = tmp_path / "deep" / "log"
    with copied(file):
        print("seen twice")
        print("and this", file=sys.stderr)
    assert file.read_text() == "seen twice\nand this\n"
    assert capsys.readouterr().err == "seen twice\nand this\n"
