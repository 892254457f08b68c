"""The machine's test bench: 1,000 trials on 50 simulated gangs over real learning curves.

The curves are those of 1,000 Adam configurations on text-RNN tasks of TaskSet (Metz et al., 2020, arXiv:2002.11887).
Bounds are about 1.2 times what was measured over all twelve tasks; simulations repeat exactly.
"""

import numpy as np
import pytest

from podium.sweep.machine import SweepState
from podium.sweep.trial import TrialState
from podium.testing.simulation import simulate, toy_spec

pytestmark = pytest.mark.no_cover  # 17 sweeps of 1,000 trials say no more of that than the small ones of other tests

TRIALS, GANGS, EPOCHS = 1000, 50, 51
NONE_S = TRIALS * EPOCHS / GANGS
TASKS = (0, 3, 5, 9)


@pytest.fixture(scope="module")
def curves(real_data):
    """By task, for each configuration the validation loss after each epoch; None where it diverged."""
    file = real_data / "hpo" / "taskset_rnn12.npz"
    if not file.exists():
        pytest.skip(f"there are no learning curves at {file}; set PODIUM_DATA to the folder that has them")
    with np.load(file) as arrays:
        losses = arrays["curves"][list(TASKS), :, 1].astype(float)
    return [[[None if np.isnan(x) else x for x in curve] for curve in task.tolist()] for task in losses]


def run(curves, policy):
    spec = toy_spec(trials=TRIALS, policy=policy, epochs={"min": 1, "max": EPOCHS, "factor": 3})
    return simulate(spec, GANGS, lambda lane: curves[lane.trial])


def count_better(curves, loss):
    """How many configurations have a better loss than this at their best epoch."""
    return sum(None not in curve and min(curve) < loss for curve in curves)


def test_none_takes_the_whole_time_and_finds_the_best(curves):
    simulation = run(curves[0], "none")
    assert simulation.virtual_s == NONE_S
    assert count_better(curves[0], simulation.best.last_values[0]) == 0
    diverged = sum(None in curve for curve in curves[0])
    assert simulation.machine.count() == {TrialState.COMPLETE: TRIALS - diverged, TrialState.DIVERGED: diverged}


@pytest.mark.parametrize(
    ("policy", "time", "worst", "mean"),
    [
        ("asha", 0.13, 9, 4.5),
        ("asha_stop", 0.12, 9, 4.5),
        ("hyperband", 0.27, 2, 0.5),
        ("median", 0.21, 9, 2.5),
    ],
)
def test_stopping_early_finds_nearly_the_best_in_a_fraction_of_the_time(curves, policy, time, worst, mean):
    """Of 1,000 configurations at most `worst` are better than the one found, and `mean` on average over the tasks."""
    better = []
    for task in curves:
        simulation = run(task, policy)
        assert simulation.machine.state is SweepState.FINISHED
        assert simulation.virtual_s <= time * NONE_S
        assert simulation.best.rung == EPOCHS
        better.append(count_better(task, simulation.best.last_values[0]))
    assert max(better) <= worst
    assert np.mean(better) <= mean
