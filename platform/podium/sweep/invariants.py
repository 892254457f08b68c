"""What holds for a machine after every event, whatever happened. Pure."""

from collections.abc import Collection, Iterator

from podium.spec.space import signature
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Advance, Halt, Propose
from podium.sweep.rungs import make_policy
from podium.sweep.trial import TrialState


def violations(machine: Machine) -> Iterator[str]:
    """What does not hold for a machine between two events, in words; nothing if all is well."""
    yield from _of_trials(machine)
    yield from _of_commands(machine)
    yield from _of_capacity(machine)
    yield from _of_ending(machine)


def _of_trials(machine: Machine) -> Iterator[str]:
    if list(machine.trials) != list(range(len(machine.trials))):
        yield f"trial numbers are not contiguous: {list(machine.trials)}"
    if machine.best() != machine.ranking.best(machine.trials.values()):
        yield f"best is not the best: {machine.best()}"
    rungs = set(machine.spec.rungs())
    for number, trial in machine.trials.items():
        if number != trial.number:
            yield f"trial {number} has another number: {trial}"
        if not set(trial.values) <= rungs:
            yield f"values between the rungs: {trial}"
        if bool(trial.reason) != trial.state.is_ended:
            yield f"an ending and no reason, or the reverse: {trial}"


def _of_commands(machine: Machine) -> Iterator[str]:
    commands = machine.pending()
    keys = [command.key for command in commands]
    if len(set(keys)) != len(keys):
        yield f"two open commands with one key: {keys}"
    advances = {command.key: command for command in commands if isinstance(command, Advance)}
    for command in commands:
        if isinstance(command, Halt) and command.advance not in advances:
            yield f"a halt of nothing: {command}"
    asked = [command.number for command in commands if isinstance(command, Propose)]
    if len(machine.trials) + len(asked) > machine.budget:
        yield "more trials than the budget"
    if set(asked) & set(machine.trials):
        yield "a proposal for a trial that exists"
    yield from _of_advances(machine, advances.values())


def _of_advances(machine: Machine, advances: Collection[Advance]) -> Iterator[str]:
    running = [lane.trial for advance in advances for lane in advance.lanes]
    expected = [trial.number for trial in machine.trials.values() if trial.state is TrialState.RUNNING]
    if sorted(running) != expected:
        yield f"running trials are {expected}, open advances train {running}"
    for advance in advances:
        for lane in advance.lanes:
            if lane.epoch > advance.until:
                yield f"an advance backwards: {advance}"
            if machine.trials[lane.trial].rung >= advance.until:
                yield f"a rung trained twice: {advance}"
        if len(advance.lanes) > 1:
            yield from _of_cohort(machine, advance)


def _of_cohort(machine: Machine, advance: Advance) -> Iterator[str]:
    """A width may be measured while a cohort is trained: its size is held against the largest there can be."""
    if len(advance.lanes) > machine.cohorts.most:
        yield f"a cohort of more than {machine.cohorts.most} lanes: {advance}"
    fixed, budget = machine.spec.fixed(), machine.spec.budget
    policy = make_policy(budget.policy, machine.spec.rungs(), budget.epochs.factor)
    trials = [machine.trials[lane.trial] for lane in advance.lanes]
    if len({signature(trial.parameters, fixed) for trial in trials}) > 1:
        yield f"lanes of different signatures: {advance}"
    if len({(lane.epoch, lane.step) for lane in advance.lanes}) > 1:
        yield f"lanes that start at different places: {advance}"
    ahead = {min(rung for rung in policy.rungs(trial.number) if rung > trial.rung) for trial in trials}
    if ahead != {advance.until}:
        yield f"lanes with different rungs ahead: {advance}"
    if any(trial.alone for trial in trials):
        yield f"a trial with mates that was to go on alone: {advance}"


def _of_capacity(machine: Machine) -> Iterator[str]:
    advances = [command for command in machine.pending() if isinstance(command, Advance)]
    busy = {gang: key for gang, key in machine.gangs.items() if key is not None}
    trained_by = [(gang, advance.key) for advance in advances for gang in advance.gangs]
    if busy != dict(trained_by):
        yield f"gangs and open advances disagree: {busy}"
    if len(busy) != len(trained_by):
        yield "a gang with two open advances"
    resources = machine.spec.resources
    if any(len(advance.gangs) * resources.fewest_ranks > resources.most_ranks for advance in advances):
        yield f"an advance with more ranks than {resources.most_ranks}"
    if not (machine.is_ended or machine.is_closing) and len(busy) < len(machine.gangs):
        waiting = {trial.number for trial in machine.trials.values() if trial.state is TrialState.WAITING}
        if unheld := sorted(filter(machine.affords, waiting - machine.held)):
            yield f"trials {unheld} wait while a gang is idle"


def _of_ending(machine: Machine) -> Iterator[str]:
    if bool(machine.reason) != (machine.is_ended or machine.is_closing):
        yield f"a reason too many or too few: {machine.reason!r}"
    if not machine.is_ended:
        if not machine.is_closing and not machine.num_gangs_wanted:
            yield "goes on and wants no gang"
        if not machine.pending() and machine.gangs:
            yield "goes on, and nothing is to be done"
        return
    if any(isinstance(command, Advance | Halt) for command in machine.pending()):
        yield "ended with open advances"
    if machine.state is not SweepState.INTERRUPTED:
        if machine.pending():
            yield "ended with open commands"
        if not all(trial.state.is_ended for trial in machine.trials.values()):
            yield "ended with trials that have not"
