"""What a driver says, as the store keeps it."""

from pathlib import Path

import pytest

from podium.execution import driver_log, frames
from podium.execution.driver_log import DriverLog, log_name, masked
from podium.execution.frames import Frame
from podium.masking import Secrets


def test_a_secret_is_masked_as_it_is_said_and_not_as_it_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", 'naïve "secret"')
    line, text = masked(Frame("err", 'with naïve "secret"\n').line(), Secrets())
    assert (frames.read(line), text) == (Frame("err", "with ***\n"), "with ***\n")
    assert masked('naïve "secret"', Secrets()) == ("***", "")


def test_each_life_writes_behind_what_was_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_log, "MOST_CHARACTERS", 12)
    for earlier, said, whole in (("", "one\n", "one\n"), ("one\n", "two\nthree\n", "e\ntwo\nthree\n")):
        log = DriverLog(str(tmp_path), "digits")
        assert log.earlier() == earlier
        log.add(said)
        log.close()
        assert log.earlier() == earlier
        assert (tmp_path / log_name("digits")).read_text() == whole
