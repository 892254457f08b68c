"""The charts of one sweep: what they show, that they stay small, and that they lead to trials."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element, tostring

import numpy as np
import pytest

from podium.drawing.curves import MOST_CURVES, seeds, state_curves
from podium.drawing.fronts import fronts
from podium.drawing.funnel import funnel
from podium.drawing.grids import heat, pairs
from podium.drawing.history import history
from podium.drawing.marks import MOST_DOTS
from podium.drawing.panels import Panel, learning_curves, parallel, slices
from podium.drawing.svg import Link
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

MakeSpec = Callable[..., SweepSpec]
Draw = Callable[[Element, Panel, Link | None], str]
EVIL = "<script>alert('x')</script>"
SPACE: dict[str, Any] = {
    "rate": {"log": [0.001, 0.1]},
    "momentum": {"float": [0.0, 1.0]},
    "network.depth": {"int": [1, 4]},
    "initializer.scheme": {"choice": ["he_normal", "orthogonal", "xavier_normal"]},
    "kind": {"choice": ["a", EVIL]},
}
LOSS = {"metric": "validation/loss", "direction": "minimize"}
ACCURACY = {"metric": "validation/accuracy", "direction": "maximize"}
LATENCY = {"metric": "test/latency", "direction": "minimize"}
CHARTS: dict[str, Draw] = {
    "curves": state_curves,
    "seeds": seeds,
    "history": history,
    "fronts": fronts,
    "pairs": pairs,
    "funnel": lambda parent, panel, link: funnel(parent, panel),
    "heat": lambda parent, panel, link: heat(parent, panel),
}
LINKED = ("curves", "seeds", "history", "fronts", "pairs")


def link(number: int) -> str:
    return f"/trials/{number}"


def drawn(draw: Draw, panel: Panel, to: Link | None = None) -> tuple[Element, str]:
    figure = Element("figure")
    return figure, draw(figure, panel, to)


def texts(figure: Element) -> list[str]:
    return [element.text or "" for element in figure.iter()]


def with_class(figure: Element, *names: str) -> list[Element]:
    return [each for each in figure.iter() if {*names} <= {*each.get("class", "").split()}]


@pytest.fixture
def make_panel(make_spec: MakeSpec) -> Callable[..., Panel]:
    """Sweeps of trials drawn at random: a third reach the second rung, one in ten diverges, one in twenty fails."""

    def make(count: int, objectives: Sequence[Mapping[str, str]] = (LOSS,), repeats: int = 1, epochs: int = 3) -> Panel:
        goal = list(objectives) if len(objectives) > 1 else objectives[0]
        budget = {"trials": max(count, 1), "epochs": {"min": 1, "max": epochs, "factor": 3}, "policy": "asha"}
        spec = make_spec(budget=budget, search={"objective": goal, "space": SPACE})
        rungs = spec.rungs()
        random, trials, curves = np.random.default_rng(0), list[Trial](), dict[int, list[tuple[int, float | None]]]()
        drawn: dict[str, Any] = {}
        for number in range(count):
            if number % repeats == 0:
                scheme = SPACE["initializer.scheme"]["choice"][int(random.integers(3))]
                drawn = {
                    "rate": float(10 ** random.uniform(-3, -1)),
                    "momentum": float(random.uniform()),
                    "network.depth": int(random.integers(1, 5)),
                    "initializer.scheme": scheme,
                    "kind": ("a", EVIL)[int(random.integers(2))],
                }
            level, last = float(random.lognormal()), rungs[-1] if number % 3 == 0 else rungs[0]
            curve: list[tuple[int, float | None]] = [(epoch, level / epoch) for epoch in range(1, last + 1)]
            state = TrialState.COMPLETE if number % 3 == 0 else TrialState.STOPPED
            if number % 10 == 9:
                state, curve[-1] = TrialState.DIVERGED, (last, None)
            if number % 20 == 18:
                state, curve = TrialState.FAILED, []
            values = {
                epoch: (value, 1 / (1 + value), float(random.uniform()))[: len(objectives)]
                for epoch, value in curve
                if epoch in rungs and value is not None
            }
            curves[number] = curve
            trials.append(Trial(number=number, parameters=drawn, seed=number, state=state, values=values))
        return Panel(0, spec, trials, curves, {"rate": 0.6, "momentum": 0.3} if count else {})

    return make


@pytest.mark.parametrize("chart", CHARTS)
def test_nothing_is_drawn_of_nothing(chart: str, make_panel: Callable[..., Panel]) -> None:
    figure, caption = drawn(CHARTS[chart], make_panel(0, (LOSS, ACCURACY)))
    assert caption == ""
    assert list(figure) == []


@pytest.mark.parametrize("count", [1, 2, 30, 400])
@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_is_escaped_named_and_labelled(chart: str, count: int, make_panel: Callable[..., Panel]) -> None:
    figure, caption = drawn(CHARTS[chart], make_panel(count, (LOSS, ACCURACY), 2 if chart == "seeds" else 1), link)
    written = tostring(figure, encoding="unicode")
    assert "<script" not in written
    assert "NaN" not in written
    assert bool(caption) == bool(list(figure))
    for svg in figure.iter("svg"):
        assert svg.get("aria-label")
        has_links = next(svg.iter("a"), None) is not None
        assert svg.get("role") == ("group" if has_links or chart in LINKED else "img")
    for anchor in figure.iter("a"):
        assert re.fullmatch(r"/trials/\d+", anchor.get("href", ""))
        assert anchor.get("aria-label")


@pytest.mark.parametrize(
    "chart", [pytest.param(name, marks=pytest.mark.slow) if name == "seeds" else name for name in CHARTS]
)
def test_ten_thousand_trials_take_few_elements(chart: str, make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(10_000, (LOSS, ACCURACY, LATENCY), 4 if chart == "seeds" else 1, epochs=27)
    figure, caption = drawn(CHARTS[chart], panel, link)
    assert caption
    assert len(tostring(figure)) < 60_000
    assert sum(1 for _ in figure.iter()) < 500
    assert sum(anchor.get("tabindex") != "-1" for anchor in figure.iter("a")) <= 200


@pytest.mark.parametrize("chart", LINKED)
def test_marks_lead_to_trials_or_nowhere(chart: str, make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(40, (LOSS, ACCURACY), 2 if chart == "seeds" else 1)
    assert any(True for _ in drawn(CHARTS[chart], panel, link)[0].iter("a"))
    assert not any(True for _ in drawn(CHARTS[chart], panel)[0].iter("a"))


def test_each_curve_has_the_colour_of_its_trial_and_the_best_is_thick(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(20)
    figure, caption = drawn(state_curves, panel)
    best = panel.trials[0]
    assert f"Thick: trial {best.number}, the best at epoch 3." in caption
    (first,) = with_class(figure, "line", "first")
    assert "complete" in first.get("class", "")
    assert len(with_class(figure, "line", "complete")) == sum(
        trial.state is TrialState.COMPLETE and bool(panel.curves[trial.number]) for trial in panel.everything
    )
    counts = Counter(trial.state for trial in panel.everything if panel.curves[trial.number] not in ([], [(1, None)]))
    assert {f"{state} {count}" for state, count in counts.items()} <= {*texts(figure)}


def test_many_curves_are_a_sample_over_the_band_of_all(make_panel: Callable[..., Panel]) -> None:
    figure, caption = drawn(state_curves, make_panel(500))
    assert "the middle 80%" in caption
    assert len(with_class(figure, "area", "whole")) == len(with_class(figure, "line", "whole")) == 1
    singles = [*with_class(figure, "line", "thin"), *with_class(figure, "dot")]
    assert len(singles) <= MOST_CURVES + 1


def test_another_metric_names_the_axis(make_panel: Callable[..., Panel]) -> None:
    figure = Element("figure")
    state_curves(figure, make_panel(5), metric="train/loss")
    assert "train/loss" in texts(figure)


def test_the_funnel_counts_every_trial_once(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(60)
    figure, caption = drawn(CHARTS["funnel"], panel)
    reached = [sum(rung in trial.values for trial in panel.everything) for rung in (1, 3)]
    labels = [element.text for element in with_class(figure, "label")]
    assert labels == ["60", *map(str, reached)]
    assert caption == f"{reached[1]} of 60 trials reached epoch 3."
    parts = [title.text or "" for bar in with_class(figure, "bar") for title in bar]
    ended = [int(count) for count, _, name in (part.partition(" ") for part in parts) if name != "went on"]
    assert sum(ended) == 60
    assert [part for part in parts if part.endswith("went on")] == [f"{reached[0]} went on", f"{reached[1]} went on"]


def test_history_has_steps_of_the_best_and_shows_those_without_a_value(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(40)
    figure, caption = drawn(history, panel)
    without = sum(not trial.values for trial in panel.everything)
    assert f"{40 - without} of 40 trials have a value; {without} ended without one" in caption
    (steps,) = with_class(figure, "steps")
    heights = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", steps.get("d", ""))]
    assert heights == sorted(heights), "the lower the loss, the further down"
    assert len(with_class(figure, "dot")) == 40 + min(5, len(panel.trials))
    assert MOST_DOTS >= 40


@pytest.mark.parametrize("values", [(1.7e308, -1.7e308), (1.7e308,) * 2, (1e17,) * 2])
def test_values_as_large_as_numbers_get_are_drawn(make_panel: Callable[..., Panel], values: tuple[float, ...]) -> None:
    panel = make_panel(30)
    trials = [
        replace(trial, values={1: (values[trial.number % 2],)}, state=TrialState.STOPPED) for trial in panel.everything
    ]
    panel = Panel(0, panel.spec, trials, {trial.number: [(1, trial.last_values[0])] for trial in trials}, {"rate": 0.6})
    root = Element("div")
    for draw in CHARTS.values():
        draw(root, panel, None)
    learning_curves(root, panel, [panel])
    parallel(root, panel, [panel], ["rate", "momentum"])
    slices(root, [panel], "rate")
    drawn = " ".join(value for each in root.iter() for key, value in each.items() if key in ("d", "cx", "cy", "x", "y"))
    assert not re.search("nan|inf", drawn)


def test_the_front_is_that_of_the_objectives(make_panel: Callable[..., Panel]) -> None:
    figure, caption = drawn(fronts, make_panel(60, (LOSS, ACCURACY)))
    assert caption.startswith("1 of "), "the accuracy is a function of the loss"
    figure, _ = drawn(fronts, make_panel(60, (LOSS, ACCURACY, LATENCY)))
    assert len(list(figure.iter("svg"))) == 2
    assert drawn(fronts, make_panel(60))[1] == ""


def test_heat_shows_the_median_of_each_cell_and_hatches_what_is_missing(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(8)
    figure, caption = drawn(CHARTS["heat"], panel)
    cells: dict[tuple[Any, Any], list[float]] = {}
    for trial in panel.everything:
        value = panel.at_first(trial)
        if value is not None:
            where = (trial.parameters["network.depth"], trial.parameters["initializer.scheme"])
            cells.setdefault(where, []).append(value)
    for (depth, scheme), values in cells.items():
        expected = (
            f"network.depth {depth}, initializer.scheme {scheme}: median {np.median(values):.5g} of {len(values)}"
        )
        assert any(text.startswith(expected) for text in texts(figure)), expected
    sides = [{where[index] for where in cells} for index in (0, 1)]
    assert len(with_class(figure, "cell", "none")) == len(sides[0]) * len(sides[1]) - len(cells)
    assert "Hatched" in caption


def test_numbers_are_shown_in_ranges(make_panel: Callable[..., Panel]) -> None:
    figure = Element("figure")
    assert heat(figure, make_panel(200), "rate", "momentum")
    rates = [text for text in texts(figure) if re.match(r"rate \S+–\S+, momentum \S+–\S+: ", text)]
    assert len(rates) == 36
    assert heat(Element("figure"), make_panel(200), "rate", "rate") == ""
    assert heat(Element("figure"), make_panel(200), "rate", "unknown") == ""


def test_pairs_are_of_numbers_by_importance(make_panel: Callable[..., Panel]) -> None:
    figure, caption = drawn(pairs, make_panel(30))
    shown = [svg.get("aria-label", "").partition(" over ")[2] for svg in figure.iter("svg")]
    assert shown == ["rate and momentum", "rate and network.depth", "momentum and network.depth"]
    assert "3 numeric parameters" in caption


def test_seeds_are_of_points_that_were_repeated(make_panel: Callable[..., Panel]) -> None:
    assert drawn(seeds, make_panel(30))[1] == ""
    figure, caption = drawn(seeds, make_panel(40, repeats=4))
    assert "5 best of" in caption
    assert len(with_class(figure, "area")) == 5
    assert any("(4 seeds)" in text or "(3 seeds)" in text for text in texts(figure))


@pytest.mark.parametrize("ends", [(9, 3, 9, 9), (200, 200, 151, 151)])
def test_repeated_points_are_ordered_where_all_their_seeds_were(
    make_panel: Callable[..., Panel], ends: Sequence[int]
) -> None:
    """The first two trials share a point, which is worse at the last epoch of all four, and better elsewhere."""
    panel, common = make_panel(4, repeats=2, epochs=200), min(ends)

    def value(number: int, epoch: int) -> float:
        return (9.0 if epoch == common else 0.0) if number < 2 else 1.0

    curves = {number: [(epoch, value(number, epoch)) for epoch in range(1, end + 1)] for number, end in enumerate(ends)}
    figure, _ = drawn(seeds, replace(panel, curves=curves))
    names = [text for text in texts(figure) if text.startswith("trials ")]
    assert names == ["trials 2, 3 (2 seeds)", "trials 0, 1 (2 seeds)"]
