"""Every sampler: resumed as if undisturbed, within the space, and faithful to what is given."""

import logging
import math
import random
import statistics
import warnings
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_bench import GRID, SAMPLERS, SPACE, Sweep, loss, make_spec

from podium.search.proposer import OptunaProposer
from podium.sweep.messages import EVENT, Exhausted, Propose
from podium.sweep.trial import TrialState

SLOW_GP = pytest.param("gp", marks=pytest.mark.slow)


def space_of(sampler):
    return GRID if sampler == "grid" else SPACE


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_resumed_sweep_proposes_what_the_undisturbed_one_does(sampler):
    length = {"grid": 9, "gp": 12}.get(sampler, 18)
    spec = make_spec(sampler, space_of(sampler))
    undisturbed = Sweep(spec).run(length)
    for interrupted_at in (7, length - 1):
        before = {number: undisturbed.trials[number] for number in range(interrupted_at)}
        resumed = Sweep(spec, before).run(length - interrupted_at)
        assert resumed.points == undisturbed.points


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_lie_in_the_space_and_survive_the_ledger(sampler):
    spec = make_spec(sampler, space_of(sampler))
    sweep = Sweep(spec).run(9 if sampler == "grid" else 12)
    space = spec.space()
    for trial in sweep.trials.values():
        assert space.contains(trial.parameters)
        assert ("kernel" in trial.parameters) == (trial.parameters["kind"] == "b")
    answer = Sweep(spec).ask()
    assert EVENT.validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize("sampler", [sampler for sampler in SAMPLERS if sampler != "grid"])
def test_seeds_and_numbers_change_what_is_drawn(sampler):
    first = Sweep(make_spec(sampler)).run(4)
    assert len({repr(point) for point in first.points}) == 4
    assert Sweep(make_spec(sampler, seed=1)).run(4).points != first.points
    assert Sweep(make_spec(sampler, seed=2**80)).run(1).points != first.points[:1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_command_may_be_asked_twice(sampler):
    sweep = Sweep(make_spec(sampler, space_of(sampler))).run(3)
    assert sweep.ask() == sweep.ask()
    again = OptunaProposer(sweep.spec).propose(Propose(key="propose/3", number=3), sweep.trials)
    assert again == sweep.ask()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_given_values_are_kept_and_inactive_ones_dropped(sampler):
    sweep = Sweep(make_spec(sampler, space_of(sampler)))
    kept = sweep.ask(kind="b", kernel=5, depth=3).parameters
    assert (kept["kind"], kept["kernel"], kept["depth"]) == ("b", 5, 3)
    dropped = sweep.ask(kind="a", kernel=5).parameters
    assert dropped["kind"] == "a"
    assert "kernel" not in dropped
    assert sweep.spec.space().contains(kept)
    assert sweep.spec.space().contains(dropped)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", SLOW_GP])
def test_learns_more_than_random_draws_find(sampler):
    space = {"x": {"float": [-3.0, 3.0]}, "rate": {"log": [1e-4, 1.0]}}

    def final(name):
        sweep = Sweep(make_spec(name, space)).run(20 if sampler == "gp" else 50)
        return statistics.median(loss(point) for point in sweep.points[-8:])

    assert final(sampler) < 0.5 * final("random")


def test_paused_trials_steer_tpe():
    """Shown as running they would count as bad, and its draws would be random."""
    space = {"x": {"float": [-3.0, 3.0]}, "rate": {"log": [1e-4, 1.0]}}

    def pause(trial):
        return replace(trial, state=TrialState.PAUSED, epoch=1, values={1: (loss(trial.parameters),)})

    def drawn(sampler, end):
        sweep = Sweep(make_spec(sampler, space), end=end).run(40)
        return statistics.median(loss(point) for point in sweep.points[-10:])

    assert drawn("tpe", pause) < 0.5 * drawn("random", pause)


def test_maximizing_is_the_mirror_of_minimizing():
    objective = {"metric": "loss", "direction": "maximize"}
    mirrored = Sweep(
        make_spec("tpe", objective=objective),
        end=lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (-loss(trial.parameters),)}),
    )
    assert mirrored.run(20).points == Sweep(make_spec("tpe")).run(20).points


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_diverged_trials_do_not_break_a_sampler(sampler):
    def end(trial):
        if trial.parameters["rate"] > 0.02:
            return replace(trial, state=TrialState.DIVERGED)
        return replace(trial, state=TrialState.COMPLETE, values={9: (loss(trial.parameters),)})

    sweep = Sweep(make_spec(sampler), end=end).run(16 if sampler == "gp" else 30)
    assert any(trial.state is TrialState.DIVERGED for trial in sweep.trials.values())


