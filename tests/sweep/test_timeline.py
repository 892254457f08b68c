"""The timeline: every second of a gang is in one piece, and each cause is told from the others."""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import CHAOS, KILLS, PATIENT, Run, runs

from podium.spec.sweep import SweepSpec
from podium.sweep.gain import _wall_s, advice
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Enqueued,
    Event,
    Extended,
    GangLost,
    GangReady,
    LaneProgress,
    Launched,
    Progress,
    Propose,
    Proposed,
    Report,
    Resumed,
    Saved,
)
from podium.sweep.spans import Pause, Span, Use
from podium.sweep.timeline import Timeline
from podium.testing.faults import Killer
from podium.testing.simulation import launched, simulate, toy_spec

At = tuple[float, Event]


def followed(rows: Iterable[At]) -> Timeline:
    first, *others = rows
    assert isinstance(first[1], Launched)
    timeline = Timeline(Machine(SweepSpec.model_validate(first[1].spec)))
    for at, event in (first, *others):
        timeline.take(at, event)
    return timeline


def assert_partitioned(timeline: Timeline) -> None:
    """Every second of each gang is in exactly one piece, and every piece in exactly one total."""
    totals = dict.fromkeys(Use, 0.0)
    for row, pieces in timeline.pieces:
        end = timeline.at if row.end is None else row.end
        if row.begin == end:
            continue
        assert pieces[0].begin == row.begin
        assert pieces[-1].end == end
        for piece, following in pairwise(pieces):
            assert piece.end == following.begin
        for piece in pieces:
            assert piece.begin <= piece.end
            assert sum(piece.uses.values()) == pytest.approx(piece.end - piece.begin)
            for use, seconds in piece.uses.items():
                assert seconds >= -1e-6
                totals[use] += seconds
    for wait, following_wait in pairwise(timeline.all_waits):
        assert wait.end <= following_wait.begin
    for wait in timeline.all_waits:
        assert timeline.begin <= wait.begin < wait.end <= timeline.at
        totals[wait.use] += wait.end - wait.begin
    assert timeline.totals == pytest.approx(totals, abs=1e-6)


def timed(events: Sequence[Event], seed: int) -> list[At]:
    """The events as rows of a clock that stands still now and then, and what gangs have measured, often wrongly."""
    dice, at, rows = random.Random(seed), 1e9, list[At]()
    for event in events:
        at += dice.choice([0.0, 0.0, dice.random(), 10 * dice.random()])
        measured = {GangReady: ("waited_s", "startup_s"), Advanced: ("data_s", "checkpoint_s")}.get(type(event), ())
        is_told = dice.random() < 0.5
        told = {name: 9 * dice.random() for name in measured if is_told}
        rows.append((at, event.model_copy(update=told)))
    return rows


