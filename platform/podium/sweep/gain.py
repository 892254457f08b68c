"""What gangs lose most of their time to, and the one change of settings that would help most. Pure."""

import math
from collections.abc import Callable, Mapping

from podium.sweep.spans import Use
from podium.sweep.timeline import Timeline

WORTH = 0.05
"""Of gang time; no cause that takes less is worth a change."""

START_UP_SHARE = 0.1
"""What start-up may take of gang time, where a larger budget is advised."""

Totals = Mapping[Use, float]

WORKING = (Use.TRAINING, Use.REDONE, Use.DATA, Use.CHECKPOINT)


def advice(timeline: Timeline) -> str:
    """One sentence: the largest share of gang time that went into no training, and what would change it."""
    totals: Totals = {use: seconds for use, seconds in timeline.totals.items() if use is not Use.AWAY}
    whole = sum(totals.values())
    if not whole:
        return "No gang has been there yet."
    worst = max((use for use in totals if use is not Use.TRAINING), key=lambda use: totals[use])
    if totals[worst] < WORTH * whole:
        return f"Gangs trained in {totals[Use.TRAINING] / whole:.0%} of their time, and nothing else took {WORTH:.0%}."
    return f"{totals[worst] / whole:.0%} of gang time {_ADVICE[worst](timeline, totals)}."


def _fewer_gangs(timeline: Timeline, totals: Totals) -> str:
    """What was trained fills so many gangs."""
    most, wall_s = _most_at_once(timeline), _wall_s(timeline)
    needed = max(1, math.ceil(sum(totals[use] for use in WORKING) / wall_s))
    told = "had nothing to do, since no trial was ready and none was left to be drawn"
    if needed < most:
        gangs = "1 gang" if needed == 1 else f"{needed} gangs"
        return f"{told}: {gangs} instead of {most} would do for as much training, or a larger budget.trials"
    return f"{told}: a larger budget.trials would fill it"


def _more_trials(timeline: Timeline, totals: Totals) -> str:
    startup_s, gangs, trials = totals[Use.START_UP], len(timeline.rows), timeline.machine.budget
    rest_s = sum(totals.values()) - startup_s
    each = f" ({startup_s / gangs:.3g} s for each of {gangs:,})" if gangs else ""
    told = f"went into starting gangs{each}"
    if not rest_s or startup_s < START_UP_SHARE * (startup_s + rest_s):
        return f"{told}: a larger budget.trials for each launch makes it matter less"
    needed = math.ceil(trials * startup_s * (1 - START_UP_SHARE) / START_UP_SHARE / rest_s)
    return f"{told}: with {needed:,} trials a launch instead of {trials:,} it would be {START_UP_SHARE:.0%}"


def _nearer_data(timeline: Timeline, totals: Totals) -> str:
    return "was spent waiting for batches: a --store on disks of the gangs' hosts, or hosts with memory for all shards"


def _fewer_checkpoints(timeline: Timeline, totals: Totals) -> str:
    spec = timeline.machine.spec
    rungs = len(spec.rungs())
    if spec.budget.policy != "none" and rungs > 2:
        return (
            f"went into checkpoints: with a budget.epochs.factor above {spec.budget.epochs.factor} there are fewer "
            f"than {rungs} rungs, each of which writes one"
        )
    return "went into checkpoints: a --store on a faster disk would write them sooner"


def _quicker_sampler(timeline: Timeline, totals: Totals) -> str:
    sampler = timeline.machine.spec.search.sampler
    if sampler in ("random", "qmc", "grid", "list"):
        return "was spent waiting for proposals, which are made one after the other: fewer gangs, or longer trials"
    return f"was spent waiting for the proposals of search.sampler {sampler}: random and qmc propose at once"


def _smaller_gangs(timeline: Timeline, totals: Totals) -> str:
    ranks = timeline.machine.spec.resources.fewest_ranks
    fewer = "fewer resources.ranks for each gang, or " if ranks > 1 else ""
    return f"was spent waiting for places on the cluster: {fewer}devices that no one else holds"


def _safer(timeline: Timeline, totals: Totals) -> str:
    every_s = timeline.machine.spec.checkpoints.every_s
    return f"was trained in vain by advances that broke off: a checkpoints.every_s below {every_s:g} would lose less"


_ADVICE: Mapping[Use, Callable[[Timeline, Totals], str]] = {
    Use.NOTHING: _fewer_gangs,
    Use.START_UP: _more_trials,
    Use.DATA: _nearer_data,
    Use.CHECKPOINT: _fewer_checkpoints,
    Use.PROPOSALS: _quicker_sampler,
    Use.GANG: _smaller_gangs,
    Use.REDONE: _safer,
}


def _most_at_once(timeline: Timeline) -> int:
    """The most gangs that were there at one time."""
    changes = sorted(
        (at, change) for row in timeline.rows for at, change in ((row.begin, 1), (row.end or math.inf, -1))
    )
    most = there = 0
    for _, change in changes:
        there += change
        most = max(most, there)
    return most


def _wall_s(timeline: Timeline) -> float:
    """Seconds in which there was any gang."""
    away_s = sum(wait.end - wait.begin for wait in timeline.all_waits)
    return max(timeline.end - timeline.begin - away_s, 1e-9)
