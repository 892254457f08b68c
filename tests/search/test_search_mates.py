"""Mates: the structure of a trial, and fusible parameters drawn by what the trials of that structure have taught."""

import itertools
import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_bench import SAMPLERS, Sweep, make_spec, make_trial

from podium.search.gallery import MATES_SHOWN
from podium.search.mates import Mates
from podium.search.proposer import OptunaProposer
from podium.spec.space import fusible_because, signature
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Exhausted, Propose
from podium.sweep.trial import TrialState

RATE, SCHEME, DROPOUT = "optimizer.learning_rate", "initializer.scheme", "network.dropout"
SPACE = {
    "network.kind": {"choice": ["mlp", "convnet"]},
    "network.kernel": {"choice": [3, 5], "when": {"network.kind": "convnet"}},
    RATE: {"log": [1e-4, 1.0]},
    SCHEME: {"choice": ["he_normal", "orthogonal"]},
    DROPOUT: {"float": [0.0, 0.6], "when": {"network.kind": "mlp"}},
    "penalty.l2": {"log": [1e-7, 1e-2], "when": {SCHEME: "orthogonal"}},
}
GRID = {
    "network.kind": {"choice": ["mlp", "convnet"]},
    "penalty.l2": {"choice": [0.0, 0.1]},
    DROPOUT: {"choice": [0.0, 0.5], "when": {"network.kind": "mlp"}},
}
KEEPS_STRUCTURE = ("tpe", "random", "qmc", "gp", "grid")


def off(rate):
    """How many decades a trial's learning rate lies from `rate`."""
    return lambda parameters: abs(math.log10(parameters[RATE]) - math.log10(rate))


def ending(loss):
    return lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (loss(trial.parameters),)})


def waiting(trial):
    return replace(trial, state=TrialState.WAITING)


def make_sweep(sampler="tpe", space=None, *, loss=len, seed=0):
    space = space or (GRID if sampler == "grid" else SPACE)
    return Sweep(make_spec(sampler, space, seed=seed), end=ending(loss))


def structure(sweep, point):
    return signature(point, sweep.spec.fixed())


@pytest.mark.parametrize("sampler", KEEPS_STRUCTURE)
def test_a_mate_has_the_structure_of_its_trial_and_fusible_parameters_of_its_own(sampler):
    sweep = make_sweep(sampler).run(2)
    for mates_of in (0, 1):
        mate = sweep.run(1, mates_of=mates_of).points[-1]
        assert structure(sweep, mate) == structure(sweep, sweep.points[mates_of])
        assert sweep.spec.space().contains(mate)
    assert len({frozenset(point.items()) for point in sweep.points}) == 4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_resumed_sweep_draws_the_mates_that_the_undisturbed_one_does(sampler):
    undisturbed = make_sweep(sampler).run(2).run({"grid": 3, "gp": 11}.get(sampler, 14), mates_of=1)
    last = len(undisturbed.trials) - 1
    for interrupted_at in (2, last):
        before = {number: undisturbed.trials[number] for number in range(interrupted_at)}
        resumed = Sweep(undisturbed.spec, before, end=undisturbed.end).run(last + 1 - interrupted_at, mates_of=1)
        assert resumed.points == undisturbed.points
    other = make_sweep(sampler, seed=1).run(2).run(3, mates_of=1)
    assert (other.points == undisturbed.points[:5]) == (sampler == "grid")


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_mates_go_to_the_optimum_of_their_structure_not_to_that_of_a_better_one(sampler):
    space = {"network.kind": {"choice": ["mlp", "convnet"]}, RATE: {"log": [1e-4, 1.0]}}

    def loss(parameters):
        return off(1e-3)(parameters) if parameters["network.kind"] == "mlp" else 1 + off(1e-1)(parameters)

    sweep = make_sweep(sampler, space, loss=loss).run(14 if sampler == "gp" else 60)
    worse = next(number for number, point in enumerate(sweep.points) if point["network.kind"] == "convnet")
    sweep.run(20, mates_of=worse)
    assert statistics.median(map(off(1e-1), sweep.points[-8:])) < 0.5


