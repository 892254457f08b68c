"""Importance: what separates the best trials from the rest."""

from dataclasses import replace

from search_bench import SPACE, Sweep, make_spec

from podium.search.importance import FEWEST_TRIALS, importance
from podium.sweep.trial import TrialState


def by_x(trial):
    return replace(trial, state=TrialState.COMPLETE, values={9: (abs(trial.parameters["x"] - 1),)})


def test_the_parameter_that_matters_comes_first():
    sweep = Sweep(make_spec("random"), end=by_x).run(80)
    shares = importance(sweep.spec, sweep.trials.values())
    assert next(iter(shares)) == "x"
    assert set(shares) == set(SPACE)
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert shares == importance(sweep.spec, list(sweep.trials.values())[::-1])


def test_stopped_trials_count():
    def stop(trial):
        ended = by_x(trial)
        good = ended.values[9][0] < 0.1
        return ended if good else replace(ended, state=TrialState.STOPPED, values={1: ended.values[9]})

    sweep = Sweep(make_spec("random"), end=stop).run(80)
    assert sum(trial.state is TrialState.COMPLETE for trial in sweep.trials.values()) < FEWEST_TRIALS
    assert next(iter(importance(sweep.spec, sweep.trials.values()))) == "x"


def test_equal_names_share_one_entry():
    space = {
        "kind": {"choice": ["a", "b"]},
        "size": [{"int": [1, 4], "when": {"kind": "a"}}, {"int": [5, 9], "when": {"kind": "b"}}],
    }
    spec = make_spec("random", space)
    sweep = Sweep(
        spec, end=lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (trial.parameters["size"],)})
    )
    assert set(importance(spec, sweep.run(40).trials.values())) == {"kind", "size"}


def test_several_objectives():
    objective = [
        {"metric": "one", "direction": "minimize", "at": "last"},
        {"metric": "two", "direction": "maximize", "at": "last"},
    ]

    def end(trial):
        distance = abs(trial.parameters["x"] - 1)
        return replace(trial, state=TrialState.COMPLETE, values={9: (distance, -distance)})

    sweep = Sweep(make_spec("random", objective=objective), end=end).run(80)
    assert next(iter(importance(sweep.spec, sweep.trials.values()))) == "x"


def test_nothing_where_it_cannot_be_told():
    sweep = Sweep(make_spec("random"), end=by_x).run(FEWEST_TRIALS - 1)
    assert importance(sweep.spec, sweep.trials.values()) == {}
    fixed = Sweep(make_spec("random", {})).run(FEWEST_TRIALS)
    assert importance(fixed.spec, fixed.trials.values()) == {}
