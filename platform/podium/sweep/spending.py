"""Spending: what training takes of devices and money, what of it was in vain, and what there still is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podium.spec.space import signature
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, GangReady, Host
from podium.sweep.roster import Roster
from podium.sweep.trial import NOTHING, Spent, Trial, TrialState

HOUR_S = 3600.0


@dataclass
class Meter:
    """What one advance has taken so far, for each of its lanes; how long; and by trial, what of it is in the books."""

    each: Spent = NOTHING
    seconds: float = 0.0
    booked: dict[int, Spent] = field(default_factory=dict)


class Spending:
    """Books the devices' time and money to trials, and knows what the sweep may still begin.

    Args:
        spec: The sweep.
        roster: Its trials; what they have taken is noted here.

    Attributes:
        total: What all advances have taken, those that run included.
        limits: By the name of its setting, each limit that there is.
    """

    def __init__(self, spec: SweepSpec, roster: Roster) -> None:
        self._budget, self._resources, self._fixed = spec.budget, spec.resources, spec.fixed()
        self._roster = roster
        self._per_hour: dict[str, Spent] = {}
        self._meters: dict[str, Meter] = {}
        self._kinds: dict[int, object] = {}
        self._epoch: dict[object, Spent] = {}
        self._epochs = NOTHING
        self._coming: dict[tuple[str, ...], Spent] = {}
        self._ended, self._ended_s = 0, 0.0
        self.total = NOTHING
        limits = {"gpu_hours": spec.budget.gpu_hours, "cost": spec.budget.cost}
        self.limits = {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def is_limited(self) -> bool:
        """Whether the sweep may take only so much."""
        return bool(self.limits)

    @property
    def advance_s(self) -> float | None:
        """How many seconds an advance has taken on average; None before the first has ended."""
        return self._ended_s / self._ended if self._ended else None

    # books

    def welcome(self, ready: GangReady) -> None:
        """Notes what a gang takes and costs."""
        ranks, cpus, gpus = self._resources.fewest_ranks, self._resources.cpus, self._resources.gpus
        hosts = ready.hosts or (Host(),) * ranks
        cost = sum(self._budget.hourly(host.group, host.accelerator, cpus, gpus) for host in hosts)
        self._per_hour[ready.gang] = Spent(gpu_s=gpus * ranks * HOUR_S, cpu_s=cpus * ranks * HOUR_S, cost=cost)

    def charge(self, advances: Iterable[Advance], seconds: float) -> None:
        """Some advances have run for so long; what they took is shared by their lanes in equal parts."""
        self._coming.clear()
        shares: dict[tuple[float, ...], tuple[Spent, Spent]] = {}
        for advance in advances:
            rate, lanes = self._rate(advance.gangs), len(advance.lanes)
            kind = (rate.gpu_s, rate.cpu_s, rate.cost, lanes)
            if kind not in shares:
                taken = rate * (seconds / HOUR_S)
                shares[kind] = taken, taken * (1 / lanes)
            taken, each = shares[kind]
            self.total += taken
            meter = self._meters.setdefault(advance.key, Meter())
            meter.each += each
            meter.seconds += seconds

    def book(self, advance: Advance, trials: Iterable[int], *, is_lost: bool = False) -> None:
        """Enters what trials have taken since the last entry: it has led to a checkpoint or a report, or is lost."""
        meter = self._meters.get(advance.key, Meter())
        for number in trials:
            taken = meter.each + meter.booked.get(number, NOTHING) * -1.0
            meter.booked[number] = meter.each
            trial = self._roster.trials[number]
            lost = trial.lost + taken if is_lost else trial.lost
            self._roster.change(number, spent=trial.spent + taken, lost=lost)

    def close(self, advance: Advance, *, is_lost: bool = False) -> None:
        """An advance has ended, or broken off; of one that has trained whole epochs it is learned what these take."""
        self._coming.clear()
        self.book(advance, [lane.trial for lane in advance.lanes], is_lost=is_lost)
        meter = self._meters.pop(advance.key, None)
        trials = [self._roster.trials[lane.trial] for lane in advance.lanes]
        epochs = max(trial.epoch for trial in trials) - advance.lanes[0].epoch
        if meter is not None and not is_lost and epochs > 0:
            self._ended, self._ended_s = self._ended + 1, self._ended_s + meter.seconds
            taken, kind = meter.each * (len(trials) / epochs), self._kind(trials[0])
            known = self._epoch.get(kind, NOTHING)
            self._epoch[kind] = known.at_least(taken)
            self._epochs += self._epoch[kind] + known * -1.0

    # limits

    def extend(self, limits: Mapping[str, float | None]) -> None:
        """Raises limits that there are, where a higher one is given."""
        self.limits = {name: max(limit, limits.get(name) or 0.0) for name, limit in self.limits.items()}

    @property
    def is_exhausted(self) -> bool:
        """Whether a limit is reached."""
        return any(share >= 1 for share in self._shares(self.total).values())

    @property
    def reason(self) -> str:
        """Which limit is reached, or too near to go on, in words."""
        name, share = max(self._shares(self.total).items(), key=lambda item: item[1])
        limit = self.limits[name]
        if share >= 1:
            return f"budget.{name} {limit:g} reached at {share * limit:.4g}"
        return f"budget.{name} {limit:g}: {share * limit:.4g} is spent, and the rest does not suffice to train on"

    def affords(self, until: int, running: Iterable[Advance], trial: Trial | None = None, count: int = 1) -> bool:
        """Whether a trial can be trained to an epoch within the limits, beside what runs.

        What it takes to train the furthest trial to the end is left to that one, until one has got there. Before a
        first advance has ended nothing is known, and all is affordable. A kind of trial that was not trained yet is
        taken to need what others do on average.

        Args:
            until: To which epoch.
            running: The advances that run; what they are expected to take yet is spent already.
            trial: Which one; None for one that is not drawn yet.
            count: How many of its kind begin at once.
        """
        if not self.is_limited:
            return True
        advances = list(running)
        begun = 0 if trial is None else trial.saved_epoch
        coming = self._expected(trial) * ((until - begun) * count)
        coming += self._typical * self._reserved(0 if trial is None else trial.epoch, advances)
        coming += self._coming_of(advances)
        return all(share <= 1 for share in self._shares(self.total + coming).values())

    def _coming_of(self, advances: Sequence[Advance]) -> Spent:
        """What some advances are expected to take yet: it changes only as time is charged or one of them ends."""
        keys = tuple(advance.key for advance in advances)
        if keys not in self._coming:
            self._coming[keys] = total(map(self._rest, advances))
        return self._coming[keys]

    def _rest(self, advance: Advance) -> Spent:
        lead, meter = advance.lanes[0], self._meters.get(advance.key, Meter())
        whole = self._expected(self._roster.trials[lead.trial]) * (advance.until - lead.epoch)
        return (whole + meter.each * -len(advance.lanes)).at_least(NOTHING)

    def _reserved(self, reached: int, running: Iterable[Advance]) -> int:
        """Epochs that the furthest trial still needs, if that is another one than one that has got so far."""
        if self._roster.has_complete:
            return 0
        furthest = max([self._roster.furthest, *(advance.until for advance in running)])
        return 0 if reached >= furthest else self._budget.epochs.max - furthest

    def _shares(self, taken: Spent) -> dict[str, float]:
        """By limit that is set, what share of it that is."""
        amounts = {"gpu_hours": taken.gpu_s / HOUR_S, "cost": taken.cost}
        return {name: amounts[name] / limit for name, limit in self.limits.items()}

    def _rate(self, gangs: Sequence[str]) -> Spent:
        """What some gangs take in an hour."""
        if len(gangs) == 1:
            return self._per_hour.get(gangs[0], NOTHING)
        return total(self._per_hour.get(gang, NOTHING) for gang in gangs)

    def _expected(self, trial: Trial | None) -> Spent:
        """What an epoch of a trial takes."""
        known = None if trial is None else self._epoch.get(self._kind(trial))
        return known or self._typical

    @property
    def _typical(self) -> Spent:
        """What an epoch takes on average over the kinds of trials."""
        return self._epochs * (1 / max(len(self._epoch), 1))

    def _kind(self, trial: Trial) -> object:
        if trial.number not in self._kinds:
            self._kinds[trial.number] = signature(trial.parameters, self._fixed)
        return self._kinds[trial.number]


def wasted(trial: Trial) -> Spent:
    """What a trial has taken in vain: what had to be trained again, or everything.

    Time is lost if neither a checkpoint nor a report came of it, since its gang died or its advance broke off. All that
    a trial took was in vain if it has failed or diverged, or was ended before it reported at its first rung.
    """
    is_void = trial.state in (TrialState.FAILED, TrialState.DIVERGED) or (trial.state.is_ended and not trial.values)
    return trial.spent if is_void else trial.lost


def total(amounts: Iterable[Spent]) -> Spent:
    """Their sum."""
    return sum(amounts, NOTHING)


def figures(spent: Spent, in_vain: Spent) -> dict[str, float]:
    """What was spent, and what of it in vain, as people and programs read it; the share is one of cores' time."""
    return {
        "gpu_hours": spent.gpu_s / HOUR_S,
        "cpu_hours": spent.cpu_s / HOUR_S,
        "cost": spent.cost,
        "wasted_cost": in_vain.cost,
        "wasted_share": in_vain.cpu_s / spent.cpu_s if spent.cpu_s else 0.0,
    }
