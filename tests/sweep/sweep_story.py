"""Sweeps told by hand."""

from typing import Any

from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import (
    EVENT,
    Advance,
    Advanced,
    Command,
    Event,
    GangReady,
    Propose,
    Proposed,
    Report,
    Saved,
)
from podium.sweep.trial import Trial, TrialState
from podium.testing.invariants import assert_endings_kept, assert_invariants, assert_same
from podium.testing.simulation import launched


class Story:
    """A machine told events by hand; after each it must keep its invariants and equal its replay."""

    def __init__(self, spec: SweepSpec, *, fuses: bool = False) -> None:
        self.machine = Machine(spec)
        self.events: list[Event] = []
        self.tell(launched(spec, fuses))

    def tell(self, *events: Event) -> list[Command]:
        """Tells the machine; returns the commands of all events."""
        commands: list[Command] = []
        for event in events:
            before, open_before = dict(self.machine.trials), self.machine.pending()
            self.events.append(EVENT.validate_json(event.model_dump_json()))
            new = self.machine.handle(event)
            assert_invariants(self.machine)
            assert_endings_kept(before, self.machine.trials)
            assert_same(replay(self.events), self.machine)
            for command in new:
                assert command not in open_before
            commands += new
        return commands

    def ready(self, gangs: int = 1) -> None:
        """Brings gangs `g0`, `g1`, …, and answers what they make the machine ask for."""
        for index in range(gangs):
            self.tell(GangReady(gang=f"g{index}"))
        self.propose()

    def propose(self) -> None:
        """Answers every open proposal with x = 0."""
        while asked := [command for command in self.machine.pending() if isinstance(command, Propose)]:
            self.tell(*(Proposed(number=ask.number, parameters={"x": 0.0, **ask.given}) for ask in asked))

    def advance_of(self, trial: int) -> Advance:
        """The open advance of a trial."""
        advances = [command for command in self.machine.pending() if isinstance(command, Advance)]
        return next(advance for advance in advances if trial in [lane.trial for lane in advance.lanes])

    def finish(self, trial: int, value: float | None, *, saved: bool = True, **report: Any) -> list[Command]:
        """Ends the open advance of a trial with a value, and answers the proposals that follow."""
        advance = self.advance_of(trial)
        epoch = report.pop("epoch", advance.until)
        values = report.pop("values", (value,))
        events: list[Event] = [Saved(trial=trial, epoch=epoch, folder=f"{trial}/{epoch}")] if saved else []
        ended = Report(trial=trial, epoch=epoch, values=values, **report)
        commands = self.tell(*events, Advanced(key=advance.key, gang=advance.gang, reports=(ended,)))
        self.propose()
        return commands

    def trial(self, number: int) -> Trial:
        return self.machine.trials[number]

    @property
    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.machine.trials.values()]

    @property
    def running(self) -> dict[str, int]:
        """The trial that each busy gang trains."""
        advances = [command for command in self.machine.pending() if isinstance(command, Advance)]
        return {advance.gang: advance.lanes[0].trial for advance in advances}
