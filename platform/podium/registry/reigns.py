"""Reigns: which version of a model was the champion when, from the events of its ledger. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from podium.sweep.messages import Crowned, Crowning, Event


@dataclass(frozen=True)
class Reigns:
    """What a model's ledger says of its champions.

    Attributes:
        champions: The versions that a rollback would go through, the one in force last; empty ones where none was.
        open: The move of the alias that was begun and not ended; None if there is none.
    """

    champions: tuple[str, ...] = ()
    open: Crowning | None = None

    @property
    def champion(self) -> str:
        """The version in force; empty if there is none."""
        return self.champions[-1] if self.champions else ""

    def after(self, event: Event) -> "Reigns":
        """What it says with one event more."""
        if isinstance(event, Crowning):
            return Reigns(self.champions, event)
        if not isinstance(event, Crowned) or self.open is None:
            return self
        if self.open.how == "rollback":
            earlier = self.champions[:-1]
            return Reigns(self.champions[: len(earlier) - earlier[::-1].index(event.version)])
        return Reigns((*self.champions, event.version))


def reigns(events: Iterable[Event]) -> Reigns:
    """What all events of a model's ledger say."""
    found = Reigns()
    for event in events:
        found = found.after(event)
    return found
