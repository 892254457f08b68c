"""Whole sweeps on a virtual clock: the real machine and driver over a simulated executor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from podium.execution.simulated import Curve, SimulatedExecutor
from podium.spec.space import Choice, Float, Int, Parameter, Space, Value, fusible_because
from podium.spec.sweep import SweepSpec
from podium.sweep.driver import Driver
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Event, Exhausted, Lane, Launched, Measured, Propose, Proposed
from podium.sweep.protocols import Clock, Executor, Ledger, Proposer
from podium.sweep.trial import Trial
from podium.testing.ledgers import MemoryBook

STALLED = 1000
"""After so many waits in a row without an event, a virtual sweep will never move again."""


class RandomProposer:
    """Draws each trial from the whole space, from its number alone; a mate shares the structure of its lead.

    Args:
        space: What is searched.
        seed: Another one gives other points.
        most: It is exhausted from this trial on.
    """

    def __init__(self, space: Space, seed: int = 0, most: int | None = None) -> None:
        self._space, self._seed, self._most = space, seed, most

    def propose(self, command: Propose, trials: Mapping[int, Trial]) -> Proposed | Exhausted:
        """A point that keeps what the command gives."""
        if self._most is not None and command.number >= self._most:
            return Exhausted(number=command.number)
        random = np.random.default_rng([self._seed, command.number])
        lead = {} if command.mates_of is None else trials[command.mates_of].parameters
        kept = {name: value for name, value in lead.items() if fusible_because(name) is None} | command.given
        point = self._space.walk(lambda parameter: kept.get(parameter.name, _draw(parameter, random)))
        return Proposed(number=command.number, parameters=point)


@dataclass(frozen=True)
class Simulation:
    """How a simulated sweep went.

    Attributes:
        machine: Its last state.
        events: All that happened.
        virtual_s: Virtual seconds it took.
    """

    machine: Machine
    events: tuple[Event, ...]
    virtual_s: float

    @property
    def best(self) -> Trial:
        """The best trial; there must be one."""
        best = self.machine.best()
        assert best is not None
        return best


def simulate(
    spec: SweepSpec,
    gangs: int,
    curve: Curve,
    epoch_s: Callable[[Advance], float] = lambda advance: 1.0,
    proposer: Proposer | None = None,
    *,
    fuses: bool = False,
    measure: Callable[[tuple[Lane, ...]], Measured | None] = lambda lanes: None,
) -> Simulation:
    """Runs a sweep on a virtual clock to its end.

    Args:
        spec: The sweep.
        gangs: How many gangs there are.
        curve: The learning curve of a trial, at least `epochs.max` long.
        epoch_s: How many virtual seconds an epoch of an advance takes.
        proposer: Draws the trials; random ones if there is none.
        fuses: Whether the trials can share stacks.
        measure: What is told of the widths of stacks when a cohort begins; nothing by default.
    """
    executor = SimulatedExecutor(spec, gangs, curve, epoch_s, measure)
    executor.start()
    machine, ledger = Machine(spec), MemoryBook().hold(spec.sweep)
    drive(machine, ledger, proposer or RandomProposer(spec.space()), executor, executor.clock, (launched(spec, fuses),))
    return Simulation(machine, tuple(ledger.events()), executor.clock.monotonic())


def drive(
    machine: Machine,
    ledger: Ledger,
    proposer: Proposer,
    executor: Executor,
    clock: Clock,
    opening: Sequence[Event],
    watch: Callable[[Sequence[Event]], None] = lambda events: None,
) -> None:
    """Drives a machine over parts of any kind until it ends.

    Raises:
        AssertionError: if nothing happens any more and the machine has not ended.
    """
    silent = 0

    def observe(events: Sequence[Event]) -> None:
        nonlocal silent
        silent = 0 if events else silent + 1
        assert silent < STALLED, f"the sweep stalls with gangs {machine.gangs} and open commands {machine.pending()}"
        watch(events)

    Driver(
        machine,
        ledger=ledger,
        proposer=proposer,
        executor=executor,
        clock=clock,
        watch=observe,
        is_interrupted=lambda: False,
    ).run(opening)


def launched(spec: SweepSpec, fuses: bool = False) -> Launched:
    """The first event of a sweep; `fuses` says whether its trials can share stacks."""
    return Launched(identity="simulated", spec=spec.written(), fuses=fuses, least_mates=0)


def toy_spec(
    trials: int = 8,
    epochs: dict[str, int] | None = None,
    policy: str = "asha",
    direction: str = "minimize",
    **settings: Any,
) -> SweepSpec:
    """A small sweep over `x` in [0, 1] for the objective `score`.

    Args:
        trials: Its budget.
        epochs: `budget.epochs`; rungs at 1, 3 and 9 if absent.
        policy: `budget.policy`.
        direction: Which way the score is better.
        settings: More settings by key; `budget` and `search` are merged into those above.
    """
    tree = {"sweep": "toy", "task": "train.py:train", **settings}
    budget = {"trials": trials, "epochs": epochs or {"min": 1, "max": 9, "factor": 3}, "policy": policy}
    objective = {"metric": "score", "direction": direction}
    search = {"objective": objective, "space": {"x": {"float": [0.0, 1.0]}}}
    tree["budget"] = budget | settings.get("budget", {})
    tree["search"] = search | settings.get("search", {})
    return SweepSpec.model_validate(tree)


def _draw(parameter: Parameter, random: np.random.Generator) -> Value:
    match parameter.domain:
        case Choice(options):
            return options[int(random.integers(len(options)))]
        case Int(low, high, step=step):
            return low + step * int(random.integers((high - low) // step + 1))
        case Float(low, high):
            return float(random.uniform(low, high))
