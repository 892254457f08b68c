"""One gang inside this process, for a debugger: an advance runs while the driver waits for it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from podium.execution.logs import copied
from podium.execution.worker import Assignment, Worker
from podium.sweep.messages import Advance, Event, GangReady, Halt

GANG = "inline"
NEVER_S = 1e9


class InlineExecutor:
    """Runs every advance in the calling thread.

    Args:
        assignment: What the worker works on.
        is_interrupted: Whether the user asked to leave; the running advance then halts at its next step.
        hear: Told of every event when it happens, while `wait` still waits.
    """

    def __init__(
        self,
        assignment: Assignment,
        is_interrupted: Callable[[], bool],
        hear: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._news: list[Event] = []
        self._commands: list[Advance] = []
        self._begun: set[str] = set()
        self._hear = hear
        self._worker = Worker(_saving_at_the_end(assignment), self._tell, copied, is_interrupted)

    def start(self) -> None:
        """The one gang is ready at once."""
        self._worker.warm_up()
        self._news.append(GangReady(gang=GANG, devices="this process"))

    def advance(self, command: Advance) -> None:
        """Keeps the command until the driver waits; a repeated one is ignored."""
        if command.gang == GANG and command.key not in self._begun:
            self._begun.add(command.key)
            self._commands.append(command)

    def halt(self, command: Halt) -> None:
        """Reaches an advance only before it began; a running one asks `is_interrupted` itself."""
        self._worker.halt(command)

    def expect(self, gangs: int) -> None:
        """There is one gang, whatever there is to do."""

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """Carries out what was commanded; returns all events."""
        while self._commands and not self._news:
            self._worker.advance(self._commands.pop(0))
        news = list(self._news)
        self._news.clear()
        return news

    def _tell(self, event: Event) -> None:
        self._hear(event)
        self._news.append(event)

    def close(self) -> None:
        """Forgets all commands, and ends what still waits inside the worker."""
        self._commands.clear()
        self._worker.close()


def _saving_at_the_end(assignment: Assignment) -> Assignment:
    """Without checkpoints on the way: the driver hears of none before the advance has ended, so all would pile up."""
    checkpoints = {**assignment.spec.get("checkpoints", {}), "every_s": NEVER_S}
    return replace(assignment, spec={**assignment.spec, "checkpoints": checkpoints})
