"""`podium lr`, and what `podium status` says of trials that ail or were screened."""

from pathlib import Path

import pytest
from wiring_cases import podium_here, write_blobs

from podium.cli.output import print_summary


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return write_blobs(tmp_path, samples=300)


def test_a_rate_is_suggested_and_its_curve_drawn(blobs: Path) -> None:
    told = podium_here(blobs, "lr", "sweep.yaml", "optimizer.kind=sgd", "--steps", "60", "--out", "lr.png", "--json")
    assert told.code == 0, told.problems
    found = told.json
    assert found["params"] == {"initializer.scheme": "he_normal"}
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"])
    assert 1e-3 < found["suggestion"] < 10
    assert (blobs / "lr.png").read_bytes().startswith(b"\x89PNG")
    shown = podium_here(blobs, "lr", "sweep.yaml", "optimizer.kind=sgd", "--steps", "60")
    assert f"optimizer.learning_rate={found['suggestion']:.2g}" in shown.output
    assert shown.output.count("•") > 20


def test_without_a_fall_nothing_is_suggested(blobs: Path) -> None:
    shown = podium_here(blobs, "lr", "sweep.yaml", "--from", "50", "--to", "100", "--steps", "40")
    assert shown.code == 3, shown.problems
    assert "nothing to suggest" in shown.output


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--from", "1", "--to", "0.1"), "has to rise"),
        (("--steps", "40", "--out", "lr.xyz"), "could not be written to lr.xyz"),
    ],
)
def test_a_mistake_is_one_message(options: tuple[str, ...], problem: str, blobs: Path) -> None:
    told = podium_here(blobs, "lr", "sweep.yaml", *options)
    assert told.code == 2
    assert problem in told.problems
    assert "Traceback" not in told.problems


def test_the_summary_tells_of_trials_that_ail_and_of_those_screened(capsys: pytest.CaptureFixture[str]) -> None:
    ailing = [{"trial": number, "state": "complete", "verdict": f"vanishing {number}"} for number in range(5)]
    absent = ("wall_s", "startup_s", "model", "driver", "tracking_uri", "best", "reason", "gpu_hours", "cost")
    nothing = dict.fromkeys(absent)
    print_summary(
        {
            **nothing,
            "sweep": "deep",
            "state": "finished",
            "trials": {"total": 8, "budget": 8, "complete": 8},
            "objectives": ["x"],
            "screened": 3,
            "ailing": ailing,
            "failures": [],
        }
    )
    printed = capsys.readouterr().out
    assert "screened  3 of 8" in printed
    assert "trial 4 (complete): vanishing 4" in printed
    assert "and 2 more" in printed
    assert "vanishing 1" not in printed
