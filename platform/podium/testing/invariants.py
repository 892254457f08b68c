"""Checks of machines for tests, simulations and adapters."""

from collections.abc import Mapping

from podium.sweep.invariants import violations
from podium.sweep.machine import Machine
from podium.sweep.trial import Trial


def assert_invariants(machine: Machine) -> None:
    """Checks a machine between two events.

    Raises:
        AssertionError: naming what does not hold.
    """
    broken = list(violations(machine))
    assert not broken, "; ".join(broken)


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
