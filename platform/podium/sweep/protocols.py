"""What the driver talks to. Adapters implement these; the driver knows nothing else of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from podium.sweep.messages import Advance, Event, Exhausted, Halt, Propose, Proposed, Request
from podium.sweep.trial import Trial


class Proposer(Protocol):
    """Draws parameters."""

    def propose(self, command: Propose, trials: Mapping[int, Trial]) -> Proposed | Exhausted:
        """The parameters of a new trial: a function of the command and the trials so far."""
        ...


class Executor(Protocol):
    """Runs advances on gangs. Gangs come and go by themselves, as `GangReady` and `GangLost`."""

    def start(self) -> None:
        """Begins to start gangs; returns at once."""
        ...

    def advance(self, command: Advance) -> None:
        """Begins an advance on an idle gang; returns at once. Repeating a command is harmless."""
        ...

    def halt(self, command: Halt) -> None:
        """Asks a gang to checkpoint at its next step and end its advance. Harmless if it already has."""
        ...

    def expect(self, gangs: int) -> None:
        """For so many gangs there is work now: more may be started, and those that are idle may be given up."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What has happened, in order, waiting at most `timeout_s` for the first event.

        An advance ends with exactly one of `Advanced`, `AdvanceFailed` or `GangLost`.
        """
        ...

    def close(self) -> None:
        """Ends all gangs and frees what they held."""
        ...


class Ledger(Protocol):
    """One sweep's events, held under a lease."""

    def events(self) -> Iterable[Event]:
        """All events, in order."""
        ...

    def append(self, events: Sequence[Event]) -> int:
        """Appends in one transaction; returns the last sequence number.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        ...

    def requests(self) -> Sequence[Request]:
        """What users asked for since the last call; forgotten only with the next `append`."""
        ...

    def renew(self) -> None:
        """Keeps the lease; called in every loop.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        ...


class Clock(Protocol):
    """Time, for those who may not look at it themselves."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never running backwards."""
        ...
