"""The agenda: the gangs there are, and the commands that are open. Pure."""

from collections.abc import Iterable, Mapping

from podium.spec.space import Value
from podium.sweep.messages import Advance, Command, Halt, Lane, Propose


class Agenda:
    """Open commands and the gangs that carry them out; a gang has at most one open advance.

    Attributes:
        gangs: By gang, the key of the advance it runs; None if idle.
    """

    def __init__(self) -> None:
        self.gangs: dict[str, str | None] = {}
        self._gone: set[str] = set()
        self._open: dict[str, Command] = {}
        self._proposing: dict[str, Propose] = {}
        self._advancing: dict[str, Advance] = {}
        self._leads: dict[int, int] = {}
        self._begun = 0

    def pending(self) -> list[Command]:
        """The open commands, oldest first."""
        return list(self._open.values())

    def clear(self) -> None:
        """Drops all commands."""
        self._open.clear()
        self._proposing.clear()
        self._advancing.clear()

    # gangs

    def welcome(self, gang: str) -> None:
        """A gang is ready, unless it is known to be lost."""
        if gang not in self._gone:
            self.gangs.setdefault(gang, None)

    def lose(self, gang: str) -> str | None:
        """A gang is lost for good; returns the key of the advance it ran."""
        self._gone.add(gang)
        return self.gangs.pop(gang, None)

    def lose_all(self) -> None:
        """Every gang is gone with its advance; proposals stay open, and names may be used again."""
        self.gangs.clear()
        self._gone.clear()
        self._advancing.clear()
        self._open = dict(self._proposing)

    def idle(self) -> list[str]:
        """The gangs that run nothing."""
        return [gang for gang, key in self.gangs.items() if key is None]

    # proposals

    @property
    def num_proposing(self) -> int:
        """How many proposals are open."""
        return len(self._proposing)

    @property
    def num_coming(self) -> int:
        """How many cohorts of new trials are being drawn: open proposals that are free, and leads with open mates."""
        return sum(proposal.mates_of is None for proposal in self._proposing.values()) + len(self._drawing)

    def propose(self, number: int, given: Mapping[str, Value]) -> Propose:
        """Opens a proposal."""
        return self._ask(Propose(key=f"propose/{number}", number=number, given=dict(given)))

    def propose_mate(self, number: int, lead: int) -> Propose:
        """Opens a proposal of a mate; its lead, and the mates that are there already, are held until it is closed."""
        return self._ask(Propose(key=f"propose/{number}", number=number, mates_of=lead))

    def answer(self, number: int) -> Propose | None:
        """Closes a proposal; None if it was not open."""
        proposal = self._close(f"propose/{number}")
        if not isinstance(proposal, Propose):
            return None
        if proposal.mates_of is not None:
            self._leads[number] = proposal.mates_of
        return proposal

    def withdraw(self, number: int) -> None:
        """Closes the proposals of all trials from `number` on."""
        for proposal in list(self._proposing.values()):
            if proposal.number >= number:
                self._close(proposal.key)

    def held(self, numbers: Iterable[int]) -> set[int]:
        """Those of some trials that no gang takes yet, because mates of theirs are still being drawn."""
        drawing = self._drawing
        return {number for number in numbers if self._leads.get(number, number) in drawing}

    @property
    def _drawing(self) -> set[int]:
        """The leads whose mates are being drawn."""
        return {proposal.mates_of for proposal in self._proposing.values() if proposal.mates_of is not None}

    def _ask(self, proposal: Propose) -> Propose:
        self._open[proposal.key] = self._proposing[proposal.key] = proposal
        return proposal

    # advances

    @property
    def advances(self) -> list[Advance]:
        """The open advances."""
        return list(self._advancing.values())

    def begin(self, gang: str, until: int, lanes: tuple[Lane, ...]) -> Advance:
        """Opens an advance on an idle gang."""
        self._begun += 1
        command = Advance(key=f"advance/{self._begun}", gang=gang, until=until, lanes=lanes)
        self._open[command.key] = self._advancing[command.key] = command
        self.gangs[gang] = command.key
        return command

    def end(self, key: str) -> Advance | None:
        """Closes an advance and what would halt it; None if it was not open."""
        advance = self._advancing.get(key)
        if advance is None:
            return None
        self._close(key)
        self._close(f"halt/{key}")
        for gang in advance.gangs:
            if gang in self.gangs:
                self.gangs[gang] = None
        return advance

    def join(self, advance: Advance, gangs: tuple[str, ...]) -> Advance:
        """Idle gangs join an advance that has just been opened."""
        joint = advance.model_copy(update={"joined": gangs})
        self._open[advance.key] = self._advancing[advance.key] = joint
        self.gangs |= dict.fromkeys(gangs, advance.key)
        return joint

    def halt(self, advance: Advance) -> list[Halt]:
        """Opens the halt of an advance; nothing if it is open already."""
        key = f"halt/{advance.key}"
        if key in self._open:
            return []
        command = Halt(key=key, gang=advance.gang, advance=advance.key)
        self._open[key] = command
        return [command]

    def _close(self, key: str) -> Command | None:
        """Drops a command, wherever it is noted; None if it was not open."""
        self._proposing.pop(key, None)
        self._advancing.pop(key, None)
        return self._open.pop(key, None)
