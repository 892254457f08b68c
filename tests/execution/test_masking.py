"""No secret of the environment is written down."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from podium.execution.logs import tail
from podium.masking import PIECE_BYTES, Secrets, mask

SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef",
    "AWS_SECRET_ACCESS_KEY": "a/b+c.d*e(f)g",
    "DB_PASSWORD": "correct horse",
    "PODIUM_LEDGER": "postgresql://podium:open%20sesame@db/podium",
    "SIGNING_KEY": "-----BEGIN KEY-----\nline-of-a-key-1\nline-of-a-key-2\n-----END KEY-----",
}
WORDS = ("0123456789abcdef", "a/b+c.d*e(f)g", "correct horse", "open%20sesame", "open sesame", "line-of-a-key-2")

PRINTING = """
import os, subprocess, sys
from pathlib import Path
from podium.execution.logs import captured, tail

log = Path(sys.argv[1])
with captured(log):
    print("printed", os.environ["DB_PASSWORD"])
    sys.stderr.write(os.environ["SIGNING_KEY"] + "\\n")
    sys.stdout.flush()
    early = log.read_text()
    subprocess.run(["env"])
    os.write(1, b"by C code: " + os.environ["WANDB_API_KEY"].encode() + b"\\n")
    late = tail(log, 200)
Path(sys.argv[2]).write_text(early)
Path(sys.argv[3]).write_text(late)
"""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("word", WORDS)
def test_a_secret_is_masked_wherever_it_stands(word: str) -> None:
    assert mask(f"before {word} after") == "before *** after"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:other-secret@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://me:other/secret@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://me@db/x?password=other&sslmode=require", "postgresql://me@db/x?password=***&sslmode=require"),
        ("http://127.0.0.1:8265/jobs and me@example.org", "http://127.0.0.1:8265/jobs and me@example.org"),
        ("s3://bucket/podium", "s3://bucket/podium"),
        ("x=1.0, loss=0.25", "x=1.0, loss=0.25"),
    ],
)
def test_passwords_in_addresses_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_a_path_and_a_short_value_are_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(tmp_path))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("OLDPWD", f"{tmp_path}/gone")
    assert mask(f"false: {tmp_path}/gone") == f"false: {tmp_path}/gone"


def test_ray_s_token_is_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("f00d" * 16)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert mask(f"Bearer {'f00d' * 16}") == "Bearer ***"


@pytest.mark.usefixtures("known")
def test_what_a_dead_process_left_is_masked_in_place(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("kept: correct horse\nÄ: correct horse, 0123456789abcdef\n")
    size = log.stat().st_size
    Secrets().mask_file(log, start=20)
    assert log.read_text() == f"kept: correct horse\nÄ: {'*' * 13}, {'*' * 16}\n"
    assert log.stat().st_size == size
    assert "horse" not in tail(log)


@pytest.mark.usefixtures("known")
def test_a_secret_across_pieces_of_a_long_file_is_masked(tmp_path: Path) -> None:
    (log := tmp_path / "log").write_bytes(b"." * (PIECE_BYTES - 4) + b"correct horse" + b"." * PIECE_BYTES)
    Secrets().mask_file(log)
    assert log.read_bytes().strip(b".") == b"*" * 13


def test_whatever_prints_it(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("log", "early", "late")]
    command = [sys.executable, "-c", PRINTING, *map(str, files)]
    subprocess.run(command, env={**os.environ, **SECRETS}, check=True)
    log, early, late = (file.read_text() for file in files)
    assert "printed ***" in early
    assert "by C code: ****" in log
    for text in (log, early, late):
        assert not [word for word in WORDS if word in text]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("end", ["\n", "\r"])
def test_what_is_left_of_a_secret_that_was_cut_is_not_shown(end: str) -> None:
    text = f"0123456789abcdef printed{end}then 0123456789abcdef\nlast".encode()
    for start in range(1, 16):
        assert Secrets().mask_end(text[start:], is_cut=True) == "then ***\nlast"
    assert Secrets().mask_end(text, is_cut=False) == f"*** printed{end}then ***\nlast"
    assert Secrets().mask_end(b"89abcdef and nothing else", is_cut=True) == ""


@pytest.mark.usefixtures("known")
def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("0123456789abcdef\n" + "x" * 391)  # 400 bytes from the end lie within the secret
    assert tail(log, 2) == "x" * 391
