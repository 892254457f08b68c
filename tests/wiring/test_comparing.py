"""Comparing sweeps by their ledgers: simulated ones, so that their values are known."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from wiring_cases import podium_here

import podium
from podium.errors import LookupFailed, UserError
from podium.ledger import Book
from podium.sweep.messages import Lane, Propose, Proposed
from podium.sweep.trial import Trial
from podium.testing.simulation import simulate, toy_spec

SEEDED = {"x": {"choice": [0.2, 0.8]}, "seed": {"int": [0, 3]}}


class Grid:
    """Every x with every seed."""

    def propose(self, command: Propose, trials: dict[int, Trial]) -> Proposed:
        x, seed = (0.2, 0.8)[command.number // 4], command.number % 4
        return Proposed(number=command.number, parameters={"x": x, "seed": seed})


def score(lane: Lane) -> list[float]:
    """Better with x and with epochs, and different for each seed."""
    noise = float(lane.parameters.get("seed", lane.trial % 5)) ** 2 / 100
    return [float(lane.parameters["x"]) + epoch / 100 + noise for epoch in range(1, 10)]


def fragile(lane: Lane) -> list[float]:
    """Not finite for one seed of the better x."""
    return [math.nan] * 9 if lane.parameters == {"x": 0.8, "seed": 3} else score(lane)


def write(book: Book, name: str, proposer: Any = None, shift: float = 0.0, curve: Any = score, **settings: Any) -> None:
    spec = toy_spec(**{"trials": 8, "direction": "maximize"} | settings, sweep=name)
    done = simulate(spec, 2, lambda lane: [value + shift for value in curve(lane)], proposer=proposer)
    ledger = book.hold(name)
    ledger.append(done.events)
    ledger.release()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sweeps that tried each point once (`plain`, `wider`) or with four seeds (the others)."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / ".podium").mkdir()
    book = Book.at_home(folder / ".podium")
    write(book, "plain", trials=30)
    write(book, "wider", trials=30, search={"space": {"x": {"float": [0.0, 1.0]}, "y": {"choice": ["<i>", "b"]}}})
    for name, shift in (("low", 0.0), ("high", 0.2)):
        write(book, name, Grid(), shift, search={"space": SEEDED}, policy="none")
    for name, shift in (("flat", 0.0), ("flatter", 0.5)):
        write(book, name, Grid(), curve=lambda _, at=shift: [at] * 9, search={"space": SEEDED}, policy="none")
    write(book, "halved", Grid(), search={"space": SEEDED})
    write(book, "fragile", Grid(), curve=fragile, search={"space": SEEDED}, policy="none")
    write(book, "loss", Grid(), search={"space": SEEDED}, policy="none", direction="minimize")
    return folder


@pytest.fixture
def compare(folder: Path) -> Callable[..., dict[str, Any]]:
    return lambda *names, **options: podium.compare(names, home=folder / ".podium", **options)


def test_points_with_several_seeds_have_students_interval(compare) -> None:
    (summary,) = compare("low")["summaries"]
    best, other = summary["repeated"]
    assert (best["params"], other["params"]) == ({"x": 0.8}, {"x": 0.2})
    assert sorted(best["values"]) == pytest.approx([0.89, 0.90, 0.93, 0.98])
    mean, error = 0.925, stats.sem(best["values"])
    assert best["mean"] == pytest.approx(mean)
    assert (best["low"], best["high"]) == pytest.approx(stats.t.interval(0.95, 3, mean, error))
    assert summary["spread"] is None


def test_where_less_is_better_the_least_mean_is_the_best(compare) -> None:
    (summary,) = compare("loss")["summaries"]
    assert [each["params"]["x"] for each in summary["repeated"]] == [0.2, 0.8]


def test_two_sweeps_of_repeated_points_are_told_apart_as_far_as_seeds_allow(compare) -> None:
    values = compare("low", "high")["values"]
    assert values[-1].startswith(
        "the best of 2 points repeated to epoch 9 of high is better than the best of 2 points repeated to epoch 9 of "
        "low by 0.2 on average"
    )
    assert "more than trial seeds explain; the best of several is a little luckier than it is good" in values[-1]


def test_seeds_that_a_policy_stopped_count_like_those_that_it_spared(compare) -> None:
    comparison = compare("halved")
    best = comparison["summaries"][0]["repeated"][0]
    assert (best["epoch"], best["lost"]) == (1, 0)
    assert sorted(best["values"]) == pytest.approx([0.81, 0.82, 0.85, 0.90])
    assert "over 4 trial seeds, 95% interval" in comparison["values"][0]
    assert len(comparison["values"]) == 1, "every point was tried with several seeds"


def test_a_point_that_lost_a_seed_says_so_and_comes_last(compare) -> None:
    (summary,) = compare("fragile")["summaries"]
    assert [(each["params"]["x"], len(each["values"]), each["lost"]) for each in summary["repeated"]] == [
        (0.2, 4, 0),
        (0.8, 3, 1),
    ]
    (said,) = compare("fragile", top=1)["values"]
    assert said.startswith(
        "fragile: the best of 2 points repeated to epoch 9 has a mean score of 0.325 over 4 trial seeds"
    )
    assert said.endswith("points that lost seeds come last (1 diverged, failed or broke a constraint)")


def test_ties_are_no_certainty(compare) -> None:
    flat, _, contest = compare("flat", "flatter")["values"]
    assert flat.endswith("over 4 trial seeds, all alike")
    assert "by 0.5 on average, but all seeds of either came to the same" in contest
    assert "interval" not in contest.partition(";")[0]


def test_points_tried_once_have_a_spread_that_is_called_one(compare) -> None:
    comparison = compare("plain", top=3)
    (summary,) = comparison["summaries"]
    values = [trial["value"] for trial in comparison["trials"]]
    assert summary["spread"] == {"count": 3, "low": min(values), "high": max(values)}
    assert summary["repeated"] == []
    assert "no interval" in comparison["values"][-1]


def test_a_summary_says_how_much_was_trained(compare) -> None:
    (summary,) = compare("low")["summaries"]
    assert (summary["state"], summary["trials"]["total"], summary["epochs"]) == ("finished", 8, 8 * 9)
    assert summary["device_s"] == 8 * 9


def test_sweeps_of_another_direction_are_not_comparable(compare) -> None:
    comparison = compare("low", "loss")
    assert not comparison["comparable"]
    assert comparison["values"][0] == (
        "the values of low and loss cannot be compared: the direction of the objective is maximize in low and minimize "
        "in loss"
    )
    assert not any("better than" in text for text in comparison["values"])


def test_each_sweep_is_told_apart_from_the_first(compare) -> None:
    comparison = compare("plain", "wider", "high")
    assert {tuple(each["sweeps"]) for each in comparison["differences"]} == {("plain", "wider"), ("plain", "high")}
    assert "only wider searches y, among <i> or b" in [each["text"] for each in comparison["differences"]]
    assert comparison["same"] == ["objective", "data", "code", "packages", "hardware"]


def test_the_command_tells_people_the_same(folder: Path) -> None:
    outcome = podium_here(folder, "compare", "plain", "wider", "--html", "report.html")
    assert outcome.code == 0, outcome.problems
    for text in ("only wider searches y", "the same  objective, data", "plain/", "report.html shows all that"):
        assert text in outcome.output
    page = (folder / "report.html").read_text()
    assert "only wider searches y, among &lt;i&gt; or b" in page
    assert [path.name for path in folder.iterdir() if "report" in path.name] == ["report.html"]


@pytest.mark.parametrize(
    ("names", "html", "error", "words"),
    [
        (("plain", "plain"), None, UserError, "named more than once"),
        (("plain", "nothing"), None, LookupFailed, "there is no sweep 'nothing'"),
        (("plain",), "nowhere/report.html", UserError, "no folder that can be written to"),
        (("plain",), ".", UserError, "is a folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(compare, folder: Path, names, html, error, words) -> None:
    with pytest.raises(error, match=words):
        compare(*names, html=None if html is None else folder / html)
