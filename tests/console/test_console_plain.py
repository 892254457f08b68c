"""Terminals that know less: ASCII alone, light and dark grounds."""

import io
import os
import pty
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.console import ground, plain
from podium.console.ground import lightness


class Terminal(io.TextIOWrapper):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def adapted(monkeypatch: pytest.MonkeyPatch, encoding: str, **environment: str) -> tuple[io.BytesIO, io.TextIOWrapper]:
    raw = io.BytesIO()
    stream = Terminal(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    plain.adapt_output(environment)
    return raw, stream


@pytest.mark.parametrize(
    ("encoding", "environment"), [("ascii", {}), ("utf-8", {"LC_ALL": "C"}), ("utf-8", {"LANG": "POSIX"})]
)
def test_every_sign_has_one_in_ascii(
    monkeypatch: pytest.MonkeyPatch, encoding: str, environment: dict[str, str]
) -> None:
    raw, stream = adapted(monkeypatch, encoding, **environment)
    stream.write("Starting … 3 · 4 – │ → █ 運\n")
    stream.flush()
    assert raw.getvalue() == b"Starting ... 3 - 4 - | -> # ?\n"


def test_an_encoding_keeps_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, stream = adapted(monkeypatch, "latin-1")
    stream.write("größer · …")
    stream.flush()
    assert raw.getvalue() == "größer · ...".encode("latin-1")


@pytest.mark.parametrize("environment", [{}, {"LANG": "C.UTF-8"}, {"LANG": "C", "LC_ALL": "de_DE.UTF-8"}])
def test_utf_8_stays(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    raw, stream = adapted(monkeypatch, "utf-8", **environment)
    stream.write("… ·")
    stream.flush()
    assert raw.getvalue() == "… ·".encode()


def test_what_is_read_from_a_pipe_is_not_made_poorer(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    plain.adapt_output({"LC_ALL": "C"})
    sys.stdout.write("größer … ·")
    sys.stdout.flush()
    assert raw.getvalue() == "größer … ·".encode()


@given(st.text())
def test_no_text_is_too_strange_to_be_written(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raw, stream = adapted(patch, "ascii")
        stream.write(text)
        stream.flush()
    raw.getvalue().decode("ascii")


def test_a_terminal_is_light_or_dark_by_the_colour_it_tells() -> None:
    assert lightness(b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62c") is True
    assert lightness(b"\x1b]11;rgb:14/18/1d\x07") is False
    assert lightness(b"\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\") is True
    assert lightness(b"\x1b[?62;c") is None


@pytest.mark.parametrize(("told", "light"), [("0;15", True), ("15;0", False), ("0;default;15", True), ("12;8", False)])
def test_a_terminal_may_have_told_it_already(monkeypatch: pytest.MonkeyPatch, told: str, light: bool) -> None:
    monkeypatch.setenv("COLORFGBG", told)
    assert ground.is_light() is light


@pytest.mark.parametrize(
    ("answer", "light"), [(b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62c", True), (b"\x1b[?62c", None), (b"", None)]
)
def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: bytes, light: bool | None) -> None:
    master, slave = pty.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp())
    heard: list[bytes] = []

    def reply() -> None:
        heard.append(os.read(master, 100))
        os.write(master, answer)

    terminal = threading.Thread(target=reply)
    terminal.start()
    try:
        assert ground._ask(slave, slave) is light
    finally:
        terminal.join(10)
        os.close(slave)
        os.close(master)
    assert heard == [ground.ASK]


def test_who_is_no_terminal_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORFGBG", raising=False)
    read, write = os.pipe()
    assert ground._ask(read, write) is None
    os.close(read)
    os.close(write)
    assert ground.is_light() is None
