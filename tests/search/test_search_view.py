"""What Optuna is shown of the ledger: DESIGN.md's table of states and endings, and no more than it needs."""

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState as Shown
from search_bench import make_spec, make_trial

from podium.search.gallery import BEST_PART, MATE_OF, MATES_SHOWN, MOST_SHOWN, Gallery
from podium.search.translation import WORST, Translation
from podium.search.view import NAME, LedgerView
from podium.sweep.trial import TrialState

SPACE = {"x": {"float": [0.0, 1.0]}, "layers": {"choice": [[64], [64, 32]]}, "step": {"float": [0, 1], "step": 0.25}}
POINT = {"x": 0.5, "layers": (64, 32), "step": 0.75}


def show(trial, **search):
    return Translation(make_spec(space=SPACE, **search)).show(trial, 7)


@pytest.mark.parametrize(
    ("state", "values", "shown", "intermediate"),
    [
        (TrialState.COMPLETE, {1: (0.5,), 9: (0.2,)}, Shown.COMPLETE, {1: 0.5, 9: 0.2}),
        (TrialState.STOPPED, {1: (0.5,), 3: (0.4,)}, Shown.PRUNED, {1: 0.5, 3: 0.4}),
        (TrialState.STOPPED, {}, Shown.FAIL, {}),
        (TrialState.DIVERGED, {}, Shown.PRUNED, {0: WORST}),
        (TrialState.DIVERGED, {1: (0.1,)}, Shown.PRUNED, {0: WORST}),
        (TrialState.COMPLETE, {9: (None,)}, Shown.PRUNED, {0: WORST}),
        (TrialState.FAILED, {1: (0.5,)}, Shown.FAIL, {1: 0.5}),
        (TrialState.CANCELLED, {1: (0.5,)}, Shown.FAIL, {1: 0.5}),
        (TrialState.PAUSED, {1: (0.5,)}, Shown.PRUNED, {1: 0.5}),
        (TrialState.RUNNING, {1: (0.5,)}, Shown.RUNNING, {1: 0.5}),
        (TrialState.WAITING, {}, Shown.RUNNING, {}),
    ],
)
def test_states_and_endings(state, values, shown, intermediate):
    frozen = show(make_trial(parameters=POINT, state=state, values=values))
    assert frozen.state is shown
    assert frozen.intermediate_values == intermediate
    assert frozen.values == ([0.2] if shown is Shown.COMPLETE else None)
    frozen._validate()


def test_the_worst_of_a_maximized_value_is_the_lowest():
    objective = {"metric": "m", "direction": "maximize"}
    frozen = show(make_trial(parameters=POINT, state=TrialState.DIVERGED, values={}), objective=objective)
    assert frozen.intermediate_values == {0: -WORST}


def test_parameters_are_shown_in_optunas_types():
    frozen = show(make_trial(3, POINT))
    assert frozen.params == {"x": 0.5, "layers": "[64, 32]", "step": 3}
    assert frozen.number == 7


def test_a_trial_outside_of_the_space_is_not_shown():
    assert show(make_trial(parameters={**POINT, "x": 2.0})) is None
    assert show(make_trial(parameters={"x": 0.5})) is None


def test_a_trial_of_another_sweep_is_shown_if_what_it_searched_besides_is_fixed_at_the_same_value():
    translation = Translation(make_spec(space=SPACE))
    width = translation.space.fixed["network.width"]
    assert translation.can_show(make_trial(parameters={**POINT, "network.width": width}))
    assert not translation.can_show(make_trial(parameters={**POINT, "network.width": width + 1}))


@pytest.mark.parametrize(
    ("metrics", "violation"),
    [({"parameters": 2e6}, 1.0), ({"parameters": 5e5}, -0.5), ({"parameters": None}, 1.0), ({}, 1.0)],
)
def test_constraints(metrics, violation):
    constrained = {"constraints": ["parameters <= 1e6"]}
    frozen = show(make_trial(parameters=POINT, metrics=metrics), **constrained)
    assert frozen.constraints == {"parameters <= 1e+06": violation}
    running = show(make_trial(parameters=POINT, metrics=metrics, state=TrialState.RUNNING), **constrained)
    assert running.constraints == {}


def test_a_point_refused_by_a_constraint_is_shown_as_infeasible():
    trial = make_trial(parameters=POINT, state=TrialState.STOPPED, values={}, metrics={"parameters": 2e6})
    frozen = show(trial, constraints=["parameters <= 1e6"])
    assert frozen.state is Shown.PRUNED
    assert frozen.constraints == {"parameters <= 1e+06": 1.0}


def test_several_objectives_are_shown_as_values_alone():
    objective = [
        {"metric": "one", "direction": "minimize", "at": "last"},
        {"metric": "two", "direction": "maximize", "at": "last"},
    ]
    complete = show(make_trial(parameters=POINT, values={9: (1.0, 2.0)}), objective=objective)
    assert (complete.values, complete.intermediate_values) == ([1.0, 2.0], {})
    diverged = show(make_trial(parameters=POINT, state=TrialState.DIVERGED, values={}), objective=objective)
    assert (diverged.state, diverged.values, diverged.intermediate_values) == (Shown.PRUNED, None, {})


