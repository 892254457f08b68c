"""The supply: where new trials come from, and how many there may still be. Pure."""

from collections import deque
from collections.abc import Callable, Mapping

from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.agenda import Agenda
from podium.sweep.cohorts import Cohorts
from podium.sweep.messages import Command, Propose, Proposed
from podium.sweep.roster import Roster
from podium.sweep.seeds import trial_seed
from podium.sweep.trial import Trial


class Supply:
    """Asks for new trials and for mates of theirs, up to the budget.

    Args:
        spec: The sweep.
        roster: Its trials.
        cohorts: Says how many mates a trial gets.
        agenda: Where proposals are opened.

    Attributes:
        budget: How many trials there may be.
        is_listed: Whether every point is settled beforehand, so that the trials can wait all together.
        is_exhausted: Whether the proposer has nothing any more.
    """

    def __init__(self, spec: SweepSpec, roster: Roster, cohorts: Cohorts, agenda: Agenda) -> None:
        self._spec, self._roster, self._cohorts, self._agenda = spec, roster, cohorts, agenda
        self.budget = spec.budget.trials
        self.is_listed = spec.search.sampler == "list"
        self.is_exhausted = False
        self._drawn: list[int] = []
        self._enqueued: deque[dict[str, Value]] = deque()
        given = [spec.given()] if spec.given() else []
        self._points = deque([] if self.is_listed else [*given, *map(dict, spec.search.points)])

    @property
    def num_left(self) -> int:
        """How many trials may still be asked for."""
        return 0 if self.is_exhausted else self.budget - self.next_number

    @property
    def next_number(self) -> int:
        """The number of the next trial that is asked for."""
        return len(self._roster.trials) + self._agenda.num_proposing

    def enqueue(self, parameters: Mapping[str, Value]) -> None:
        """A user wants this point tried next."""
        self._enqueued.append(dict(parameters))

    def add(self, event: Proposed) -> None:
        """A new trial waits, if it was asked for."""
        proposal = self._agenda.answer(event.number)
        if proposal is None:
            return
        seed = trial_seed(self._spec, event.number, event.parameters)
        self._roster.add(
            Trial(number=event.number, parameters=event.parameters, seed=seed, attributes=event.attributes)
        )
        self._cohorts.add(event.number)
        if proposal.mates_of is None:
            self._drawn.append(event.number)

    def exhaust(self, number: int) -> None:
        """The proposer has nothing for this trial, and for none after it."""
        if self._agenda.answer(number):
            self._agenda.withdraw(number)
            self.is_exhausted = True

    def ask_for_mates(self) -> list[Command]:
        """Mates for what was drawn freely; how many depends on the gangs, so that it waits for one."""
        gangs = len(self._agenda.gangs)
        if not gangs or not self._drawn:
            return []
        leads, self._drawn = self._drawn, []
        running = sum(len(advance.lanes) for advance in self._agenda.advances)
        commands: list[Command] = []
        for lead in leads:
            left = self.num_left - len(self._enqueued) - len(self._points)
            drawn = self._cohorts.num_mates(lead, self.budget, left, gangs, running)
            for _ in range(left if self.is_listed else drawn):
                commands.append(self._agenda.propose_mate(self.next_number, lead))
        return commands

    def ask(self, affords: Callable[[int], bool]) -> list[Command]:
        """A new trial for each idle gang; of a list, its first point.

        Args:
            affords: Whether the sweep can afford so many new trials at once.
        """
        commands: list[Command] = []
        wanted = min(len(self._agenda.idle()), 1 if self.is_listed else self.budget)
        while self._agenda.num_coming < wanted and self.num_left > 0 and affords(self._agenda.num_coming + 1):
            commands.append(self._propose())
        return commands

    def _propose(self) -> Propose:
        points = self._enqueued or self._points
        return self._agenda.propose(self.next_number, points.popleft() if points else {})
