"""The driver: the only loop. Events go to the ledger, then to the machine; its commands are carried out."""

from collections.abc import Callable, Sequence

from podium.errors import Interrupted
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Command, Event, Halt, InterruptRequested, Progress, Propose, TimeSpent
from podium.sweep.protocols import Clock, Executor, Ledger, Proposer

WAIT_S = 0.5
"""How long one wait for events may last; requests and signals are looked at in between."""

REQUESTS_EVERY_S = 0.3
TIME_EVERY_S = 1.0


class Driver:
    """Drives one sweep until it ends or is interrupted.

    Args:
        machine: The state after all events in the ledger.
        ledger: Where events are appended.
        proposer: Draws parameters.
        executor: Runs advances; started and closed by the caller.
        clock: Measures how long advances run.
        watch: Called with new events after the machine has taken them, and with none now and then.
        is_interrupted: Whether the user asked the driver to leave.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        ledger: Ledger,
        proposer: Proposer,
        executor: Executor,
        clock: Clock,
        watch: Callable[[Sequence[Event]], None],
        is_interrupted: Callable[[], bool],
    ) -> None:
        self._machine, self._ledger, self._proposer = machine, ledger, proposer
        self._executor, self._clock, self._watch = executor, clock, watch
        self._is_interrupted = is_interrupted
        self._news: list[Event] = []
        self._asked = self._counted = clock.monotonic()
        self._leaving_since: float | None = None

    def run(self, opening: Sequence[Event]) -> None:
        """Appends the `opening` events (launched, extended or resumed) and runs until the machine has ended.

        Raises:
            LeaseLost: if another driver took over.
            StorageFault: if the ledger cannot be written.
            Interrupted: if the user asked to leave, and running advances did not end in time.
        """
        self._take(opening)
        self._carry_out(self._machine.pending())
        while not self._machine.is_ended:
            self._carry_out(self._take(self._gather()))
            self._require_grace()

    def _gather(self) -> list[Event]:
        news, self._news = self._news, []
        news += self._executor.wait(0 if news else WAIT_S)
        now = self._clock.monotonic()
        if now - self._asked >= REQUESTS_EVERY_S:
            self._asked = now
            news += self._ledger.requests()
        if self._is_interrupted() and self._leaving_since is None:
            self._leaving_since = now
            news.append(InterruptRequested())
        has_news = any(not isinstance(event, Progress) for event in news)
        return [*self._count_time(now, has_news=has_news), *news]

    def _count_time(self, now: float, *, has_news: bool) -> list[Event]:
        """The time since the last count, before all news, and each second where the sweep may take only so much.

        Progress alone neither begins nor ends an advance, and waits for the next count.
        """
        passed_s, budget = now - self._counted, self._machine.spec.budget
        is_training = any(self._machine.gangs.values())
        is_due = budget.wall_time is not None or (is_training and self._machine.spending.is_limited)
        if (is_training and has_news and passed_s > 0) or (is_due and passed_s >= TIME_EVERY_S):
            self._counted = now
            return [TimeSpent(seconds=passed_s)]
        if not is_training and budget.wall_time is None:
            self._counted = now
        return []

    def _require_grace(self) -> None:
        """Leaves when running trials have had their time to write checkpoints."""
        grace_s = self._machine.spec.limits.grace_s
        late = self._leaving_since is not None and self._clock.monotonic() - self._leaving_since > grace_s
        if late and not self._machine.is_ended:
            raise Interrupted(
                f"left after the grace period of {grace_s:g} s (limits.grace_s), with trials still at a step; "
                f"`podium resume {self._machine.spec.sweep}` goes on from their last checkpoints"
            )

    def _take(self, events: Sequence[Event]) -> list[Command]:
        self._ledger.renew()
        if not events:
            self._watch(events)
            return []
        self._ledger.append(events)
        commands = [command for event in events for command in self._machine.handle(event)]
        self._executor.expect(self._machine.num_gangs_wanted)
        self._watch(events)
        return commands

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Propose):
                self._news.append(self._proposer.propose(command, self._machine.trials))
            elif isinstance(command, Advance):
                self._executor.advance(command)
            elif isinstance(command, Halt):
                self._executor.halt(command)
