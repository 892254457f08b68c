"""The roster: all trials of a sweep, the states they may move between, and the best of them. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from podium.errors import LedgerError
from podium.sweep.messages import Advance, Advanced, Lane, Saved
from podium.sweep.ranking import Ranking
from podium.sweep.trial import Trial, TrialState

TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.WAITING: frozenset({TrialState.RUNNING, TrialState.STOPPED, TrialState.CANCELLED}),
    TrialState.RUNNING: frozenset(TrialState) - {TrialState.RUNNING},
    TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.STOPPED, TrialState.CANCELLED}),
}
"""From each state the states that may follow; endings have none."""

IDLE = (TrialState.WAITING, TrialState.PAUSED)


class Roster:
    """The trials.

    Attributes:
        trials: By number, the newest snapshot of each.
        waiting: The waiting ones, in the order in which they began to wait.
        ranking: Compares them.
        has_complete: Whether any has had its full budget.
    """

    def __init__(self, ranking: Ranking) -> None:
        self.trials: dict[int, Trial] = {}
        self.waiting: dict[int, None] = {}
        self._paused: set[int] = set()
        self._idle_at: Counter[int] = Counter()
        self.has_complete = False
        self.ranking = ranking
        self._best: int | None = None

    def add(self, trial: Trial) -> None:
        """A new trial waits."""
        self.trials[trial.number] = trial
        self.waiting[trial.number] = None
        self._idle_at[trial.epoch] += 1

    def change(self, number: int, **changes: Any) -> None:
        """Replaces what is known of a trial, but for its state."""
        self.trials[number] = self.trials[number].but(**changes)

    def move(self, number: int, state: TrialState, **changes: Any) -> None:
        """Moves a trial to another state.

        Raises:
            LedgerError: for a move that `TRANSITIONS` does not allow.
        """
        trial = self.trials[number]
        if state not in TRANSITIONS.get(trial.state, frozenset()):
            raise LedgerError(f"trial {number} is {trial.state} and cannot become {state}: {trial}")
        self.trials[number] = trial.but(state=state, **changes)
        self.waiting.pop(number, None)
        self._paused.discard(number)
        self._idle_at[trial.epoch] += (state in IDLE) - (trial.state in IDLE)
        self.has_complete |= state is TrialState.COMPLETE
        if state is TrialState.WAITING:
            self.waiting[number] = None
        elif state is TrialState.PAUSED:
            self._paused.add(number)

    def save(self, saved: Saved) -> bool:
        """Notes the newest checkpoint of a running trial; returns whether it is one."""
        trial = self.trials.get(saved.trial)
        if trial is None or trial.state is not TrialState.RUNNING:
            return False
        is_new = (saved.epoch, saved.step) >= (trial.saved_epoch, trial.saved_step)
        if is_new:
            self.change(saved.trial, folder=saved.folder, saved_epoch=saved.epoch, saved_step=saved.step)
        return is_new

    def lane(self, number: int) -> Lane:
        """Where a trial starts: at its last checkpoint."""
        trial = self.trials[number]
        return Lane(
            trial=number,
            parameters=dict(trial.parameters),
            seed=trial.seed,
            epoch=trial.saved_epoch,
            step=trial.saved_step,
            folder=trial.folder,
            reached=trial.epoch,
        )

    def note_lanes(self, advance: Advance, ended: Advanced, efficiency: float | None) -> None:
        """Notes in which cohort and lane each trial was trained, by how many ranks, and what these used."""
        lanes = {lane.trial: index for index, lane in enumerate(advance.lanes)}
        for report in ended.reports:
            self.change(
                report.trial,
                cohort=advance.key,
                lane=lanes[report.trial],
                lanes=len(lanes),
                width=report.width,
                ranks=report.ranks,
                strategy=report.strategy,
                verdict=report.verdict,
                usage=ended.usage,
                efficiency=self.trials[report.trial].efficiency if efficiency is None else efficiency,
            )

    def end_all(self, ending: TrialState, reason: str) -> None:
        """Ends what is left when the sweep ends: paused trials are stopped, waiting ones get the `ending`."""
        for trial in self.ones(TrialState.PAUSED):
            self.move(trial.number, TrialState.STOPPED, reason=f"paused at rung {trial.rung} when the sweep ended")
        for trial in self.ones(TrialState.WAITING):
            self.move(trial.number, ending, reason=f"waiting when the sweep ended: {reason}")

    def is_paused(self, number: int) -> bool:
        """Whether a trial is paused."""
        return number in self._paused

    @property
    def has_unfinished(self) -> bool:
        """Whether any trial waits or is paused."""
        return bool(self.waiting or self._paused)

    @property
    def furthest(self) -> int:
        """The most epochs that a waiting or paused trial has reported."""
        return max((epoch for epoch, trials in self._idle_at.items() if trials), default=0)

    def ones(self, state: TrialState) -> list[Trial]:
        """The trials in a state."""
        return [trial for trial in self.trials.values() if trial.state is state]

    def best(self) -> Trial | None:
        """The best trial, as far as `note_best` was told of changes."""
        return None if self._best is None else self.trials[self._best]

    def note_best(self, number: int) -> None:
        """Compares one changed trial with the best; looks at all only if the best itself was lost."""
        best = self.best()
        contenders = [self.trials[number]] if best is None else [best, self.trials[number]]
        lost = best is not None and not self.ranking.is_candidate(best)
        new = self.ranking.best(self.trials.values() if lost else contenders)
        self._best = None if new is None else new.number