def test_trials_of_another_signature_do_not_matter():
    sweep = make_sweep("random", loss=off(1e-2)).run(3 * MATES_SHOWN)
    proposer = OptunaProposer(make_spec(space=SPACE))
    for number, point in enumerate(sweep.points[:4]):
        mates = {own: t for own, t in sweep.trials.items() if structure(sweep, t.parameters) == structure(sweep, point)}
        command = Propose(key="", number=3 * MATES_SHOWN, mates_of=number)
        among_all = proposer.propose(command, sweep.trials)
        assert proposer.propose(command, mates) == among_all
        few = dict(list(mates.items())[:20])
        assert proposer.propose(command, few) == OptunaProposer(make_spec(space=SPACE)).propose(command, few)
        assert proposer.propose(command, few) != among_all


@pytest.mark.parametrize(("earlier", "learns"), [(9, False), (10, True)])
def test_below_ten_ended_trials_mates_are_drawn_from_the_prior(earlier, learns):
    space = {"network.kind": {"choice": ["mlp"]}, RATE: {"log": [1e-4, 1.0]}}
    low, high = (make_sweep(space=space, loss=off(rate)).run(1).run(earlier - 1, mates_of=0) for rate in (1e-4, 1.0))
    assert low.points == high.points
    assert (low.ask(mates_of=0) != high.ask(mates_of=0)) == learns


def test_a_structure_counts_once_among_the_free_draws():
    """Else two structures that were drawn early, with many mates, would be all that is known when learning begins."""
    space = {"network.depth": {"int": [1, 9]}, RATE: {"log": [1e-4, 1.0]}}

    def free_draws(leads, good):
        sweep = make_sweep(space=space, loss=lambda parameters: abs(parameters["network.depth"] - good))
        for _ in range(leads):
            lead = len(sweep.trials)
            sweep.run(1).run(11, mates_of=lead)
        return [sweep.ask(number).parameters for number in range(500, 505)]

    assert free_draws(9, good=1) == free_draws(9, good=9)
    assert free_draws(10, good=1) != free_draws(10, good=9)


def test_mates_that_wait_are_shunned():
    """Without them in view, every mate drawn in a row would be drawn beside the same best trial."""
    space = {"network.kind": {"choice": ["mlp", "convnet"]}, RATE: {"log": [1e-4, 1.0]}}
    sweep = make_sweep(space=space, loss=off(1e-2)).run(1).run(29, mates_of=0)
    blind = [sweep.ask(number, mates_of=0).parameters for number in range(30, 62)]
    sweep.end = waiting
    seeing = sweep.run(32, mates_of=0).points[30:]

    def crowd(points):
        rates = sorted(math.log10(point[RATE]) for point in points)
        return statistics.median(above - below for below, above in itertools.pairwise(rates))

    assert len({point[RATE] for point in seeing}) == 32
    assert crowd(seeing) > 2 * crowd(blind)


def test_paused_mates_steer():
    space = {"network.kind": {"choice": ["mlp", "convnet"]}, RATE: {"log": [1e-4, 1.0]}}

    def pause(trial):
        return replace(trial, state=TrialState.PAUSED, epoch=1, values={1: (off(1e-1)(trial.parameters),)})

    sweep = Sweep(make_spec(space=space), end=pause).run(1).run(40, mates_of=0)
    assert statistics.median(map(off(1e-1), sweep.points[-10:])) < 0.5


def test_a_fusible_parameter_may_hang_on_structure_or_on_another_fusible_one():
    sweep = make_sweep().run(12)
    kinds = {point["network.kind"]: number for number, point in enumerate(sweep.points)}
    for mates_of in kinds.values():
        sweep.run(24, mates_of=mates_of)
    mates = sweep.points[12:]
    assert {(DROPOUT in mate, mate["network.kind"]) for mate in mates} == {(True, "mlp"), (False, "convnet")}
    assert {("penalty.l2" in mate, mate[SCHEME]) for mate in mates} == {(True, "orthogonal"), (False, "he_normal")}
    assert all(sweep.spec.space().contains(mate) for mate in mates)


