"""Retention: which of a sweep's checkpoints nothing needs, and which go when they take too much room. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from podium.sweep.messages import Saved
from podium.sweep.ranking import Ranking
from podium.sweep.trial import Trial, TrialState


def superseded(trial: Trial, saved: Sequence[Saved], keep: int) -> list[Saved]:
    """The checkpoints of one trial that nothing needs any more.

    Args:
        trial: The trial.
        saved: Its checkpoints, in the order in which they were made.
        keep: How many stay while it lives; once it has ended its last one does, which holds the best weights too.
    """
    if trial.state.is_ended:
        return [each for each in saved if each.folder != trial.folder]
    kept = useful(trial, saved)[:keep]
    return [each for each in saved if each not in kept]


def useful(trial: Trial, saved: Sequence[Saved]) -> list[Saved]:
    """The checkpoints that a living trial could go on from, the best first: what is beyond its last was never told."""
    reached = trial.saved_epoch, trial.saved_step
    before = [each for each in saved if (each.epoch, each.step) <= reached]
    return sorted(reversed(before), key=lambda each: (each.folder == trial.folder, each.epoch, each.step), reverse=True)


def surplus(
    trials: Mapping[int, Trial],
    saved: Mapping[int, Sequence[Saved]],
    spared: Collection[int],
    ranking: Ranking,
    excess: int,
) -> list[Saved]:
    """The checkpoints that go to make room.

    Losers go first: ended trials, those that did not complete before those that did; then older checkpoints of trials
    that live; then paused trials; among equals the worst first. The newest checkpoint of a trial that runs or waits
    stays, and that of a spared one, even if too few bytes come together.

    Args:
        trials: All trials.
        saved: By trial, its checkpoints in the order in which they were made.
        spared: The trials to spare: the best, and the promotable ones.
        ranking: Compares trials.
        excess: Bytes to come together.
    """

    def worth(trial: Trial) -> tuple[float, ...]:
        return tuple(-part for part in ranking.order(trial)) if ranking.is_candidate(trial) else ()

    candidates: list[tuple[tuple[int, bool, tuple[float, ...]], Saved]] = []
    for number, ones in saved.items():
        trial = trials[number]
        newest = useful(trial, ones)[:1]
        for each in ones:
            is_spared = each in newest and (number in spared or trial.state in (TrialState.RUNNING, TrialState.WAITING))
            if not is_spared:
                group = 0 if trial.state.is_ended else 1 if each not in newest else 2
                candidates.append(((group, trial.state is TrialState.COMPLETE, worth(trial)), each))
    candidates.sort(key=lambda candidate: candidate[0])
    return list(_until(excess, (each for _, each in candidates)))


def _until(excess: int, saved: Iterable[Saved]) -> Iterable[Saved]:
    for each in saved:
        if excess <= 0:
            return
        yield each
        excess -= each.bytes