def point(number):
    return {"x": (number % 997) / 997}


def gallery(prior=(), most=MOST_SHOWN, merges=False, **search):
    return Gallery(Translation(make_spec(space={"x": {"float": [0.0, 1.0]}}, **search)), prior, most, merges=merges)


def test_a_changed_snapshot_is_shown_anew_and_an_equal_one_is_kept():
    hall = gallery()
    paused = make_trial(0, point(0), TrialState.PAUSED, {1: (0.5,)})
    first = hall.hang({0: paused})
    assert hall.hang({0: paused})[0] is first[0]
    promoted = make_trial(0, point(0), TrialState.RUNNING, {1: (0.5,)})
    assert [trial.state for trial in hall.hang({0: promoted})] == [Shown.RUNNING]
    ended = make_trial(0, point(0), TrialState.COMPLETE, {1: (0.5,), 3: (0.4,)})
    assert [trial.value for trial in hall.hang({0: ended})] == [0.4]


@pytest.mark.parametrize("most", [MOST_SHOWN, MATES_SHOWN])
def test_a_long_sweep_shows_its_best_and_its_latest(most):
    trials = {number: make_trial(number, point(number)) for number in range(2000)}
    trials[5] = make_trial(5, point(5), TrialState.RUNNING, {})
    trials[6] = make_trial(6, point(6), values={9: (1e9,)})
    shown = [trial.number for trial in gallery(most=most).hang(trials)]
    best = most // BEST_PART
    assert len(shown) == most + 1
    assert shown == sorted(shown)
    assert 6 not in shown
    assert set(shown[: best + 1]) == set(range(best + 2)) - {6}
    assert set(range(2000 - (most - best), 2000)) <= set(shown)


def mate(number, lead, value, state=TrialState.COMPLETE):
    return make_trial(number, point(number), state, {9: value}, attributes={MATE_OF: lead})


@pytest.mark.parametrize(("merges", "numbers"), [(True, [0, 2, 4, 5]), (False, [0, 1, 2, 3, 4, 5])])
def test_of_a_lead_and_its_mates_the_best_is_shown_and_all_that_run(merges, numbers):
    trials = {
        0: make_trial(0, point(0), values={9: (5.0,)}),
        1: make_trial(1, point(1), values={9: (4.0,)}),
        2: mate(2, 1, (3.0,)),
        3: mate(3, 1, (3.5,)),
        4: mate(4, 1, (None,), TrialState.RUNNING),
        5: mate(5, 0, (6.0,), TrialState.RUNNING),
    }
    assert [trial.number for trial in gallery(merges=merges).hang(trials)] == numbers


def test_of_several_objectives_the_best_mate_in_each_is_shown():
    objective = [
        {"metric": "one", "direction": "minimize", "at": "last"},
        {"metric": "two", "direction": "maximize", "at": "last"},
    ]
    lead = make_trial(0, point(0), values={9: (1.0, 1.0)})
    trials = {0: lead, 1: mate(1, 0, (2.0, 2.0)), 2: mate(2, 0, (0.0, 0.0)), 3: mate(3, 0, (3.0, 0.5))}
    assert [trial.number for trial in gallery(merges=True, objective=objective).hang(trials)] == [1, 2]


def test_leads_of_an_earlier_sweep_are_not_mistaken_for_those_of_this_one():
    prior = [make_trial(0, point(0)), make_trial(1, point(1)), mate(2, 0, (-1.0,))]
    hall = gallery(prior, merges=True)
    assert [trial.number for trial in hall.hang({0: make_trial(0, point(0), values={9: (7.0,)})})] == [1, 2, 3]


def test_prior_trials_come_first():
    hall = gallery([make_trial(number, point(number)) for number in range(3)])
    shown = hall.hang({0: make_trial(0, point(9), values={9: (7.0,)})})
    assert [trial.number for trial in shown] == [0, 1, 2, 3]
    assert shown[3].value == 7.0
    assert hall.number(1) == 4


def test_the_view_is_a_study_that_cannot_be_written_to():
    shown = gallery().hang({0: make_trial(0, point(0))})
    view = LedgerView([StudyDirection.MINIMIZE], shown, 1)
    study = optuna.load_study(study_name=NAME, storage=view, sampler=optuna.samplers.RandomSampler())
    assert [trial.value for trial in study.trials] == [0.0]
    assert study.best_trial.params == point(0)
    assert (study.study_name, study.user_attrs) == (NAME, {})
    asked = study.ask()
    asked.suggest_float("x", 0, 1)
    assert len(study.trials) == 2
    for write in (
        lambda: study.tell(asked, 1.0),
        lambda: study.set_user_attr("a", 1),
        lambda: asked.report(1.0, 1),
        lambda: asked.set_user_attr("a", 1),
        lambda: view.create_new_study([]),
        lambda: view.delete_study(0),
        lambda: view.set_study_system_attr(0, "a", 1),
    ):
        with pytest.raises(NotImplementedError, match="view of the ledger"):
            write()
    assert [frozen.study_name for frozen in view.get_all_studies()] == [NAME]
