"""Gangs: warm actors that hold their places on a Ray together, and what the driver knows of them."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from podium.execution.connection import ACCELERATOR_LABEL
from podium.execution.pulse import Beats, Heart
from podium.execution.rank import Rank, Whereabouts
from podium.execution.worker import Assignment
from podium.spec.sweep import Resources
from podium.sweep.messages import Advance, Host
from podium.training.seats import Seat

HERE = "127.0.0.1"

STRATEGIES: dict[object, str] = {"pack": "PACK", "spread": "SPREAD"}
"""Ray's names for `resources.hosts`; a number of ranks is one host's."""

REGROUP_S = 30.0
"""How long a gang that has lost a rank may hold the places of the others while there is none for a new one; up to twice
as long, by chance, so that gangs of two sweeps do not give up at once."""

THREADS = 4
"""Of an actor: it trains in threads of its own, and answers in these."""


@dataclass(eq=False)
class Member:
    """One rank of a gang.

    Attributes:
        actor: Its actor.
        heart: What its beats tell.
        bundle: The place it holds in its gang's group.
        where: Where it is; None until it has said so.
        is_heard: Whether its events are asked for.
        is_leaving: Whether it was asked to leave.
    """

    actor: Any
    heart: Heart
    bundle: int
    where: Whereabouts | None = None
    is_heard: bool = False
    is_leaving: bool = False


def _patience_from(now: float) -> float:
    return now + REGROUP_S * random.uniform(1, 2)  # noqa: S311


@dataclass(eq=False)
class Gang:
    """What the driver knows of a gang.

    Attributes:
        name: Its name.
        members: Its ranks.
        group: What holds their places together; None for one rank.
        is_ready: Whether all of them have warmed up.
        table: The gangs whose ranks sit together with its own; nobody knows where they sit if it is empty.
        advance: What it trains, alone or with others; None if it is idle.
        gone: When it has left by itself, since it is out of reach; None while it is not.
        patient_until: When it gives up its places, if some of its ranks have still not come.
        asked: When it was asked for.
        waited_s: Seconds from then on until there was a place for the last of its ranks, as far as they have come.
    """

    name: str
    members: list[Member]
    group: Any
    is_ready: bool = False
    table: tuple[str, ...] = ()
    advance: Advance | None = None
    gone: float | None = None
    patient_until: float = field(default_factory=lambda: _patience_from(time.monotonic()))
    asked: float = field(default_factory=time.monotonic)
    waited_s: float = 0.0

    @property
    def holds_places(self) -> bool:
        """Whether at least one of its ranks has come."""
        return any(member.where is not None for member in self.members)

    @property
    def lacks_places(self) -> bool:
        """Whether at least one of its ranks has not come."""
        return any(member.where is None for member in self.members)

    def note_place(self, up_s: float) -> None:
        """A rank has come, whose process began `up_s` seconds ago, or long before on a host that keeps some ready."""
        self.waited_s = max(self.waited_s, self.age_s - up_s)

    @property
    def age_s(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self.asked

    @property
    def devices(self) -> str:
        """Where its ranks are."""
        return "; ".join(str(member.where) for member in self.members)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """What the hosts of its ranks are."""
        return tuple(member.where.host for member in self.members if member.where is not None)


@dataclass
class Recruiter:
    """Starts ranks, and ends them.

    Attributes:
        assignment: What they work on.
        resources: What each of them occupies.
        beats: Beats them.
    """

    assignment: Assignment
    resources: Resources
    beats: Beats
    _started: int = field(default=0, init=False)

    def name(self) -> str:
        """A name that no gang has had."""
        self._started += 1
        return f"{self.assignment.holder}-{self._started - 1}"

    def gang(self) -> Gang:
        """A new gang; its ranks come as soon as there is a place for all of them."""
        count, each = self.resources.fewest_ranks, self.resources.ranks_per_bundle
        group = None
        if count > 1:
            bundle = {"CPU": self.resources.cpus * each, "GPU": self.resources.gpus * each}
            needed = {name: amount for name, amount in bundle.items() if amount}
            group = placement_group(
                [needed] * (count // each),
                strategy=STRATEGIES.get(self.resources.hosts, "STRICT_SPREAD"),
                bundle_label_selector=[self._labels] * (count // each) if self._labels else None,
            )
        return Gang(self.name(), [self._member(group, number // each) for number in range(count)], group)

    @property
    def _labels(self) -> dict[str, str]:
        """What Ray's labels of a host have to be."""
        types = self.resources.accelerators
        wanted = types[0] if len(types) == 1 else f"in({','.join(types)})"
        return {ACCELERATOR_LABEL: wanted} if types else {}

    def again(self, gang: Gang, dead: Member) -> Gang:
        """A gang of the ranks that are left of another one, and a new one in the place of that which has died."""
        members = [self._member(gang.group, dead.bundle) if each is dead else each for each in gang.members]
        return Gang(self.name(), members, gang.group)

    def dismiss(self, gang: Gang) -> None:
        """Ends a gang's ranks and gives up their places."""
        for member in gang.members:
            self.dismiss_one(member)
        if gang.group is not None:
            remove_placement_group(gang.group)

    def dismiss_one(self, member: Member) -> None:
        """Ends a rank."""
        self.beats.remove(member.actor)
        ray.kill(member.actor)

    def _member(self, group: Any, bundle: int) -> Member:
        options: dict[str, Any] = {
            "num_cpus": self.resources.cpus,
            "num_gpus": self.resources.gpus,
            "max_concurrency": THREADS,
            "label_selector": self._labels if group is None else {},
        }
        if group is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group, bundle)
        make: Any = ray.remote(Rank).options(**options)
        actor = make.remote(self.assignment)
        return Member(actor, self.beats.add(actor), bundle)


def addresses(members: Sequence[Member]) -> list[str]:
    """By which address each of them is called by the others."""
    places = [member.where for member in members if member.where is not None]
    is_one_host = len({where.node for where in places}) == 1
    return [HERE if is_one_host else where.address for where in places]


def seats(called: Sequence[str], port: int, within_s: float) -> list[Seat]:
    """The seats of ranks that meet at a port of the first one, by their addresses."""
    return [Seat(number, len(called), called[0], port, address, within_s) for number, address in enumerate(called)]