@settings(max_examples=25, deadline=None)
@given(runs(retries=PATIENT), KILLS, CHAOS, st.integers(0, 10**6))
def test_every_second_of_a_gang_is_in_one_piece_whatever_dies(
    run: Run, kills: list[int], chaos: tuple[int, int], seed: int
) -> None:
    run.live_on(kills, chaos)
    rows = timed(run.ledger.events(), seed)
    timeline = followed(rows)
    assert_partitioned(timeline)
    for count in range(1, len(rows), 1 + len(rows) // 3):
        assert_partitioned(followed(rows[:count]))
    spans = [piece for _, pieces in timeline.pieces for piece in pieces if isinstance(piece, Span)]
    ended = [event for event in run.ledger.events() if isinstance(event, Advanced)]
    assert {span.key for span in spans if span.ending == "reported"} <= {event.key for event in ended}
    assert advice(timeline)


@settings(max_examples=10, deadline=None)
@given(runs(retries=PATIENT), KILLS, st.integers(0, 10**6), st.integers(1, 9))
def test_a_sweep_that_is_extended_goes_on(run: Run, kills: list[int], seed: int, extra: int) -> None:
    run.live_on(kills, None)
    run.live_once(Killer(None), opening=(Extended(trials=run.spec.budget.trials + extra),))
    rows = timed(run.ledger.events(), seed)
    timeline = followed(rows)
    assert_partitioned(timeline)
    waits = [wait.use for wait in timeline.all_waits]
    assert waits.count(Use.AWAY) <= sum(isinstance(event, Resumed) for event in run.ledger.events())


class Told:
    """A sweep of three epochs a trial without rungs, told by hand with the seconds at which things happen."""

    def __init__(self, trials: int = 2, **more: object) -> None:
        spec = toy_spec(trials=trials, policy="none", epochs={"min": 1, "max": 3, "factor": 3}, **more)
        self.timeline = Timeline(Machine(spec))
        self.open: list[Advance] = []
        self.asked: list[Propose] = []
        self.at(0, launched(spec))

    def at(self, at: float, *events: Event) -> None:
        for event in events:
            for command in self.timeline.take(at, event):
                if isinstance(command, Advance):
                    self.open.append(command)
                elif isinstance(command, Propose):
                    self.asked.append(command)

    def propose(self, at: float) -> None:
        while self.asked:
            self.at(at, Proposed(number=self.asked.pop(0).number, parameters={"x": 0.0}))

    def finish(self, at: float, **told: float) -> None:
        """Ends the oldest open advance."""
        advance = self.open.pop(0)
        reports = tuple(Report(trial=lane.trial, epoch=advance.until, values=(0.5,)) for lane in advance.lanes)
        saved = [Saved(trial=lane.trial, epoch=advance.until, folder="f") for lane in advance.lanes]
        self.at(at, *saved, Advanced(key=advance.key, gang=advance.gang, reports=reports, **told))

    @property
    def totals(self) -> dict[Use, float]:
        assert_partitioned(self.timeline)
        return {use: seconds for use, seconds in self.timeline.totals.items() if seconds}


def test_the_launch_waits_for_its_first_gang() -> None:
    told = Told()
    told.at(7)
    assert told.totals == {}
    told.at(12, GangReady(gang="a"))
    assert told.totals == {Use.START_UP: 12}
    told.at(15, GangReady(gang="b"))
    assert told.totals == {Use.START_UP: 27, Use.PROPOSALS: 3}
    assert advice(told.timeline).startswith("90% of gang time went into starting gangs (13.5 s for each of 2)")


def test_a_gang_that_says_so_waited_for_places_first() -> None:
    told = Told()
    told.at(20, GangReady(gang="a", waited_s=12, startup_s=6))
    assert told.totals == {Use.START_UP: 2 + 6, Use.GANG: 12}
    (row,) = told.timeline.rows
    assert row.pieces == [Pause(2, 14, Use.GANG), Pause(14, 20, Use.START_UP)]
    assert told.timeline.waits == [Pause(0, 2, Use.START_UP)]
    assert "waiting for places" in advice(told.timeline)


def test_a_gang_waits_for_its_proposal_and_another_has_nothing_to_do() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"), GangReady(gang="b"))
    told.propose(4)
    assert told.totals == {Use.PROPOSALS: 4, Use.NOTHING: 4}
    told.finish(10)
    assert told.totals == {Use.PROPOSALS: 4, Use.NOTHING: 10, Use.TRAINING: 6}
    assert ": 1 gang instead of 2" in advice(told.timeline)


def test_waits_after_the_last_gang_take_no_time_from_the_gangs() -> None:
    told = Told(trials=3)
    told.at(0, GangReady(gang="a"), GangReady(gang="b"), GangReady(gang="c"), GangReady(gang="d"))
    told.propose(0)
    told.finish(10)
    told.at(10, *(GangLost(gang=gang) for gang in "abcd"))
    told.at(19, Enqueued(parameters={}))
    assert told.totals == {Use.TRAINING: 10, Use.REDONE: 20, Use.NOTHING: 10, Use.GANG: 9}
    assert told.timeline.end == 19
    assert _wall_s(told.timeline) == 10


def test_a_slow_sampler_is_named() -> None:
    told = Told(trials=1, search={"sampler": "gp", "objective": {"metric": "score", "direction": "minimize"}})
    told.at(0, GangReady(gang="a"))
    told.propose(30)
    told.finish(40)
    assert advice(told.timeline) == (
        "75% of gang time was spent waiting for the proposals of search.sampler gp: random and qmc propose at once."
    )


def test_data_and_checkpoints_are_as_long_as_an_advance_says() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    told.finish(100, data_s=60, checkpoint_s=10)
    assert told.totals == {Use.TRAINING: 30, Use.DATA: 60, Use.CHECKPOINT: 10}
    assert told.timeline.tells_data
    assert advice(told.timeline).startswith("60% of gang time was spent waiting for batches")


def test_what_comes_after_the_last_progress_of_an_older_ledger_is_its_checkpoint() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    for epoch, at in ((1, 10), (2, 20), (3, 30)):
        told.at(at, Progress(gang="a", lanes=(LaneProgress(trial=0, epoch=epoch, metrics={}),)))
    told.finish(34)
    assert told.totals == {Use.TRAINING: 30, Use.CHECKPOINT: 4}
    assert not told.timeline.tells_data


def test_what_was_trained_after_the_last_checkpoint_is_lost_with_a_gang() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    told.at(10, Saved(trial=0, epoch=1, folder="f"))
    told.at(25, GangLost(gang="a"))
    assert told.totals == {Use.TRAINING: 10, Use.REDONE: 15}
    told.at(31, GangReady(gang="b", waited_s=1, startup_s=2))
    assert told.totals == {Use.TRAINING: 10, Use.REDONE: 15, Use.GANG: 3 + 1, Use.START_UP: 2}
    (span,) = told.timeline.rows[0].pieces
    assert isinstance(span, Span)
    assert (span.ending, span.trials, span.since, span.until) == ("lost", (0,), 0, 3)
    assert "checkpoints.every_s below 60" in advice(told.timeline)


def test_an_advance_that_breaks_off_is_no_pause() -> None:
    told = Told(trials=1, retries={"exception": 1})
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    told.at(5, AdvanceFailed(key=told.open[0].key, gang="a", cause="exception", detail="E"))
    told.open.pop(0)
    told.finish(9)
    ((_, pieces),) = told.timeline.pieces
    assert [piece.ending for piece in pieces if isinstance(piece, Span)] == ["broke off", "reported"]
    assert told.totals == {Use.REDONE: 5, Use.TRAINING: 4}


def test_a_sweep_without_a_driver_is_away_and_its_gangs_are_gone() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    told.at(8, Progress(gang="a", lanes=(LaneProgress(trial=0, epoch=1, metrics={}),)))
    told.at(1000, Resumed(holder="next"))
    assert told.totals == {Use.REDONE: 8, Use.AWAY: 992}
    told.at(1003, GangReady(gang="a"))
    assert told.totals == {Use.REDONE: 8, Use.AWAY: 992, Use.START_UP: 3}
    assert [row.end for row in told.timeline.rows] == [8, None]


def test_an_open_advance_is_drawn_as_far_as_the_ledger_goes() -> None:
    told = Told(trials=1)
    told.at(0, GangReady(gang="a"))
    told.propose(1)
    told.at(6, Progress(gang="a", lanes=(LaneProgress(trial=0, epoch=1, metrics={}),)))
    ((_, pieces),) = told.timeline.pieces
    assert isinstance(pieces[-1], Span)
    assert (pieces[-1].ending, pieces[-1].end) == ("open", 6)
    assert told.totals == {Use.PROPOSALS: 1, Use.TRAINING: 5}


def test_joined_gangs_train_one_advance() -> None:
    told = Told(trials=1, resources={"ranks": {"min": 1, "max": 2}})
    told.at(0, GangReady(gang="a"), GangReady(gang="b"))
    told.propose(0)
    told.finish(10)
    spans = [pieces for _, pieces in told.timeline.pieces]
    assert [[piece.key for piece in each if isinstance(piece, Span)] for each in spans] == [["advance/1"]] * 2
    assert told.totals == {Use.TRAINING: 20}


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    told = Told(trials=1)
    told.at(5, GangReady(gang="a"))
    told.propose(2)
    told.finish(9)
    assert told.totals == {Use.START_UP: 5, Use.TRAINING: 4}


def test_nothing_is_advised_where_gangs_train() -> None:
    told = Told(trials=1)
    assert advice(told.timeline) == "No gang has been there yet."
    told.at(0, GangReady(gang="a"))
    told.propose(0)
    told.finish(50)
    assert advice(told.timeline) == "Gangs trained in 100% of their time, and nothing else took 5%."


def test_a_played_sweep_trains_as_long_as_its_executor_says() -> None:
    played = simulate(toy_spec(trials=30), 3, lambda lane: [lane.parameters["x"]] * 9)
    timeline = followed((float(at), event) for at, event in enumerate(played.events))
    assert_partitioned(timeline)
    spans = [piece for row in timeline.rows for piece in row.pieces if isinstance(piece, Span)]
    assert len(spans) == sum(isinstance(event, Advanced) for event in played.events)
    assert {trial for span in spans for trial in span.trials} == set(range(30))