def test_tpe_shies_from_a_region_that_diverges():
    """The value falls towards the edge beyond which trials diverge; ignored, they would be all that is proposed."""
    space = {"x": {"float": [-3.0, 3.0]}, "rate": {"log": [1e-4, 1.0]}}

    def end(trial):
        x, rate = trial.parameters["x"], trial.parameters["rate"]
        if rate > 1e-2:
            return replace(trial, state=TrialState.DIVERGED)
        return replace(trial, state=TrialState.COMPLETE, values={9: (x**2 - math.log10(rate),)})

    points = Sweep(make_spec("tpe", space), end=end).run(60).points
    assert sum(point["rate"] > 1e-2 for point in points[-30:]) <= 20


@pytest.mark.parametrize("sampler", ["tpe", SLOW_GP])
def test_constraints_move_the_search(sampler):
    space = {"x": {"float": [-3.0, 3.0]}}
    spec = make_spec(sampler, space, constraints=["x <= -1"])

    def end(trial):
        x = trial.parameters["x"]
        return replace(trial, state=TrialState.COMPLETE, values={9: ((x - 1) ** 2,)}, metrics={"x": x})

    points = Sweep(spec, end=end).run(16 if sampler == "gp" else 30).points
    assert statistics.median(point["x"] for point in points[-6:]) < -0.5


def test_cmaes_counts_what_misses_a_constraint_as_worst():
    space = {"x": {"float": [-3.0, 3.0]}, "y": {"float": [-3.0, 3.0]}}
    spec = make_spec("cmaes", space, constraints=["x <= -1"])

    def end(trial):
        x = trial.parameters["x"]
        if x > 2:
            return replace(trial, state=TrialState.STOPPED, metrics={"x": x})
        return replace(trial, state=TrialState.COMPLETE, values={9: ((x - 1) ** 2,)}, metrics={"x": x})

    points = Sweep(spec, end=end).run(80).points
    assert statistics.median(point["x"] for point in points[-15:]) < 0


TWO = [
    {"metric": "one", "direction": "minimize", "at": "last"},
    {"metric": "two", "direction": "maximize", "at": "last"},
]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "grid"])
def test_several_objectives(sampler):
    spec = make_spec(sampler, space_of(sampler), objective=TWO)

    def end(trial):
        depth = float(trial.parameters["depth"])
        state = TrialState.DIVERGED if trial.number % 7 == 3 else TrialState.COMPLETE
        return replace(trial, state=state, values={} if state is TrialState.DIVERGED else {9: (depth, depth)})

    sweep = Sweep(spec, end=end).run(9 if sampler == "grid" else 12)
    assert all(spec.space().contains(point) for point in sweep.points)


def test_a_grid_is_every_point_once_and_then_exhausted():
    sweep = Sweep(make_spec("grid", GRID)).run(9)
    assert {frozenset(point.items()) for point in sweep.points} == {
        frozenset(point.items()) for point in sweep.spec.space().grid()
    }
    assert sweep.ask() == Exhausted(number=9)
    assert Sweep(sweep.spec, sweep.trials).ask() == Exhausted(number=9)


def test_a_grid_takes_a_given_point_once():
    sweep = Sweep(make_spec("grid", GRID))
    first = sweep.proposer.propose(Propose(key="propose/0", number=0, given={"kind": "b", "depth": 2}), {})
    rest = [sweep.proposer.propose(Propose(key="", number=number), {}) for number in range(1, 10)]
    points = [first.parameters, *(answer.parameters for answer in rest[:8])]
    assert len({frozenset(point.items()) for point in points}) == 9
    assert rest[8] == Exhausted(number=9)