@pytest.mark.parametrize("sampler", KEEPS_STRUCTURE)
def test_a_fusible_parameter_that_structure_hangs_on_is_kept(sampler):
    space = {
        SCHEME: {"choice": ["he_normal", "orthogonal"]},
        "network.depth": {"int": [1, 3], "when": {SCHEME: "orthogonal"}},
        RATE: {"choice": [0.1, 0.2, 0.3]},
    }
    sweep = make_sweep(sampler, space)
    sweep.run(9 if sampler == "grid" else 4)
    for number, point in enumerate(sweep.points[:4]):
        mate = Sweep(sweep.spec, {number: sweep.trials[number]}).ask(9, mates_of=number).parameters
        assert {**mate, RATE: None} == {**point, RATE: None}


@pytest.mark.parametrize("sampler", KEEPS_STRUCTURE[:-1])
def test_with_nothing_to_draw_a_mate_is_a_twin(sampler):
    sweep = make_sweep(sampler, {"network.depth": {"int": [1, 3]}}).run(12)
    assert sweep.ask(mates_of=3).parameters == sweep.points[3]


def test_what_a_user_gives_goes_before_what_mates_share():
    sweep = make_sweep().run(2)
    other = "mlp" if sweep.points[0]["network.kind"] == "convnet" else "convnet"
    asked = sweep.ask(mates_of=0, **{"network.kind": other})
    assert asked.parameters["network.kind"] == other


def test_earlier_sweeps_warm_the_mates_of_their_signature():
    space = {"network.kind": {"choice": ["mlp", "convnet"]}, RATE: {"log": [1e-4, 1.0]}}
    prior = [
        make_trial(number, {"network.kind": "mlp", RATE: 10 ** (-4 * number / 20)}, values={9: (abs(number - 15),)})
        for number in range(20)
    ]
    foreign = make_trial(99, {RATE: 0.5}, values={9: (-1.0,)})
    sweep = Sweep(make_spec(space=space), prior=[*prior, foreign], end=waiting)
    for number, kind in enumerate(("mlp", "convnet")):
        sweep.trials[number] = make_trial(number, {"network.kind": kind, RATE: 1.0}, TrialState.WAITING, {})
    warm, cold = sweep.ask(2, mates_of=0), sweep.ask(2, mates_of=1)
    assert off(1e-3)(warm.parameters) < 0.6
    without = Sweep(make_spec(space=space), sweep.trials)
    assert cold == without.ask(2, mates_of=1)
    assert warm == Sweep(make_spec(space=space), sweep.trials, prior=prior).ask(2, mates_of=0)


