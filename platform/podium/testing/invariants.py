"""What holds for a machine after every event, whatever happened: checked by tests, by simulations, by adapters."""

from collections.abc import Mapping

from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Advance, Halt, Propose
from podium.sweep.trial import Trial, TrialState


def assert_invariants(machine: Machine) -> None:
    """Checks a machine between two events.

    Raises:
        AssertionError: naming what does not hold.
    """
    _check_trials(machine)
    _check_commands(machine)
    _check_capacity(machine)
    _check_ending(machine)


def assert_same(one: Machine, other: Machine) -> None:
    """Checks that two machines are in the same state and have the same open commands (law 2).

    Raises:
        AssertionError: naming what differs.
    """
    assert one.trials == other.trials
    assert (one.state, one.reason, one.is_closing) == (other.state, other.reason, other.is_closing)
    assert (one.budget, one.spent_s, one.gangs) == (other.budget, other.spent_s, other.gangs)
    assert one.pending() == other.pending()
    assert one.best() == other.best()


def assert_endings_kept(before: Mapping[int, Trial], after: Mapping[int, Trial]) -> None:
    """Checks that no ended trial of `before` has changed.

    Raises:
        AssertionError: with both snapshots of the first one that has.
    """
    for number, trial in before.items():
        assert not trial.state.is_ended or after[number] == trial, f"{trial} became {after[number]}"


def _check_trials(machine: Machine) -> None:
    assert list(machine.trials) == list(range(len(machine.trials))), "trial numbers are not contiguous"
    assert all(number == trial.number for number, trial in machine.trials.items())
    assert machine.best() == machine.ranking.best(machine.trials.values()), "best is not the best"
    rungs = set(machine.spec.rungs())
    for trial in machine.trials.values():
        assert set(trial.values) <= rungs, f"values between the rungs: {trial}"
        assert bool(trial.reason) == trial.state.is_ended, f"an ending and no reason, or the reverse: {trial}"


def _check_commands(machine: Machine) -> None:
    commands = machine.pending()
    keys = [command.key for command in commands]
    assert len(set(keys)) == len(keys), f"two open commands with one key: {keys}"
    advances = {command.key: command for command in commands if isinstance(command, Advance)}
    for command in commands:
        if isinstance(command, Halt):
            assert command.advance in advances, f"a halt of nothing: {command}"
    running = [lane.trial for advance in advances.values() for lane in advance.lanes]
    expected = [trial.number for trial in machine.trials.values() if trial.state is TrialState.RUNNING]
    assert sorted(running) == expected, f"running trials are {expected}, open advances train {running}"
    for advance in advances.values():
        for lane in advance.lanes:
            assert lane.epoch <= advance.until, f"an advance backwards: {advance}"
            assert machine.trials[lane.trial].rung < advance.until, f"a rung trained twice: {advance}"
    asked = [command.number for command in commands if isinstance(command, Propose)]
    assert len(machine.trials) + len(asked) <= machine.budget, "more trials than the budget"
    assert not set(asked) & set(machine.trials), "a proposal for a trial that exists"


def _check_capacity(machine: Machine) -> None:
    advances = [command for command in machine.pending() if isinstance(command, Advance)]
    busy = {gang: key for gang, key in machine.gangs.items() if key is not None}
    assert busy == {advance.gang: advance.key for advance in advances}, "gangs and open advances disagree"
    assert len(busy) == len(advances), "a gang with two open advances"
    if not machine.is_ended and not machine.is_closing and len(busy) < len(machine.gangs):
        waiting = [trial.number for trial in machine.trials.values() if trial.state is TrialState.WAITING]
        assert not waiting, f"trials {waiting} wait while a gang is idle"


def _check_ending(machine: Machine) -> None:
    assert bool(machine.reason) == (machine.is_ended or machine.is_closing), (
        f"a reason too many or too few: {machine.reason}"
    )
    if not machine.is_ended:
        return
    assert not any(isinstance(command, Advance | Halt) for command in machine.pending()), "ended with open advances"
    if machine.state is not SweepState.INTERRUPTED:
        assert not machine.pending()
        assert all(trial.state.is_ended for trial in machine.trials.values()), "ended with unended trials"
