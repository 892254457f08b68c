"""What goes on inside networks, as metrics and as a picture."""

import json
from pathlib import Path

import pytest

from podium.sweep.trial import Trial, TrialState
from podium.tracking import diagnosis, entities
from podium.training.artifacts import MOMENTS
from podium.training.verdict import Layer, Moment, to_plain


def moments(dead: float | None = 0.25) -> list[Moment]:
    layers = (Layer("1", 1e-4, 2.0, 1e-3, 0.5, dead), Layer("4", 1.0, 3.0, 2e-3, 0.7))
    return [Moment(epoch, 2.0, layers) for epoch in (0, 1, 3)]


def trial(number: int, verdict: str = "") -> Trial:
    return Trial(number=number, parameters={}, seed=0, state=TrialState.COMPLETE, verdict=verdict)


def test_training_leaves_the_file_that_tracking_reads(tmp_path: Path) -> None:
    assert diagnosis.FILE == MOMENTS
    (tmp_path / MOMENTS).write_text(json.dumps(to_plain(moments())))
    assert diagnosis.read([tmp_path / "trial.log", tmp_path]) == json.loads(json.dumps(to_plain(moments())))
    assert not diagnosis.read([tmp_path / "none"])


def test_every_number_of_every_layer_is_a_point() -> None:
    found = {(point.name, point.step): point.value for point in diagnosis.points(to_plain(moments()), 7)}
    assert found["diagnosis/gradient/layer_01", 3] == 1e-4
    assert found["diagnosis/update/layer_02", 0] == 2e-3
    assert found["diagnosis/dead/layer_01", 1] == 0.25
    assert len(found) == 3 * (5 + 4), "what was not measured is left out"


def test_the_picture_has_a_panel_for_each_measure_and_a_line_for_each_layer() -> None:
    figure = diagnosis.draw(to_plain(moments()), "deep-0001: vanishing gradients in layer 1")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == [
        "norm of gradients",
        "norm of weights",
        "norm of updates",
        "outputs, root mean square",
        "dead units",
    ]
    gradients, *_, dead = drawn
    assert gradients.get_yscale() == "log"
    assert [list(line.get_ydata()) for line in gradients.lines] == [[1e-4] * 3, [1.0] * 3]  # type: ignore[arg-type]
    assert list(dead.lines[0].get_ydata()) == [0.25] * 3  # type: ignore[arg-type]


def test_a_picture_of_a_single_measure_that_is_zero_can_be_drawn() -> None:
    only = [Moment(0, None, (Layer("", 0.0, None),))]
    (axes,) = diagnosis.draw(to_plain(only), "dead").axes
    assert axes.get_yscale() == "linear"


def test_the_best_trial_is_shown_and_the_first_that_ail() -> None:
    trials = [trial(number, "ails" if number % 2 else "") for number in range(40)]
    assert [each.number for each in diagnosis.shown(trials, trials[0])] == [0, *range(1, 17, 2)]
    assert [each.number for each in diagnosis.shown(trials, trials[1])] == [1, *range(3, 19, 2)]
    assert diagnosis.shown([], None) == []


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.COMPLETE])
def test_a_verdict_is_a_tag_once_the_trial_has_ended(state: TrialState) -> None:
    one = Trial(number=0, parameters={}, seed=0, state=state, verdict="dead units in layer 1")
    tags = entities.trial_tags(one)
    assert tags.get("verdict") == ("dead units in layer 1" if state.is_ended else None)
