"""The judge: enters reports at their rungs, and says who goes on. Pure."""

import math
from collections.abc import Iterator

from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Report
from podium.sweep.roster import Roster
from podium.sweep.rungs import AshaStop, Verdict, make_policy
from podium.sweep.standings import Standings


class Judge:
    """Applies the sweep's policy to its trials.

    Args:
        spec: The sweep.
        roster: Its trials; their values are noted here, their states are not.
    """

    def __init__(self, spec: SweepSpec, roster: Roster) -> None:
        factor = spec.budget.epochs.factor
        self._policy = make_policy(spec.budget.policy, spec.rungs(), factor)
        self._at_once = AshaStop(spec.rungs(), factor)
        self._standings = Standings(self._policy)
        self._roster = roster

    def first_rung(self, number: int) -> int:
        """The epoch at which a trial is compared first, also one that is not drawn yet."""
        return self._policy.rungs(number)[0]

    def next_rung(self, number: int) -> int:
        """The epoch at which a trial is compared next."""
        reached = self._roster.trials[number].rung
        return next(rung for rung in self._policy.rungs(number) if rung > reached)

    def is_last(self, number: int, rung: int) -> bool:
        """Whether a rung is a trial's full budget."""
        return rung >= self._policy.rungs(number)[-1]

    def record(self, report: Report, until: int) -> Report:
        """Notes a report on an advance to `until`, and enters it at every rung it stands for.

        A trial that ended by itself stands for all higher rungs; one that was halted, or refused before it was
        trained, for none; one that diverged counts at `until` as worst of all. A value that is not finite is a
        divergence, whatever the worker called it: the report comes back with its true ending.
        """
        if None in report.values and report.ending not in ("halted", "infeasible"):
            report = report.model_copy(update={"ending": "diverged"})
        number, trial = report.trial, self._roster.trials[report.trial]
        device_s = trial.device_s + report.device_s
        if report.ending in ("halted", "infeasible"):
            self._roster.change(number, metrics={**trial.metrics, **report.metrics}, device_s=device_s)
            return report
        trained_out = report.ending in ("patience", "returned")
        reached = [rung for rung in self._policy.rungs(number) if rung == until or (trained_out and rung > until)]
        diverged = report.ending == "diverged"
        self._roster.change(
            number,
            epoch=report.epoch,
            values={**trial.values, **({} if diverged else dict.fromkeys(reached, report.values))},
            metrics=report.metrics,
            best_epoch=report.best_epoch,
            device_s=device_s,
        )
        loss = math.inf if diverged else self._roster.ranking.loss(report.values)
        for rung in reached:
            self._standings.enter(number, rung, loss)
        return report

    def verdict(self, number: int, rung: int) -> Verdict:
        """What happens to a trial at a rung below its full budget; one without a checkpoint cannot pause there."""
        trial = self._roster.trials[number]
        loss, losses = self._roster.ranking.loss(trial.values[rung]), self._standings.losses(number, rung)
        verdict = self._policy.verdict(loss, losses)
        if verdict is Verdict.PAUSE and trial.saved_epoch < rung:
            verdict = self._at_once.verdict(loss, losses)
        return verdict

    def hold_back(self, number: int, rung: int) -> None:
        """Notes that a trial pauses at a rung."""
        self._standings.pause(number, rung, self._roster.ranking.loss(self._roster.trials[number].values[rung]))

    def let_go(self, number: int) -> None:
        """Notes that a paused trial goes on from its rung."""
        self._standings.leave(number)

    def promotable(self) -> Iterator[int]:
        """The paused trials that may go on, those of the highest rung first, then the best first."""
        return self._standings.promotable(self._roster.is_paused)

    def best_paused(self) -> int | None:
        """The best paused trial of the highest rung, whatever the policy says; None if none is paused."""
        return self._standings.best_paused(self._roster.is_paused)
