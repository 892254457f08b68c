"""Finalists: who is trained again, and how the sweep that does it differs from the one they come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import Refused, SpecError
from podium.registry.finalists import best, confirming, final, finalists, values_of
from podium.spec.files import parse_sweep
from podium.sweep.trial import Trial, TrialState

FILE = {
    "sweep": "digits",
    "task": "classification",
    "seed": 7,
    "screen": True,
    "notify": {"command": "mail"},
    "data": {"source": "mnist_5k", "seed": 3, "batch_size": 32},
    "stopping": {"patience": 2},
    "search": {
        "objective": {"metric": "validation/accuracy", "direction": "maximize"},
        "prior": "earlier",
        "constraints": ["parameters <= 1e6"],
        "space": {
            "network.depth": {"int": [1, 3]},
            "optimizer.learning_rate": {"log": [1e-3, 1e-1]},
        },
    },
    "budget": {"trials": 50, "epochs": {"min": 1, "max": 9}, "policy": "asha", "target": 0.99, "wall_time": 60},
}
POINTS = [{"network.depth": 1, "optimizer.learning_rate": 0.01}, {"network.depth": 2, "optimizer.learning_rate": 0.02}]


def trial(number, parameters, state=TrialState.COMPLETE, value=0.5):
    return Trial(number=number, parameters=parameters, seed=0, state=state, values={9: (value,)})


def test_finalists_differ_in_more_than_their_seeds():
    points = [{"kind": "a", "seed": 1}, {"kind": "a", "seed": 2}, {"kind": "b", "optimizer.momentum": 0.9}]
    trials = [trial(number, point) for number, point in enumerate([*points, {"kind": "b", "optimizer.momentum": 0.5}])]

    def chosen(count, *, per_signature):
        return [each.number for each in finalists(trials, count, {}, per_signature=per_signature)]

    assert chosen(3, per_signature=False) == [0, 2, 3]
    assert chosen(2, per_signature=False) == [0, 2]
    assert chosen(3, per_signature=True) == [0, 2]


def test_the_sweep_that_confirms_has_fresh_seeds_the_full_budget_and_nothing_of_the_search():
    spec, source = (confirming(parse_sweep(FILE), name, POINTS, 3) for name in ("one", "two"))
    assert spec.search.points == tuple(point for point in POINTS for _ in range(3))
    assert (spec.budget.trials, spec.budget.policy, spec.budget.epochs.min, spec.budget.epochs.max) == (6, "none", 9, 9)
    assert (spec.seed, spec.screen, spec.search.prior) == (None, False, None)
    assert spec.search.constraints == ("parameters <= 1e6",)
    assert (spec.budget.target, spec.budget.wall_time, spec.notify.command) == (None, None, None)
    assert spec.data is not None
    assert source.data is not None
    assert len({spec.data.seed, source.data.seed, 3}) == 3
    assert len({spec.search.seed, source.search.seed, 0}) == 3
    assert spec.data.batch_size == 32
    assert spec.stopping.patience == 2


def test_the_last_training_goes_by_no_validation_split():
    confirmed = confirming(parse_sweep(FILE), "confirmed", POINTS, 2)
    spec = final(confirmed, "last", POINTS[1], 4)
    assert spec.data is not None
    assert (spec.data.train_on, spec.stopping.patience, spec.search.objectives[0].at) == (
        "train+validation",
        None,
        "last",
    )
    assert (spec.budget.trials, spec.budget.epochs.max, spec.search.points) == (1, 4, (POINTS[1],))
    plateau = parse_sweep({**FILE, "schedule": {"kind": "plateau"}})
    with pytest.raises(SpecError, match=r"schedule\.kind goes by the validation split"):
        final(confirming(plateau, "confirmed", POINTS, 2), "last", POINTS[0], 4)


def test_a_finalist_of_which_a_seed_failed_comes_behind_all_others():
    trials = [
        trial(0, {}, value=0.9),
        trial(1, {}, TrialState.DIVERGED),
        trial(2, {}, value=0.6),
        trial(3, {}, value=0.7),
    ]
    values = values_of(trials, 2)
    assert values == [[0.9, None], [0.6, 0.7]]
    assert best(values, maximize=True) == best(values, maximize=False) == 1
    assert values_of(trials, 2, lambda trial: trial.number != 3) == [[0.9, None], [0.6, None]]
    with pytest.raises(Refused, match="of each of them a fresh seed diverged, failed"):
        best([[None, 0.5], [0.4, None]], maximize=True)


@given(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_best_has_the_best_mean(values):
    means = [sum(own) / 3 for own in values]
    assert means[best(values, maximize=True)] == pytest.approx(max(means))
    assert means[best(values, maximize=False)] == pytest.approx(min(means))