def test_a_long_sweep_shows_the_best_and_the_latest_of_a_signature():
    """Those in the middle are neither, unless they are good."""
    space = {"network.kind": {"choice": ["mlp"]}, RATE: {"log": [1e-4, 1.0]}}

    def mates(rate, value):
        trials = {
            number: make_trial(number, {"network.kind": "mlp", RATE: 10 ** (-4 * (number % 97) / 97)})
            for number in range(2 * MATES_SHOWN)
        }
        for number in range(MATES_SHOWN // 2, MATES_SHOWN):
            trials[number] = make_trial(number, {"network.kind": "mlp", RATE: rate}, values={9: (value,)})
        sweep = Sweep(make_spec(space=space), trials)
        return [sweep.ask(number, mates_of=0) for number in range(1000, 1020)]

    assert mates(0.35, 1e3) == mates(1e-4, 1e3)
    assert mates(0.35, -1.0) != mates(1e-4, -1.0)


def test_equal_names_with_different_domains():
    space = {
        "network.kind": {"choice": ["mlp", "convnet"]},
        RATE: [
            {"log": [1e-4, 1e-2], "when": {"network.kind": "mlp"}},
            {"choice": [0.1, 0.2], "when": {"network.kind": "convnet"}},
        ],
    }
    for sampler in ("tpe", "random", "qmc"):
        sweep = make_sweep(sampler, space).run(4)
        for number in range(4):
            sweep.run(11, mates_of=number)
            assert structure(sweep, sweep.points[-1]) == structure(sweep, sweep.points[number])
        assert all(sweep.spec.space().contains(point) for point in sweep.points)


def test_mates_on_a_grid_take_the_free_points_of_their_structure_then_the_others():
    sweep = make_sweep("grid").run(1)
    assert sweep.points == [{"network.kind": "mlp", "penalty.l2": 0.0, DROPOUT: 0.0}]
    sweep.run(4, mates_of=0)
    assert [point["network.kind"] for point in sweep.points] == ["mlp"] * 4 + ["convnet"]
    sweep.run(1, mates_of=0)
    points = {frozenset(point.items()) for point in sweep.points}
    assert points == {frozenset(point.items()) for point in sweep.spec.space().grid()}
    assert sweep.ask(mates_of=0) == Exhausted(number=6)


def test_free_draws_and_mates_share_one_grid():
    sweep = make_sweep("grid").run(1).run(1, mates_of=0).run(2).run(1, mates_of=3).run(1)
    assert len({frozenset(point.items()) for point in sweep.points}) == 6
    assert sweep.ask() == Exhausted(number=6)


def test_a_mate_of_a_trial_beside_the_grid_takes_a_point_of_the_grid():
    sweep = make_sweep("grid")
    sweep.trials[0] = make_trial(0, {"network.kind": "other", "penalty.l2": 0.7})
    assert sweep.spec.space().contains(sweep.ask(mates_of=0).parameters)


def test_a_mate_is_its_numbers_point_of_the_sobol_sequence_but_for_the_structure():
    sweep = make_sweep("qmc").run(6)
    for number, point in enumerate(sweep.points):
        shared = {name: value for name, value in point.items() if fusible_because(name) is None}
        assert sweep.ask(mates_of=number) == sweep.ask(**shared)


def test_cmaes_has_no_mates():
    sweep = make_sweep("cmaes").run(3)
    assert sweep.ask(mates_of=0) == sweep.ask()
    assert sweep.ask(mates_of=0).attributes["cmaes.generation"] == 0


def test_several_objectives():
    objective = [
        {"metric": "one", "direction": "minimize", "at": "last"},
        {"metric": "two", "direction": "maximize", "at": "last"},
    ]
    spec = make_spec(space=SPACE, objective=objective)
    sweep = Sweep(spec, end=lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (1.0, trial.number)}))
    sweep.run(1).run(2 * MATES_SHOWN, mates_of=0)
    assert {structure(sweep, point) for point in sweep.points} == {structure(sweep, sweep.points[0])}


NAMES = ("network.kind", "network.depth", RATE, SCHEME, "penalty.l1")


@st.composite
def spaces(draw):
    """Structural and fusible parameters in any order, each of which may hang on any of those before it."""
    space = {}
    for name in draw(st.permutations(NAMES)):
        parents = draw(st.lists(st.sampled_from(sorted(space)), max_size=2, unique=True)) if space else []
        when = {parent: draw(st.sampled_from([1, [1, 2], 3])) for parent in parents}
        space[name] = {"choice": [1, 2, 3], **({"when": when} if when else {})}
    return space


@pytest.mark.parametrize("sampler", KEEPS_STRUCTURE)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(space=spaces(), seed=st.integers(0, 2**40))
def test_a_mate_lies_in_any_space_and_has_its_trials_signature(sampler, space, seed):
    objective = {"metric": "loss", "direction": "minimize"}
    spec = SweepSpec.model_validate(
        {
            "sweep": "any",
            "task": "train.py:train",
            "search": {"objective": objective, "sampler": sampler, "seed": seed, "space": space},
            "budget": {"trials": 9, "epochs": {"max": 1}},
        }
    )
    sweep = Sweep(spec, end=ending(len)).run(1)
    points = [frozenset(point.items()) for point in spec.space().grid()]
    shared = Mates(spec.space()).shared(sweep.points[0]).items()
    alike = sum(shared <= point for point in points)
    sweep.run(min(alike, 12) - 1 if sampler == "grid" else 11, mates_of=0)
    for point in sweep.points:
        assert frozenset(point.items()) in points
        assert structure(sweep, point) == structure(sweep, sweep.points[0])
