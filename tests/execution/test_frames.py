"""What a command writes, as lines of a log and back."""

import io
import random

import click
import pytest

from podium.execution import frames
from podium.execution.frames import Frame, Stream


def test_both_outputs_come_through_a_log_as_they_were() -> None:
    log = io.StringIO()
    out, err = Stream("out", log), Stream("err", log)
    click.echo("one\ntwo\r\x1e", file=out)
    print("naïve", end="", file=err)
    log.write("somebody else's line\n")
    found = [frames.read(line) for line in log.getvalue().split("\n")]
    assert [frame for frame in found if frame] == [Frame("out", "one\ntwo\r\x1e\n"), Frame("err", "naïve")]
    with pytest.raises(TypeError):
        out.write(b"bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_a_file_comes_through_in_pieces(size: int) -> None:
    content = random.Random(0).randbytes(size)
    sent = [frames.read(frame.line().rstrip("\n")) for frame in frames.of_file("a/b.html", content)]
    assert all(frame is not None and frame.kind == "file" and frame.name == "a/b.html" for frame in sent)
    assert frames.to_file([frame.text for frame in sent if frame]) == content


@pytest.mark.parametrize(
    "line",
    [
        "",
        "podium> ",
        "podium> [1",
        "Podium",
        "podium> 5",
        'podium> "abc"',
        'podium> ["out", 1, ""]',
        'podium> ["in", "", ""]',
    ],
)
def test_another_line_is_no_frame(line: str) -> None:
    assert frames.read(line) is None
