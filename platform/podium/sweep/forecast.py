"""How much training a sweep may still take: for people who wait, no decision reads it. Pure."""

import functools
from collections.abc import Mapping

from podium.spec.sweep import Policy
from podium.sweep.machine import Machine
from podium.sweep.rungs import make_policy
from podium.sweep.trial import TrialState


def left_epochs(machine: Machine, epochs: Mapping[int, int]) -> float:
    """Epochs that a sweep is expected to train from now on.

    Every trial of the budget is taken to need what its policy grants on average if one in `factor` passes each
    rung, or what trials took on average so far if that is more: an asynchronous policy promotes on part of the
    evidence. At least what the running advances still have to do.

    Args:
        machine: The sweep.
        epochs: By trial, the epochs trained so far, those of a running advance included.
    """
    spec, trials = machine.spec, machine.trials.values()
    rungs = spec.rungs()
    total = _granted(spec.budget.policy, rungs, spec.budget.epochs.factor, machine.budget)
    share = total / machine.budget
    alone = spec.budget.policy == "none"
    for trial in trials:
        if trial.state in (TrialState.FAILED, TrialState.CANCELLED) or (alone and trial.state.is_ended):
            total += epochs.get(trial.number, 0) - share
    done = sum(epochs.values())
    total = max(total, done * machine.budget / max(len(machine.trials), 1))
    running = (trial.number for trial in trials if trial.state is TrialState.RUNNING)
    begun = sum(_to_next_rung(rungs, epochs.get(number, 0)) for number in running)
    return max(total - done, begun)


@functools.cache
def _granted(policy: Policy, rungs: tuple[int, ...], factor: int, trials: int) -> float:
    """Epochs of all trials together if one in `factor` passes each of its rungs."""
    rules = make_policy(policy, rungs, factor)
    return sum(
        (rung - before) / float(factor) ** passed
        for own in map(rules.rungs, range(trials))
        for passed, (before, rung) in enumerate(zip((0, *own), own, strict=False))
    )


def _to_next_rung(rungs: tuple[int, ...], epoch: int) -> int:
    return next((rung - epoch for rung in rungs if rung > epoch), 0)