def test_a_given_point_beside_the_grid_takes_none():
    sweep = Sweep(make_spec("grid", {"depth": {"choice": [1, 2]}}))
    beside = sweep.proposer.propose(Propose(key="propose/0", number=0, given={"depth": 7}), {})
    assert beside.parameters == {"depth": 7}
    rest = [sweep.proposer.propose(Propose(key="", number=number), {}).parameters for number in (1, 2)]
    assert rest == [{"depth": 1}, {"depth": 2}]


def test_sobol_points_fill_every_eighth_of_an_axis():
    sweep = Sweep(make_spec("qmc", {"x": {"float": [0.0, 8.0]}, "depth": {"int": [1, 8]}})).run(8)
    assert sorted(int(point["x"]) for point in sweep.points) == list(range(8))
    assert sorted(point["depth"] for point in sweep.points) == list(range(1, 9))


def test_cmaes_generations_hold_when_trials_end_out_of_order():
    """A straggler that ends late must not change the history that later generations came from."""
    spec = make_spec("cmaes", {"x": {"float": [-3.0, 3.0]}, "y": {"float": [-3.0, 3.0]}})
    sweep = Sweep(spec, end=lambda trial: replace(trial, state=TrialState.RUNNING))
    sweep.run(8)
    ended = {
        number: replace(trial, state=TrialState.COMPLETE, values={9: (loss(trial.parameters),)})
        for number, trial in sweep.trials.items()
    }
    without_first = {**ended, 0: sweep.trials[0]}
    proposer = OptunaProposer(spec)
    eighth = proposer.propose(Propose(key="propose/8", number=8), without_first)
    assert eighth.attributes["cmaes.generation"] == 1
    assert 0 not in eighth.attributes["cmaes.told"]
    trial = replace(ended[7], number=8, parameters=eighth.parameters, attributes=eighth.attributes)
    ninth = Propose(key="propose/9", number=9)
    assert proposer.propose(ninth, {**without_first, 8: trial}) == proposer.propose(ninth, {**ended, 8: trial})


def test_a_proposer_that_lived_on_and_a_new_one_agree_over_many_generations():
    spec = make_spec("cmaes", {"x": {"float": [-3.0, 3.0]}, "y": {"float": [-3.0, 3.0]}})
    sweep = Sweep(spec).run(60)
    assert sweep.trials[59].attributes["cmaes.generation"] == 9
    assert Sweep(spec, sweep.trials).ask() == sweep.ask()
    earlier = {number: sweep.trials[number] for number in range(20)}
    assert sweep.proposer.propose(Propose(key="", number=20), earlier).parameters == sweep.points[20]


def test_cmaes_leaves_a_given_number_out_of_its_generations():
    sweep = Sweep(make_spec("cmaes"))
    assert sweep.ask(x=0.5).attributes == {}
    assert sweep.ask(kind="a").attributes["cmaes.generation"] == 0


def test_an_earlier_sweep_warms_the_start():
    space = {"x": {"float": [-3.0, 3.0]}, "rate": {"log": [1e-4, 1.0]}}
    prior = list(Sweep(make_spec("tpe", space, seed=5)).run(40).trials.values())
    cold = Sweep(make_spec("tpe", space)).run(10).points
    warm = Sweep(make_spec("tpe", space), prior=prior).run(10).points
    assert statistics.median(map(loss, warm)) < 0.5 * statistics.median(map(loss, cold))


def test_prior_trials_outside_of_the_space_are_not_shown():
    space = {"x": {"float": [-3.0, 3.0]}, "rate": {"log": [1e-4, 1.0]}}
    foreign = [
        replace(trial, parameters={**trial.parameters, "rate": 7.0})
        for trial in Sweep(make_spec("tpe", space, seed=5)).run(15).trials.values()
    ]
    assert Sweep(make_spec("tpe", space), prior=foreign).run(14).points == Sweep(make_spec("tpe", space)).run(14).points


