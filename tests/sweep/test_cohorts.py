"""Stacks of trials: how many mates are drawn, who goes with whom, and what becomes of a cohort."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_story import Story

from podium.errors import LedgerError
from podium.sweep.cohorts import Cohorts
from podium.sweep.judge import Judge
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Enqueued,
    Exhausted,
    Extended,
    GangLost,
    GangReady,
    Halt,
    InterruptRequested,
    Measured,
    Propose,
    Proposed,
    Report,
    Resumed,
    Saved,
    StopRequested,
)
from podium.sweep.ranking import Ranking
from podium.sweep.roster import Roster
from podium.sweep.trial import Trial, TrialState
from podium.testing.simulation import launched, toy_spec

RUNNING, WAITING, PAUSED = TrialState.RUNNING, TrialState.WAITING, TrialState.PAUSED
KINDS = "abcdefghijkl"
SPACE = {"kind": {"choice": list(KINDS)}, "penalty.l1": {"float": [0.0, 1.0]}}
ONE_RUNG = {"min": 4, "max": 4}


def make_spec(fuse="auto", space=SPACE, **more):
    search = {"space": space} | more.pop("search", {})
    return toy_spec(fuse=fuse, task="task.py:Mine", search=search, **more)


def measured(trial, width, *tried, reason=""):
    return Measured(trial=trial, width=width, rates=dict.fromkeys(tried, 1.0), reason=reason)


# how many mates, and how wide a cohort


@pytest.fixture
def cohorts_of():
    """The cohorts of trials of these kinds."""

    def make(kinds, fuse="auto", space=SPACE, *, fuses=True, policy="asha", **trial):
        spec = make_spec(fuse, space, policy=policy)
        roster = Roster(Ranking(spec))
        cohorts = Cohorts(spec, roster, Judge(spec, roster))
        if fuses:
            cohorts.enable()
        for number, kind in enumerate(kinds):
            parameters = {"kind": kind, "penalty.l1": number / 100}
            roster.add(Trial(number=number, parameters=parameters, seed=0, **trial))
            cohorts.add(number)
        return cohorts, roster

    return make


@pytest.mark.parametrize(
    ("kinds", "mates"),
    [("a", 32), ("ab", 21), ("abc", 16), ("aba", 21), ("abcdefgh", 7), ("abcdefghijkl", 4)],
)
def test_mates_become_fewer_with_every_structure(cohorts_of, kinds, mates):
    cohorts, _ = cohorts_of(kinds)
    assert cohorts.num_mates(len(kinds) - 1, budget=256, left=240, gangs=1) == mates


def test_a_budget_that_many_structures_share_gives_no_mates(cohorts_of):
    cohorts, _ = cohorts_of(KINDS)
    assert [cohorts.num_mates(0, budget=budget, left=4, gangs=1) for budget in (16, 51, 52)] == [0, 0, 1]


def test_no_more_mates_than_the_share_of_a_gang(cohorts_of):
    cohorts, _ = cohorts_of("a")
    assert [cohorts.num_mates(0, budget=256, left=31, gangs=gangs) for gangs in (1, 2, 3, 32)] == [24, 15, 10, 0]


@pytest.mark.parametrize(
    ("left", "running", "mates"), [(63, 0, 31), (63, 64, 47), (63, 200, 63), (15, 48, 15), (0, 64, 0)]
)
def test_the_gangs_that_are_busy_need_less_of_what_is_left(cohorts_of, left, running, mates):
    cohorts, _ = cohorts_of("a", 64)
    assert cohorts.num_mates(0, budget=64, left=left, gangs=2, running=running) == mates


SPACES = {
    "twelve structures": (SPACE, 7),
    "three": ({"kind": {"choice": ["a", "b", "c"]}, "penalty.l1": {"float": [0.0, 1.0]}}, 2),
    "one": ({"penalty.l1": {"float": [0.0, 1.0]}}, 0),
    "under a condition": (
        {"kind": {"choice": ["a", "b"]}, "size": {"int": [1, 3], "when": {"kind": "b"}}, "seed": {"int": [0, 99]}},
        3,
    ),
    "continuous": ({"x": {"float": [0.0, 1.0]}, "penalty.l1": {"float": [0.0, 1.0]}}, 7),
    "billions": ({"size": {"int": [0, 10**10]}}, 7),
}


@pytest.mark.parametrize("space", SPACES)
def test_the_trials_left_suffice_for_eight_structures_or_all_there_are(cohorts_of, space):
    domains, others = SPACES[space]
    cohorts, _ = cohorts_of("a", space=domains)
    assert cohorts.num_mates(0, budget=800, left=20, gangs=1) == 20 - others
    assert cohorts.num_mates(0, budget=800, left=others, gangs=1) == 0


def test_structures_drawn_need_no_trials_any_more(cohorts_of):
    cohorts, _ = cohorts_of("abcdef")
    assert cohorts.num_mates(5, budget=800, left=10, gangs=1) == 8


@pytest.mark.parametrize(("left", "gangs", "mates"), [(64, 1, 15), (15, 1, 15), (14, 1, 14), (29, 2, 14), (0, 1, 0)])
def test_a_width_given_is_filled_whatever_the_structures(cohorts_of, left, gangs, mates):
    cohorts, _ = cohorts_of("a", 16)
    assert cohorts.num_mates(0, budget=64, left=left, gangs=gangs) == mates


@pytest.mark.parametrize(("fuse", "fuses", "most"), [("off", True, 1), ("auto", False, 1), (8, False, 1), (1, True, 1)])
def test_without_stacks_there_are_no_mates(cohorts_of, fuse, fuses, most):
    cohorts, _ = cohorts_of("aaa", fuse, fuses=fuses)
    cohorts.measure(measured(0, 2, 1, 2, 4))
    assert (cohorts.most, cohorts.limit(0)) == (most, most)
    assert cohorts.num_mates(0, budget=64, left=64, gangs=1) == 0
    assert cohorts.mates(0, "g0", [0, 1, 2]) == []


@pytest.mark.parametrize(
    ("fuse", "news", "limit"),
    [
        ("auto", None, 64),
        ("auto", measured(0, 8, 1, 2, 4, 8), 64),
        ("auto", measured(0, 8, 1, 2, 4, 8, 16), 8),
        ("auto", measured(0, 1, 1, 2), 1),
        ("auto", measured(0, 1, 1), 64),
        ("auto", measured(0, 1), 64),
        ("auto", measured(0, 1, reason="no rule for sort"), 1),
        ("auto", measured(0, 100, 100, 200), 64),
        (16, None, 16),
        (16, measured(0, 2, 1, 2, 4), 16),
        (16, measured(0, 1, reason="no rule for sort"), 1),
        ("auto", measured(1, 1, reason="of another signature"), 64),
        ("auto", measured(99, 1, reason="of an unknown trial"), 64),
    ],
)
def test_a_width_limits_only_where_a_wider_one_was_tried(cohorts_of, fuse, news, limit):
    cohorts, _ = cohorts_of("aba", fuse)
    if news is not None:
        cohorts.measure(news)
    assert (cohorts.limit(0), cohorts.limit(2)) == (limit, limit)
    assert cohorts.num_mates(2, budget=6400, left=6400, gangs=1) == limit - 1


def test_what_joined_gangs_measure_is_not_what_one_gang_can(cohorts_of):
    cohorts, _ = cohorts_of("a")
    cohorts.measure(measured(0, 1, 1, 2, 4).model_copy(update={"ranks": 2}))
    assert cohorts.limit(0) == 64


def test_the_newest_measurement_counts(cohorts_of):
    cohorts, _ = cohorts_of("a")
    cohorts.measure(measured(0, 16, 1, 16, 32))
    cohorts.measure(measured(0, 8, 1, 8, 16))
    assert cohorts.limit(0) == 8


# who goes with whom


def test_mates_have_the_signature_and_come_in_order(cohorts_of):
    cohorts, _ = cohorts_of("abaaba")
    assert cohorts.mates(0, "g0", [5, 4, 3, 2, 1, 0]) == [5, 3, 2]


def test_no_more_mates_than_the_limit(cohorts_of):
    cohorts, _ = cohorts_of("aaaaaa", 4)
    assert cohorts.mates(2, "g0", range(6)) == [0, 1, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"saved_epoch": 2},
        {"saved_step": 7},
        {"values": {1: (0.5,)}},
        {"alone": True},
        {"avoids": "g0"},
    ],
)
def test_mates_have_the_same_span_and_are_welcome(cohorts_of, change):
    cohorts, roster = cohorts_of("aaa")
    roster.change(1, **change)
    assert cohorts.mates(0, "g0", range(3)) == [2]


def test_mates_that_avoid_another_gang_are_welcome(cohorts_of):
    cohorts, _ = cohorts_of("aaa", avoids="g1")
    assert cohorts.mates(0, "g0", range(3)) == [1, 2]


def test_brackets_have_stacks_of_their_own(cohorts_of):
    cohorts, roster = cohorts_of("a" * 17, policy="hyperband")
    spans = [[0, *cohorts.mates(0, "g0", range(17))], [9, *cohorts.mates(9, "g0", range(17))]]
    assert spans == [list(range(9)), list(range(9, 14))]
    assert len(roster.trials) == 17


def test_a_lone_trial_takes_no_mates(cohorts_of):
    cohorts, roster = cohorts_of("aaa")
    roster.change(0, alone=True)
    assert cohorts.mates(0, "g0", range(3)) == []


# from a lead to its advance


class Stacked(Story):
    """A story of trials that share stacks. Free draws have the `kinds` in turn, mates that of their lead."""

    def __init__(self, fuse="auto", kinds=KINDS, trials=64, **settings):
        super().__init__(make_spec(fuse, trials=trials, **settings), fuses=True)
        self._kinds = itertools.cycle(kinds)

    @property
    def asked(self):
        """For each open proposal the trial and its lead."""
        return [(ask.number, ask.mates_of) for ask in self.machine.pending() if isinstance(ask, Propose)]

    def answer(self, number, **parameters):
        ask = next(ask for ask in self.machine.pending() if isinstance(ask, Propose) and ask.number == number)
        kind = next(self._kinds) if ask.mates_of is None else self.trial(ask.mates_of).parameters["kind"]
        point = {"kind": kind, "penalty.l1": 0.5} | ask.given | parameters
        return self.tell(Proposed(number=number, parameters=point))

    def propose(self):
        while self.asked:
            self.answer(self.asked[0][0])

    @property
    def cohorts(self):
        """By gang, the trials that it trains."""
        advances = [command for command in self.machine.pending() if isinstance(command, Advance)]
        return {advance.gang: [lane.trial for lane in advance.lanes] for advance in advances}

    def end(self, gang, *, saved=True, **values):
        """Ends what a gang trains, with values by `trial_<number>`, 0.5 where absent; proposals stay open."""
        advance = next(a for a in self.machine.pending() if isinstance(a, Advance) and a.gang == gang)
        trials = [lane.trial for lane in advance.lanes]
        if saved:
            self.tell(*(Saved(trial=n, epoch=advance.until, folder=f"{n}/{advance.until}") for n in trials))
        reports = tuple(
            Report(trial=n, epoch=advance.until, values=(values.get(f"trial_{n}", 0.5),), width=len(trials))
            for n in trials
        )
        return self.tell(Advanced(key=advance.key, gang=gang, reports=reports))


def test_a_lead_is_held_until_its_mates_are_there():
    sweep = Stacked(4)
    assert sweep.tell(GangReady(gang="g0")) == [Propose(key="propose/0", number=0)]
    mates = [Propose(key=f"propose/{number}", number=number, mates_of=0) for number in (1, 2, 3)]
    assert sweep.answer(0) == mates
    assert sweep.answer(1) == sweep.answer(2) == []
    assert (sweep.machine.held, sweep.cohorts) == ({0, 1, 2}, {})
    (advance,) = sweep.answer(3)
    assert [lane.trial for lane in advance.lanes] == [0, 1, 2, 3]
    assert sweep.machine.held == set()


def test_idle_gangs_ask_for_one_lead_each_and_not_more():
    sweep = Stacked(4)
    sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))
    assert sweep.asked == [(0, None), (1, None)]
    sweep.answer(0)
    assert sweep.asked == [(1, None), (2, 0), (3, 0), (4, 0)]
    sweep.tell(GangReady(gang="g2"))
    assert sweep.asked[4:] == [(5, None)]
    sweep.propose()
    assert sweep.cohorts == {"g0": [0, 2, 3, 4], "g1": [1, 6, 7, 8], "g2": [5, 9, 10, 11]}


def test_a_gang_does_not_wait_for_the_mates_of_others():
    sweep = Stacked(4, policy="none")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(GangReady(gang="g1"))
    sweep.answer(4)
    sweep.tell(GangLost(gang="g0", cause="preempted"))
    assert sweep.cohorts == {"g1": [0, 1, 2, 3]}
    assert sweep.machine.held == {4}


def test_a_mate_of_another_signature_has_a_cohort_of_its_own():
    sweep = Stacked(4)
    sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))
    sweep.answer(0)
    sweep.answer(1)
    sweep.answer(2, kind="z")
    sweep.propose()
    assert sweep.cohorts == {"g0": [0, 3, 4], "g1": [2]}, "it is ready before the mates of trial 1 are"
    sweep.end("g1")
    assert sweep.cohorts["g1"] == [1, 5, 6, 7]


def test_mates_take_no_points_and_leave_room_for_them():
    sweep = Stacked(8, trials=8, epochs=ONE_RUNG, search={"points": [{"kind": "a"}, {"kind": "b"}, {"kind": "c"}]})
    sweep.tell(Enqueued(parameters={"kind": "d"}), GangReady(gang="g0"))
    sweep.answer(0)
    assert sweep.asked == [(number, 0) for number in range(1, 5)], "three points are still to be tried"
    sweep.propose()
    for _ in range(3):
        sweep.end("g0")
        sweep.propose()
    assert [trial.parameters["kind"] for trial in sweep.machine.trials.values()] == list("dddddabc")


def test_an_exhausted_proposer_closes_the_mates_to_come():
    sweep = Stacked(4, epochs=ONE_RUNG)
    sweep.tell(GangReady(gang="g0"))
    sweep.answer(0)
    sweep.answer(1)
    (advance,) = sweep.tell(Exhausted(number=2))
    assert [lane.trial for lane in advance.lanes] == [0, 1]
    sweep.end("g0")
    assert sweep.machine.state is SweepState.EXHAUSTED


def test_a_lead_drawn_without_a_gang_gets_its_mates_when_there_is_one():
    sweep = Stacked(4)
    sweep.tell(GangReady(gang="g0"), Resumed(holder="b"))
    assert sweep.answer(0) == []
    assert sweep.tell(GangReady(gang="g1")) == [
        Propose(key=f"propose/{number}", number=number, mates_of=0) for number in (1, 2, 3)
    ]


def test_open_mates_outlive_their_driver():
    sweep = Stacked(4)
    sweep.tell(GangReady(gang="g0"))
    sweep.answer(0)
    sweep.answer(1)
    sweep.tell(InterruptRequested(), Resumed(holder="b"))
    assert sweep.asked == [(2, 0), (3, 0)]
    sweep.propose()
    sweep.tell(GangReady(gang="g1"))
    assert sweep.cohorts == {"g1": [0, 1, 2, 3]}


def test_mates_wait_for_the_end_of_an_interruption():
    sweep = Stacked(4, epochs=ONE_RUNG)
    sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))
    sweep.answer(0)
    sweep.propose()
    sweep.end("g0")
    (free,) = [number for number, lead in sweep.asked if lead is None]
    sweep.tell(InterruptRequested())
    assert sweep.answer(free) == []
    sweep.tell(Resumed(holder="b"), GangReady(gang="h0"), GangReady(gang="h1"))
    assert sweep.asked[:3] == [(number, free) for number in range(free + 1, free + 4)]


def test_a_larger_budget_gives_more_mates():
    sweep = Stacked(trials=16, epochs=ONE_RUNG)
    sweep.tell(Extended(trials=160), GangReady(gang="g0"))
    sweep.answer(0)
    assert len(sweep.asked) == 20


def test_without_stacks_nothing_has_changed():
    machine = Machine(make_spec(8))
    machine.handle(launched(machine.spec))
    machine.handle(GangReady(gang="g0"))
    (advance,) = machine.handle(Proposed(number=0, parameters={"kind": "a", "penalty.l1": 0.0}))
    assert isinstance(advance, Advance)
    assert len(advance.lanes) == 1


# between advances


def test_promotable_mates_go_together_and_others_stay():
    """Two of six are promotable: the best, of kind b, has no mate among them."""
    sweep = Stacked(3, trials=6, kinds="ab")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.end("g0", trial_1=0.2, trial_2=0.3)
    sweep.propose()
    assert sweep.cohorts == {"g0": [1]}, "one of three is promotable"
    sweep.end("g0", trial_1=0.2)
    sweep.propose()
    assert sweep.cohorts == {"g0": [3, 4, 5]}
    sweep.end("g0", trial_3=0.1)
    assert sweep.cohorts == {"g0": [3]}


def test_the_best_promotable_takes_all_promotable_mates():
    sweep = Stacked(6, trials=12, kinds="a")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.end("g0", trial_4=0.1, trial_2=0.2)
    assert sweep.cohorts == {"g0": [4, 2]}
    assert [sweep.advance_of(4).until, sweep.advance_of(4).lanes[0].epoch] == [3, 1]
    assert [sweep.trial(number).state for number in range(6)] == [PAUSED, PAUSED, RUNNING, PAUSED, RUNNING, PAUSED]


def test_those_that_go_on_stay_together_on_their_gang():
    sweep = Stacked(6, trials=6, kinds="a", policy="asha_stop")
    sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))
    sweep.answer(0)
    sweep.propose()
    first, second = sweep.cohorts["g0"], sweep.cohorts["g1"]
    sweep.end("g0", **{f"trial_{first[0]}": 0.1})
    assert (sweep.cohorts["g0"], sweep.cohorts["g1"]) == ([first[0]], second)


def test_a_retry_comes_before_promotable_trials_and_takes_its_mates():
    sweep = Stacked(4, trials=12, kinds="a")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(GangReady(gang="g1"))
    sweep.propose()
    assert sweep.cohorts == {"g0": [0, 1, 2, 3], "g1": [4, 5, 6, 7]}
    sweep.tell(GangLost(gang="g1", cause="preempted"))
    sweep.end("g0", trial_3=0.1)
    assert sweep.machine.promotable() == {3}
    assert sweep.cohorts == {"g0": [4, 5, 6, 7]}


def test_a_narrower_width_holds_from_the_next_cohort_on():
    sweep = Stacked(trials=64, kinds="a", policy="none")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    assert len(sweep.cohorts["g0"]) == 9
    assert sweep.tell(measured(0, 2, 1, 2, 4, 8)) == []
    assert len(sweep.cohorts["g0"]) == 9
    sweep.tell(Resumed(holder="b"), GangReady(gang="g1"))
    assert sweep.cohorts == {"g1": [0, 1]}


def test_trials_know_their_cohort_and_lane():
    sweep = Stacked(3, trials=3, epochs=ONE_RUNG, kinds="a")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    advance = sweep.advance_of(0)
    reports = [Report(trial=n, epoch=4, values=(0.5,), width=2 - n // 2) for n in (2, 0, 1)]
    sweep.tell(Advanced(key=advance.key, gang="g0", reports=tuple(reports)))
    told = [(trial.cohort, trial.lane, trial.lanes, trial.width) for trial in sweep.machine.trials.values()]
    assert told == [("advance/1", 0, 3, 2), ("advance/1", 1, 3, 2), ("advance/1", 2, 3, 1)]


@pytest.mark.parametrize("trials", [(0,), (0, 1, 1), (0, 1, 2, 2), (0, 1, 3)])
def test_every_lane_has_one_report(trials):
    sweep = Stacked(3, trials=3)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    reports = tuple(Report(trial=number, epoch=1, values=(0.5,)) for number in trials)
    with pytest.raises(LedgerError, match="trained other trials"):
        sweep.tell(Advanced(key="advance/1", gang="g0", reports=reports))


# breaking off and leaving


def test_a_cohort_that_breaks_off_is_held_against_nobody_and_goes_on_one_by_one():
    sweep = Stacked(3, trials=3, kinds="a", retries={"exception": 0})
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(Saved(trial=1, epoch=0, step=5, folder="f"))
    failed = AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E", log_tail="the end")
    (advance,) = sweep.tell(failed)
    assert [lane.trial for lane in advance.lanes] == [0]
    for trial in sweep.machine.trials.values():
        assert (trial.alone, trial.attempts, trial.avoids) == (True, {}, "g0")
        assert (trial.cause, trial.log_tail) == ("exception", "the end")
    sweep.tell(failed.model_copy(update={"key": advance.key}))
    assert sweep.trial(0).reason == "exception after 1 attempt(s): E"
    assert sweep.cohorts == {"g0": [1]}
    assert sweep.advance_of(1).lanes[0].step == 5


def test_a_trial_that_broke_off_by_itself_takes_no_mate_with_it():
    sweep = Stacked(2, trials=3, kinds="ab", retries={"worker_lost": 5})
    sweep.tell(GangReady(gang="g0"))
    sweep.answer(0)
    sweep.answer(1, kind="b")
    assert sweep.cohorts == {"g0": [0]}
    sweep.tell(GangLost(gang="g0"), GangReady(gang="g1"))
    assert (sweep.trial(0).alone, sweep.trial(0).attempts, sweep.cohorts) == (True, {"worker_lost": 1}, {"g1": [0]})


@pytest.mark.parametrize(("cause", "widths"), [("out_of_memory", [8, 4, 2, 1, 1]), ("worker_lost", [8] * 5)])
def test_after_a_cohort_had_too_little_memory_the_next_are_half_as_wide(cause, widths):
    sweep = Stacked(8, trials=64, kinds="a", policy="none")
    for attempt, width in enumerate(widths):
        gang = f"g{attempt}"
        sweep.tell(GangReady(gang=gang))
        sweep.propose()
        assert len(sweep.cohorts[gang]) == width
        sweep.tell(GangLost(gang=gang, cause=cause))
        sweep.tell(*(StopRequested(trial=number) for number in sweep.machine.trials))


def test_who_goes_on_alone_does_so_until_it_has_got_on():
    sweep = Stacked(2, trials=2, kinds="a")
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(GangLost(gang="g0"), GangReady(gang="g1"), GangLost(gang="g1", cause="preempted"))
    sweep.tell(GangReady(gang="g2"))
    assert sweep.cohorts == {"g2": [1]}
    sweep.end("g2")
    assert [trial.alone for trial in sweep.machine.trials.values()] == [True, False]
    assert sweep.cohorts == {"g2": [0]}


@pytest.mark.parametrize(
    ("ends", "attempts"),
    [
        ((GangLost(gang="g0", cause="preempted"),), {"preempted": 1}),
        (
            (AdvanceFailed(key="advance/1", gang="g0", cause="storage", detail="full"), Resumed(holder="b")),
            {"storage": 1},
        ),
        ((Resumed(holder="b"),), {}),
    ],
)
def test_what_is_nobodys_fault_keeps_a_cohort_together(ends, attempts):
    sweep = Stacked(3, trials=3)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(*ends, GangReady(gang="h0"))
    assert sweep.cohorts == {"h0": [0, 1, 2]}
    assert [trial.attempts for trial in sweep.machine.trials.values()] == [attempts] * 3


def test_a_halted_cohort_stays_together():
    sweep = Stacked(3, trials=3)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(InterruptRequested())
    saved = [Saved(trial=n, epoch=0, step=9, folder=f"{n}/0+9") for n in range(3)]
    reports = tuple(Report(trial=n, epoch=0, values=(), ending="halted") for n in range(3))
    sweep.tell(*saved, Advanced(key="advance/1", gang="g0", reports=reports))
    sweep.tell(Resumed(holder="b"), GangReady(gang="h0"))
    assert sweep.cohorts == {"h0": [0, 1, 2]}
    assert {lane.step for lane in sweep.advance_of(0).lanes} == {9}


def test_an_advance_is_halted_when_all_its_lanes_are_cancelled():
    sweep = Stacked(2, trials=2)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    assert sweep.tell(StopRequested(trial=1)) == []
    assert sweep.tell(StopRequested(trial=0)) == [Halt(key="halt/advance/1", gang="g0", advance="advance/1")]


def test_a_cancelled_lane_ends_with_its_cohorts_advance():
    sweep = Stacked(2, trials=2)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(StopRequested(trial=1))
    sweep.end("g0")
    assert sweep.trial(1).state is TrialState.CANCELLED
    assert sweep.cohorts == {"g0": [0]}


def test_a_cancelled_lane_ends_when_its_cohort_breaks_off():
    sweep = Stacked(2, trials=2)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(StopRequested(trial=1), GangLost(gang="g0"))
    assert sweep.states == [WAITING, TrialState.CANCELLED]


# no order among lanes


VALUES = st.sampled_from([0.0, 0.25, 0.5, None])
ENDINGS = st.sampled_from(["until"] * 6 + ["patience", "diverged", "halted"])


@settings(max_examples=100)
@given(
    st.sampled_from(["asha", "asha_stop", "hyperband", "median", "none"]),
    st.integers(2, 8),
    st.integers(1, 3),
    st.data(),
)
def test_the_order_of_reports_does_not_matter(policy, width, gangs, data):
    """Two machines are told the same but for the order of each event's reports, and answer the same."""
    spec = make_spec(width, trials=12, policy=policy, epochs={"min": 1, "max": 9, "factor": 2})
    told, other = Machine(spec), Machine(spec)
    news = [launched(spec, fuses=True), *(GangReady(gang=f"g{index}") for index in range(gangs))]
    while news:
        event = news.pop(0)
        shuffled = event
        if isinstance(event, Advanced):
            reports = tuple(data.draw(st.permutations(event.reports)))
            shuffled = event.model_copy(update={"reports": reports})
        commands = told.handle(event)
        assert other.handle(shuffled) == commands
        assert (other.trials, other.pending(), other.best()) == (told.trials, told.pending(), told.best())
        for command in commands:
            if isinstance(command, Propose):
                parameters = {"kind": data.draw(st.sampled_from("ab")), "penalty.l1": 0.5}
                news.append(Proposed(number=command.number, parameters=parameters))
            elif isinstance(command, Advance):
                reports = []
                for lane in command.lanes:
                    ending, value = data.draw(ENDINGS), data.draw(VALUES)
                    if ending == "halted":
                        reports.append(Report(trial=lane.trial, epoch=lane.epoch, values=(), ending=ending))
                        continue
                    news.append(Saved(trial=lane.trial, epoch=command.until, folder="f"))
                    reports.append(Report(trial=lane.trial, epoch=command.until, values=(value,), ending=ending))
                news.append(Advanced(key=command.key, gang=command.gang, reports=tuple(reports)))
    assert told.is_ended
