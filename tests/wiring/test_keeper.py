"""The keeper, over real folders: what stays, what goes, and what it does when it cannot."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import Advance, Advanced, Event, GangReady, Proposed, Report, Resumed, Saved
from podium.sweep.trial import TrialState
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec
from podium.training.checkpoint import Checkpoints, lying
from podium.wiring.keeper import GB, Keeper


def never() -> bool:
    return False


def save(store: Path, trial: int, epoch: int, step: int = 0, *, holder: int = 1, size: int = 1000) -> Saved:
    draft = Checkpoints(str(store), "toy", trial, holder).draft()
    with draft.writing() as path:
        (path / "weights").write_bytes(bytes(size))
    return draft.place(epoch, step, {})


def begin_draft(store: Path, trial: int, holder: int) -> Path:
    """What a killed writer leaves."""
    with Checkpoints(str(store), "toy", trial, holder).draft().writing() as path:
        (path / "weights").write_bytes(bytes(1000))
    return path


def folders(store: Path) -> set[str]:
    """All checkpoints that can be opened."""
    return {saved.folder for saved in lying(str(store), "toy", range(100))[0]}


class Sweep:
    """A machine that was told of some trials, each running on a gang of its own."""

    def __init__(self, trials: int, **settings: object) -> None:
        self.events: list[Event] = [launched(toy_spec(trials, **settings))]
        self.machine = replay(self.events)
        for number in range(trials):
            self.tell(GangReady(gang=f"g{number}"), Proposed(number=number, parameters={"x": 0.5}))

    def tell(self, *events: Event) -> Sequence[Event]:
        for event in events:
            self.machine.handle(event)
        self.events += events
        return events

    def report(self, saved: Saved, value: float) -> Sequence[Event]:
        """The end of the advance that a trial runs."""
        gang = self.machine.trials[saved.trial].gang
        key = self.machine.gangs[gang]
        assert key is not None
        report = Report(trial=saved.trial, epoch=saved.epoch, values=(value,), best_epoch=saved.epoch)
        return self.tell(saved, Advanced(key=key, gang=gang, reports=(report,)))


def test_a_trial_that_lives_keeps_its_newest(tmp_path: Path) -> None:
    sweep = Sweep(1, checkpoints={"keep": 3})
    saved = [save(tmp_path, 0, 0, step) for step in range(1, 7)]
    with Keeper(sweep.machine, str(tmp_path), 1, pytest.fail) as keeper:
        for number, one in enumerate(saved):
            keeper.news(sweep.tell(one))
            known = saved[max(0, number - 2) : number + 1]
            assert folders(tmp_path) == {each.folder for each in (*known, *saved[number + 1 :])}


def test_nothing_is_decided_without_events_that_were_appended(tmp_path: Path) -> None:
    sweep = Sweep(1)
    saved = [save(tmp_path, 0, 0, step) for step in range(1, 7)]
    with Keeper(sweep.machine, str(tmp_path), 2, pytest.fail) as keeper:
        sweep.tell(*saved)
        keeper._thread.submit(len, ()).result()
        keeper.news(())
    assert folders(tmp_path) == {each.folder for each in saved}


def test_earlier_holders_leavings_go_and_those_of_living_writers_stay(tmp_path: Path) -> None:
    sweep = Sweep(2)
    told = [save(tmp_path, 0, 1), save(tmp_path, 0, 2), save(tmp_path, 1, 1, 7)]
    sweep.tell(*told, Resumed(holder="another"))
    save(tmp_path, 0, 4)
    stranger = save(tmp_path, 0, 3, holder=3)
    dead, alive = begin_draft(tmp_path, 1, holder=1), begin_draft(tmp_path, 1, holder=2)
    with Keeper(sweep.machine, str(tmp_path), 2, pytest.fail) as keeper:
        keeper._thread.submit(len, ()).result()
        keeper.news(sweep.tell(GangReady(gang="new")))
        keeper._thread.submit(len, ()).result()
        assert folders(tmp_path) == {*(each.folder for each in told), stranger.folder}
        assert (dead.exists(), alive.exists()) == (False, True)
        save(tmp_path, 0, 5, holder=2)
        keeper.finish(never)
        assert folders(tmp_path) == {*(each.folder for each in told), stranger.folder}
        assert not alive.exists(), "no worker lives at the end"


def test_a_resumed_sweep_counts_what_lies_in_the_store(tmp_path: Path) -> None:
    sweep = Sweep(3, policy="none", epochs={"max": 1}, checkpoints={"total_gb": 2400 / GB})
    saved = [save(tmp_path, number, 1, size=700) for number in range(3)]
    for number, value in enumerate((0.3, 0.1)):
        sweep.report(saved[number], value)
    sweep.tell(saved[2], Resumed(holder="another"))
    warned: list[str] = []
    with Keeper(sweep.machine, str(tmp_path), 2, warned.append) as keeper:
        keeper._thread.submit(len, ()).result()
        keeper.news(sweep.tell(GangReady(gang="new")))
        assert folders(tmp_path) == {saved[1].folder, saved[2].folder}, "the loser goes"
    assert warned == []


def test_what_is_needed_stays_even_over_the_budget_and_is_told_once(tmp_path: Path) -> None:
    sweep = Sweep(3, checkpoints={"total_gb": 10 / GB})
    warned: list[str] = []
    with Keeper(sweep.machine, str(tmp_path), 1, warned.append) as keeper:
        for epoch in (1, 2):
            saved = [save(tmp_path, number, 0, epoch) for number in range(3)]
            for each in saved:
                keeper.news(sweep.tell(each))
        assert folders(tmp_path) == {each.folder for each in saved}
    (text,) = warned
    assert "checkpoints.total_gb is 1e-08" in text


def test_a_store_that_cannot_be_written_is_told_once_and_stops_nothing(small_disk: Path) -> None:
    sweep = Sweep(1, checkpoints={"keep": 1})
    saved = [save(small_disk, 0, 0, step) for step in range(1, 5)]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    warned: list[str] = []
    with Keeper(sweep.machine, str(small_disk), 1, warned.append) as keeper:
        for each in saved:
            keeper.news(sweep.tell(each))
        (text,) = warned
        assert text.startswith(f"checkpoints that are not needed any more could not be removed from {small_disk}: ")
        assert "Read-only file system" in text
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        keeper.finish(never)
        assert folders(small_disk) == {saved[-1].folder}


def test_a_store_that_does_not_answer_is_told_once_and_stops_nothing(dead_s3_store: str) -> None:
    sweep = Sweep(1, checkpoints={"keep": 1})
    warned: list[str] = []
    with Keeper(sweep.machine, dead_s3_store, 1, warned.append) as keeper:
        began = time.monotonic()
        for step in (1, 2):
            saved = Saved(trial=0, epoch=0, step=step, folder=f"checkpoints/toy/00000/h1-e0-s{step}", bytes=10)
            keeper.news(sweep.tell(saved))
        assert time.monotonic() - began < 0.5, "the driver does not wait for it"
        keeper.finish(never)
        keeper.news(sweep.tell(GangReady(gang="new")))
    (text,) = warned
    assert dead_s3_store in text


class SavingExecutor:
    """A simulated executor whose checkpoints are real; every advance begins where its trial can go on.

    Args:
        inner: The simulated executor.
        store: Where the checkpoints go.
    """

    def __init__(self, inner: SimulatedExecutor, store: Path) -> None:
        self.start, self.halt, self.expect, self.close = inner.start, inner.halt, inner.expect, inner.close
        self._inner, self._store = inner, store
        self.begun_anew: list[int] = []

    def advance(self, command: Advance) -> None:
        for lane in command.lanes:
            if lane.folder and lane.folder not in folders(self._store):
                self.begun_anew.append(lane.trial)
        self._inner.advance(command)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        events = self._inner.wait(timeout_s)
        return [save(self._store, e.trial, e.epoch, e.step) if isinstance(e, Saved) else e for e in events]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=st.sampled_from(["asha", "hyperband", "asha_stop", "median", "none"]),
    gangs=st.integers(1, 3),
    keep=st.integers(1, 2),
    room=st.none() | st.integers(1, 12),
    seed=st.integers(0, 100),
)
def test_whole_sweeps_find_what_they_need(
    tmp_path_factory: pytest.TempPathFactory, policy: str, gangs: int, keep: int, room: int | None, seed: int
) -> None:
    store = tmp_path_factory.mktemp("store")
    size = save(tmp_path_factory.mktemp("other"), 0, 1).bytes
    total = None if room is None else room * size / GB
    spec = toy_spec(9, policy=policy, checkpoints={"keep": keep, "total_gb": total})
    machine, warned = Machine(spec), list[str]()
    simulated = SimulatedExecutor(spec, gangs, lambda lane: [lane.parameters["x"]] * 9, lambda advance: 1.0)
    executor = SavingExecutor(simulated, store)
    executor.start()
    with Keeper(machine, str(store), 1, warned.append) as keeper:

        def watch(events: Sequence[Event]) -> None:
            keeper.news(events)
            best, there = machine.best(), folders(store)
            needed = [] if best is None else [best]
            needed += [t for t in machine.trials.values() if room is None and t.folder]
            assert {trial.folder for trial in needed} <= there
            for trial in machine.trials.values():
                own = [folder for folder in there if folder.split("/")[2] == f"{trial.number:05d}"]
                assert len(own) <= (1 if machine.is_ended else keep + (trial.state is TrialState.RUNNING))

        drive(
            machine,
            MemoryBook().hold("toy"),
            RandomProposer(spec.space(), seed),
            executor,
            simulated.clock,
            (launched(spec),),
            watch,
        )
        keeper.finish(never)
    left = folders(store)
    assert len(left) <= (9 if room is None else max(1, room))
    assert room is not None or (len(left), executor.begun_anew) == (9, [])
    assert len(warned) <= 1
    assert machine.best().folder in left
    assert list(store.glob("checkpoints/toy/*/.*")) == []
