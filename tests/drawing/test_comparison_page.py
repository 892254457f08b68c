"""The page that compares sweeps."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from podium.drawing.comparison import page
from podium.drawing.panels import MOST_LINES, MOST_OTHERS, Panel
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

MakeSpec = Callable[..., SweepSpec]
EVIL = "<script>alert('x')</script>"
SPACE: dict[str, Any] = {
    "rate": {"log": [0.001, 0.1]},
    "kind": {"choice": ["a", EVIL]},
    "depth": {"int": [1, 3]},
    "still": {"float": [0.0, 1.0]},
    "child": {"float": [0.0, 1.0], "when": {"kind": "a"}},
}


class Words(HTMLParser):
    """What a page has: its tags, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def panel(make_spec: MakeSpec, count: int, index: int = 0, space: dict[str, Any] = SPACE, **search: Any) -> Panel:
    """A sweep of trials drawn at random, of which a third went on to the second rung; `still` never changes."""
    goal = {"metric": "validation/<b>loss", "direction": "minimize"}
    spec = make_spec(policy="asha", sweep=f"sweep-{index}", search={"objective": goal, "space": space} | search)
    random = np.random.default_rng(index)
    trials, curves = [], {}
    for number in range(count):
        kind = ("a", EVIL)[int(random.integers(2))]
        drawn = {"rate": 10 ** random.uniform(-3, -1), "kind": kind, "depth": int(random.integers(1, 4)), "still": 0.5}
        drawn |= {"child": float(random.uniform())} if kind == "a" else {}
        value = float(random.lognormal())
        values = {1: (value,)} | ({3: (value / 2,)} if number % 3 == 0 else {})
        curves[number] = [(epoch, each) for epoch, (each,) in values.items()]
        parameters = {name: drawn[name] for name in space if name in drawn}
        state = TrialState.COMPLETE if 3 in values else TrialState.STOPPED
        trials.append(Trial(number=number, parameters=parameters, seed=number, state=state, values=values))
    return Panel(index, spec, trials, curves, {"rate": 0.6, "depth": 0.3, "kind": 0.1} if count else {})


def comparison(*panels: Panel) -> dict[str, Any]:
    """What is said of them beside the charts."""
    names = [each.spec.sweep for each in panels]
    summary = {
        "state": "finished",
        "reason": EVIL,
        "trials": {"total": 3, "budget": 3, "complete": 3},
        "objectives": ["validation/<b>loss"],
        "best": {"trial": 0, "value": 0.5, "epoch": 3, "rung": 3},
        "epochs": 9,
        "wall_s": None,
        "device_s": 3700.0,
    }
    trial = {"sweep": names[0], "trial": 0, "value": 0.5, "epoch": 3, "rung": 3, "params": {"kind": EVIL}}
    return {
        "sweeps": names,
        "summaries": [summary | {"sweep": name} for name in names],
        "comparable": True,
        "values": [EVIL],
        "differences": [{"sweeps": names, "about": "space", "text": EVIL}],
        "same": ["data"],
        "varying": ["kind"],
        "trials": [trial],
    }


def drawn(*panels: Panel) -> str:
    return page(comparison(*panels), panels)


def test_the_page_loads_nothing_and_runs_nothing(make_spec: MakeSpec) -> None:
    text = drawn(panel(make_spec, 30), panel(make_spec, 30, 1))
    assert not re.search(r"https?:|//|url\(|@import|\bsrc=|\bhref=|\bon\w+=", text)
    allowed = "html head meta title style body main section div h1 h2 p span ul li dl dt dd table tr th td figure"
    assert set(Words(text).tags) <= {*allowed.split(), "figcaption", "svg", "path", "text", "circle"}


def test_what_a_user_named_is_text(make_spec: MakeSpec) -> None:
    words = Words(drawn(panel(make_spec, 30), panel(make_spec, 30, 1)))
    assert words.texts.count(EVIL) >= 3
    assert "validation/<b>loss (lower is better)" in words.texts


def test_parameters_that_do_not_vary_are_left_out(make_spec: MakeSpec) -> None:
    texts = Words(drawn(panel(make_spec, 30))).texts
    assert {"rate (log)", "kind", "depth", "child"} <= set(texts)
    assert "still" not in texts


def test_what_one_sweep_alone_searches_is_inactive_in_the_other(make_spec: MakeSpec) -> None:
    one = panel(make_spec, 30)
    other = panel(make_spec, 30, 1, {"rate": SPACE["rate"]})
    texts = Words(drawn(one, other)).texts
    assert "depth" in texts
    assert "inactive" in texts


def test_a_value_without_a_place_on_a_log_scale_is_shown_beside_it(make_spec: MakeSpec) -> None:
    one = panel(make_spec, 30)
    spec = make_spec(search=one.spec.written()["search"] | {"space": {"depth": SPACE["depth"]}}, parameters={"rate": 0})
    trials = [Trial(number=1, parameters={"depth": 2}, seed=1, values={3: (0.5,)})]
    texts = Words(drawn(one, Panel(1, spec, trials, {}, {}))).texts
    assert "rate (log)" in texts
    assert "0" in texts


def test_sweeps_without_values_have_a_page_without_charts(make_spec: MakeSpec) -> None:
    words = Words(drawn(panel(make_spec, 0)))
    assert "svg" not in words.tags


def test_sweeps_for_other_objectives_and_over_other_spaces_can_be_drawn(make_spec: MakeSpec) -> None:
    goal = {"metric": "score", "direction": "maximize"}
    other = panel(make_spec, 30, 1, {"other": {"float": [0.0, 1.0]}, "kind": SPACE["kind"]}, objective=goal)
    texts = Words(drawn(panel(make_spec, 30), other)).texts
    assert {"validation/<b>loss after 1 epoch (lower is better)", "score after 1 epoch (higher is better)"} <= {*texts}


def test_trials_without_a_value_at_the_first_rung_have_no_medians(make_spec: MakeSpec) -> None:
    one = panel(make_spec, 30)
    later = [replace(trial, values={3: (1.0,)}) for trial in one.everything]
    text = drawn(Panel(0, one.spec, later, {}, {}))
    assert "One parameter at a time" in text
    assert "circle" not in Words(text).tags


def test_one_trial_can_be_drawn(make_spec: MakeSpec) -> None:
    assert "svg" in Words(drawn(panel(make_spec, 1))).tags


def test_ten_thousand_trials_stay_few_lines(make_spec: MakeSpec) -> None:
    text = drawn(panel(make_spec, 10_000))
    lines = len(re.findall(r'class="line ', text))
    assert lines <= MOST_LINES + MOST_OTHERS + 20
    assert len(text) < 300_000
    assert "10,000 trials" in text


@pytest.mark.parametrize("count", [2, 9])
def test_any_number_of_sweeps_can_be_drawn(make_spec: MakeSpec, count: int) -> None:
    assert "svg" in Words(drawn(*(panel(make_spec, 12, index) for index in range(count)))).tags
