import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from shown_sweeps import Story

from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState
from podium.tracking import entities, notes, pages, views
from podium.tracking.projector import Projector

SHOWN = notes.Shown("1", "parent", {0: "run-0", 1: "run-1"}, {"name": "shown", "version": "2"}, has_plots=True)


def spec(**changes: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "sweep": "shown",
            "task": "train.py:train",
            "search": {
                "objective": {"metric": "loss", "direction": "minimize"},
                "space": {f"p{number}": {"float": [0.0, 1.0]} for number in range(60)},
            },
            "budget": {"trials": 3, "epochs": {"max": 3}},
        }
        | changes
    )


def trial(number: int, reason: str = "", state: TrialState = TrialState.STOPPED, **changes: Any) -> Trial:
    return Trial(number=number, parameters={"p0": 0.5}, seed=0, state=state, reason=reason, **changes)


def test_the_parents_description_links_to_what_belongs() -> None:
    best = trial(0, "full budget", TrialState.COMPLETE, values={3: (0.25,)}, best_epoch=2)
    trials = {0: best, 1: trial(1, "paused at rung 1")}
    note = notes.sweep(spec(note="Which?"), "finished", "budget spent", trials, [best, trials[1]], SHOWN)
    assert note.startswith("Which?\n\n**shown** is finished: budget spent. 2 trials: 1 complete, 1 stopped.")
    assert f"Best is [shown-0000]({pages.run('1', 'run-0')}): loss **0.25** at epoch 2" in note
    targets = re.findall(r"\]\((.*?)\)", note)
    assert targets == [
        pages.run("1", "run-0"),
        pages.view("1", views.TRIALS),
        pages.view("1", views.ENDINGS),
        pages.comparison(["run-0", "run-1"], ["1"]),
        pages.version("shown", "2"),
        pages.file("1", "parent", "sweep.yaml"),
        pages.file("1", "parent", "plots/learning_curves.png"),
    ]
    assert "- 1 complete: full budget\n- 1 stopped: paused at rung 1" in note
    assert "As of 2023-11-14 22:13:20 UTC" in notes.sweep(spec(), "running", "", trials, [best], SHOWN, 1_700_000_000)


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.COMPLETE])
def test_a_trials_description_says_what_came_of_it(state: TrialState) -> None:
    one = trial(1, "full budget", state, values={3: (0.25,)}, best_epoch=2, verdict="dead units in layer 1")
    note = notes.trial(spec(), one, "1", "parent")
    assert note.startswith(f"Trial 1 of [shown]({pages.run('1', 'parent')})")
    assert "`podium logs shown/1`" in note
    assert ("dead units in layer 1" in note) is ("complete, full budget" in note) is state.is_ended


@given(reason=st.text(max_size=3000), name=st.text(min_size=1, max_size=300), own=st.text(max_size=9000))
def test_no_words_of_others_break_a_description(reason: str, name: str, own: str) -> None:
    parameters = {f"{name}{number}": name for number in range(60)}
    best = Trial(
        number=0,
        parameters=parameters,
        seed=0,
        reason=reason,
        state=TrialState.FAILED,
        verdict=reason,
        values={1: (0.5,)},
    )
    one, plain = spec(note=own), spec()
    whole = notes.sweep(one, "failed", reason, {0: best}, [best], SHOWN)
    assert len(whole) <= notes.LIMIT
    assert len(notes.trial(one, best, "1", "parent")) <= notes.LIMIT
    note = notes.sweep(plain, "failed", reason, {0: best}, [], SHOWN)
    assert not re.search(r"<|\|", note)
    assert len(re.findall(r"\]\(", note)) == 5  # our links alone


def test_views_are_such_as_the_page_of_an_experiment_reads() -> None:
    for key, value in views.views(spec(), 1).items():
        assert key.startswith("mlflow.sharedViewState.podium-")
        view = json.loads(value)
        state = json.loads(view["state"])
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`objective`", True)
        assert (
            {"tags.`state`", "tags.`rung`", "params.`p0`"} <= set(state["selectedColumns"]) <= {*state["columnOrder"]}
        )
        assert len(value) < 20_000  # what MLflow takes


def test_a_running_sweep_is_described_now_and_then(
    make_story: Callable[..., Story], show: Callable[..., Projector], tracking_uri: str
) -> None:
    story = make_story("asha", trials=60)
    while not any(one.state == "paused" for one in story.machine.trials.values()):
        story.step()
    show(story, finish=False, size=1)
    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("shown")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"].startswith("The sweep shown of the task train.py:train")

    def note() -> str:
        (parent,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'shown'")
        return str(parent.data.tags["mlflow.note.content"])

    assert "No trial has begun. As of" in note()
    story.play()
    show(story, finish=False, size=50)
    assert re.search(r"is running\. \d+ trials: .* Best so far is \[shown-", note())


def test_tags_and_metrics_that_people_filter_by_have_plain_names() -> None:
    assert {"state": "stopped", "rung": "0", "reason": "why"}.items() <= entities.trial_tags(trial(0, "why")).items()
    spent = entities.spending(2.0, trial(0).spent, trial(0).lost)
    assert {name.partition("/")[0] for name in spent} == {"spending"}
