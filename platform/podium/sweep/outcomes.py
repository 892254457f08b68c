"""Outcomes: what follows for a trial when its advance ended, broke off, or is no longer wanted. Pure."""

import math

from podium.spec.sweep import SweepSpec
from podium.sweep.judge import Judge
from podium.sweep.messages import Cause, Report
from podium.sweep.roster import Roster
from podium.sweep.rungs import Verdict
from podium.sweep.trial import TrialState

BLAMELESS: tuple[Cause, ...] = ("preempted", "storage")
"""Causes that are no trial's fault, and have no limit."""


class Outcomes:
    """Moves trials from running to what comes next.

    Args:
        spec: The sweep.
        roster: Its trials.
        judge: Says who goes on.

    Attributes:
        failures: Trials that failed since the sweep was launched or went on.
    """

    def __init__(self, spec: SweepSpec, roster: Roster, judge: Judge) -> None:
        self._spec, self._roster, self._judge = spec, roster, judge
        self._cancelled: dict[int, str] = {}
        self.failures = 0

    def cancel(self, number: int, reason: str) -> None:
        """A user wants the end of a trial: at once, or when its advance ends."""
        state = self._roster.trials[number].state
        if state is TrialState.RUNNING:
            self._cancelled.setdefault(number, reason)
        elif not state.is_ended:
            self._roster.move(number, TrialState.CANCELLED, reason=reason)

    @property
    def has_cancelled(self) -> bool:
        """Whether any running trial is to be ended."""
        return bool(self._cancelled)

    def is_cancelled(self, number: int) -> bool:
        """Whether a running trial is to be ended."""
        return number in self._cancelled

    def settle(self, report: Report, until: int) -> None:
        """The trial reported on its advance to `until`."""
        number, move = report.trial, self._roster.move
        if report.ending == "halted":
            self.go_back(number)
        elif report.ending == "diverged":
            move(number, TrialState.DIVERGED, reason=report.reason or "the objective is not a number")
        elif report.ending == "infeasible":
            move(number, TrialState.STOPPED, reason=report.reason)
        elif report.ending in ("patience", "returned"):
            move(number, TrialState.COMPLETE, reason=report.reason or "trained to its own end")
        elif self._judge.is_last(number, until):
            move(number, TrialState.COMPLETE, reason="full budget")
        else:
            self._roster.change(number, alone=False)
            self._compare(number, until)
        self._roster.note_best(number)
        if number in self._cancelled:
            reason = self._cancelled.pop(number)
            if not self._roster.trials[number].state.is_ended:
                move(number, TrialState.CANCELLED, reason=reason)

    def break_off(self, number: int, gang: str, cause: Cause, detail: str, log_tail: str, *, has_mates: bool) -> None:
        """The trial's advance ended without a report, on a gang: it goes back to its last checkpoint, or fails.

        With mates nobody knows whose fault it was: it is held against none of them, and each goes on alone.
        """
        trial = self._roster.trials[number]
        is_fault = cause not in BLAMELESS
        alone = trial.alone or is_fault
        self._roster.change(number, avoids=gang, alone=alone, cause=cause, log_tail=log_tail)
        if has_mates and is_fault:
            self.go_back(number)
            return
        attempts = {**trial.attempts, cause: trial.attempts.get(cause, 0) + 1}
        self._roster.change(number, attempts=attempts)
        if number in self._cancelled or attempts[cause] <= self._allowed(cause):
            self.go_back(number)
            return
        reason = f"{cause} after {attempts[cause]} attempt(s): {detail}"
        self._roster.move(number, TrialState.FAILED, reason=reason)
        self._roster.note_best(number)
        self.failures += 1

    def go_back(self, number: int) -> None:
        """A running trial goes back to its last checkpoint, unless a user stopped it."""
        if number in self._cancelled:
            self._roster.move(number, TrialState.CANCELLED, reason=self._cancelled.pop(number))
        else:
            self._roster.move(number, TrialState.WAITING)

    def _compare(self, number: int, rung: int) -> None:
        match self._judge.verdict(number, rung):
            case Verdict.STOP:
                self._roster.move(number, TrialState.STOPPED, reason=f"not among the best at rung {rung}")
            case Verdict.CONTINUE:
                self._roster.move(number, TrialState.WAITING)
            case Verdict.PAUSE:
                self._judge.hold_back(number, rung)
                self._roster.move(number, TrialState.PAUSED)

    def _allowed(self, cause: Cause) -> float:
        """How often an advance of one trial may break off by a cause before the trial fails."""
        limit: float = getattr(self._spec.retries, cause, math.inf)
        return limit