def test_equal_names_with_different_domains():
    space = {
        "kind": {"choice": ["a", "b"]},
        "size": [
            {"int": [1, 4], "when": {"kind": "a"}},
            {"choice": ["small", "large"], "when": {"kind": "b"}},
        ],
    }
    for sampler in ("tpe", "gp", "qmc", "random", "grid"):
        spec = make_spec(sampler, space)
        sweep = Sweep(spec, end=lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (0.0,)}))
        assert all(spec.space().contains(point) for point in sweep.run(6 if sampler == "grid" else 20).points)


def test_options_may_be_lists():
    space = {"layers": {"choice": [[64], [64, 32], [8, [4, 2]]]}, "flag": {"choice": [True, False, None]}}
    for sampler in SAMPLERS[:-1]:
        if sampler == "cmaes":
            continue
        sweep = Sweep(make_spec(sampler, space)).run(15)
        assert {point["layers"] for point in sweep.points} <= {(64,), (64, 32), (8, (4, 2))}


def test_an_empty_space_has_one_point():
    for sampler in ("tpe", "random", "qmc", "gp"):
        assert Sweep(make_spec(sampler, {})).run(12).points == [{}] * 12


def test_optuna_is_silent(caplog, capfd):
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Sweep(make_spec("tpe")).run(14)
        Sweep(make_spec("gp")).run(12)
    assert not [record for record in caplog.records if record.name.startswith("optuna")]
    assert not [warning for warning in caught if "optuna" in warning.filename]
    assert capfd.readouterr().err == ""


numbers = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
ranges = st.tuples(numbers, numbers).map(sorted).filter(lambda ends: ends[1] - ends[0] > 0.1)
integers = st.tuples(st.integers(-50, 50), st.integers(1, 60)).map(lambda pair: [pair[0], pair[0] + pair[1]])
domains = st.one_of(
    st.builds(lambda ends: {"float": ends}, ranges),
    st.builds(lambda ends, parts: {"float": ends, "step": (ends[1] - ends[0]) / parts}, ranges, st.floats(1, 9)),
    st.builds(lambda low, factor: {"log": [low, low * factor]}, st.floats(1e-6, 1e3), st.floats(1.5, 1e6)),
    st.builds(lambda ends, step: {"int": ends, "step": min(step, ends[1] - ends[0])}, integers, st.integers(1, 7)),
    st.builds(lambda low, width: {"int": [low, low + width], "log": True}, st.integers(1, 9), st.integers(1, 500)),
    st.lists(st.sampled_from(["a", "b", 1.5, 7, None, ["a", 2]]), min_size=1, max_size=4, unique_by=repr).map(
        lambda options: {"choice": options}
    ),
)


@st.composite
def spaces(draw):
    space = {"root": {"choice": ["a", "b", "c"]}}
    for index in range(draw(st.integers(1, 4))):
        domain = dict(draw(domains))
        when = draw(st.sampled_from([None, "a", ["b", "c"]]))
        if when is not None:
            domain["when"] = {"root": when}
        space[f"p{index}"] = domain
    space["number"] = draw(domains.filter(lambda domain: "choice" not in domain))
    return space


def stay_within(sampler, space, seed, count):
    spec = make_spec(sampler, space, seed=seed)
    value = random.Random(seed)

    def end(trial):
        return replace(trial, state=TrialState.COMPLETE, values={9: (value.random(),)})

    sweep = Sweep(spec, end=end).run(count)
    assert all(spec.space().contains(point) for point in sweep.points)


anything = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
@settings(max_examples=25, **anything)
@given(space=spaces(), seed=st.integers(0, 2**40))
def test_every_proposal_lies_in_any_space(sampler, space, seed):
    stay_within(sampler, space, seed, 12)


@settings(max_examples=6, **anything)
@given(space=spaces(), seed=st.integers(0, 2**40))
def test_every_proposal_of_gp_lies_in_any_space(space, seed):
    stay_within("gp", space, seed, 11)
