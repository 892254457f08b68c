"""Spans and pauses: what a gang does, piece by piece, and what each second of them goes into. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Use(StrEnum):
    """What a second of a gang goes into."""

    TRAINING = "training"
    REDONE = "trained in vain"
    DATA = "waiting for data"
    CHECKPOINT = "checkpoints"
    START_UP = "start-up"
    GANG = "waiting for a gang to fit"
    PROPOSALS = "waiting for proposals"
    NOTHING = "nothing to do"
    AWAY = "no driver"


Ending = Literal["reported", "broke off", "lost", "open"]


@dataclass(frozen=True, slots=True)
class Span:
    """An advance on one of its gangs.

    Attributes:
        key: The advance, which is also the name of its cohort.
        trials: Those in its lanes, in their order.
        since: The whole epochs from which it trained.
        until: The epoch that it was to reach.
        begin: When it began, in seconds since 1970.
        end: When it ended, or how far the ledger goes.
        ending: `reported`; `broke off` and the gang went on; `lost` with its gang or its driver; still `open`.
        data_s: Seconds in which it waited for batches.
        checkpoint_s: Seconds in which it read and wrote checkpoints.
        redone_s: Seconds of training after its last checkpoint, if it did not report.
    """

    key: str
    trials: tuple[int, ...]
    since: int
    until: int
    begin: float
    end: float
    ending: Ending
    data_s: float = 0.0
    checkpoint_s: float = 0.0
    redone_s: float = 0.0

    @property
    def uses(self) -> dict[Use, float]:
        """Its seconds by what they went into."""
        parts = {Use.REDONE: self.redone_s, Use.DATA: self.data_s, Use.CHECKPOINT: self.checkpoint_s}
        return {Use.TRAINING: self.end - self.begin - sum(parts.values()), **parts}


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a gang did not train, for one cause; in seconds since 1970."""

    begin: float
    end: float
    use: Use

    @property
    def uses(self) -> dict[Use, float]:
        """Its seconds by what they went into."""
        return {self.use: self.end - self.begin}


Piece = Span | Pause


@dataclass
class Row:
    """One gang.

    Attributes:
        gang: Its name.
        begin: Since when it was waited for, in seconds since 1970.
        pieces: What it did, without gaps, but for what it does now.
        end: When it was gone; None while it is there.
    """

    gang: str
    begin: float
    pieces: list[Piece] = field(default_factory=list)
    end: float | None = None
