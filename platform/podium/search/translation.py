"""Parameters and trials in Optuna's terms: what one trial of the ledger is shown as."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Shown

from podium.spec import constraints
from podium.spec.space import Choice, Domain, Float, Int, Parameter, Space, Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

WORST = sys.float_info.max
"""What a value that is not a number is shown as, with the sign that is worse."""

SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""Optuna wants times, and no sampler reads them."""

Label = bool | int | float | str | None


class Translation:
    """Shows the trials of one sweep in Optuna's terms.

    Parameters of equal name (under conditions that exclude each other) get names of their own, since Optuna knows one
    distribution for each name.

    Args:
        spec: The sweep.
        space: The part of its space that is shown; all of it if absent.
    """

    def __init__(self, spec: SweepSpec, space: Space | None = None) -> None:
        self.space = space or spec.space()
        self._objectives = spec.search.objectives
        self._constraints = tuple(map(constraints.parse, spec.search.constraints))
        self.directions = [
            StudyDirection.MAXIMIZE if objective.direction == "maximize" else StudyDirection.MINIMIZE
            for objective in self._objectives
        ]
        alike = Counter(parameter.name for parameter in self.space.parameters)
        self._named = [
            (f"{parameter.name}#{index}" if alike[parameter.name] > 1 else parameter.name, parameter)
            for index, parameter in enumerate(self.space.parameters)
        ]
        self._names = {id(parameter): name for name, parameter in self._named}
        self._keys = {name: parameter.name for name, parameter in self._named}
        self._distributions = {name: _distribution(parameter.domain) for name, parameter in self._named}

    def name(self, parameter: Parameter) -> str:
        """The name under which Optuna knows `parameter`."""
        return self._names[id(parameter)]

    def key(self, name: str) -> str:
        """The searched key that Optuna knows as `name`."""
        return self._keys[name]

    def distribution(self, parameter: Parameter) -> BaseDistribution:
        """The domain of `parameter`."""
        return self._distributions[self.name(parameter)]

    def score(self, trial: Trial) -> tuple[float, ...]:
        """Orders trials as samplers do, the best first, as (infeasible, unfinished, -rung, losses…)."""
        state = self.state(trial)
        if state is Shown.FAIL or None in trial.last_values:
            return (2.0, 0.0, 0.0, *self.losses(trial))
        infeasible = any(violation > 0 for violation in self._violations(trial).values())
        return (float(infeasible), float(state is not Shown.COMPLETE), -trial.rung, *self.losses(trial))

    def losses(self, trial: Trial) -> tuple[float, ...]:
        """The last values with their signs turned so that lower is better; worst where there is none."""
        values = trial.last_values or (None,) * len(self._objectives)
        return tuple(
            WORST if value is None else -value if direction is StudyDirection.MAXIMIZE else value
            for value, direction in zip(values, self.directions, strict=True)
        )

    def state(self, trial: Trial) -> Shown:
        """The state that a trial is shown in.

        A stopped trial that reached no rung and misses no constraint has taught nothing, and is shown as failed.
        """
        if trial.state in (TrialState.WAITING, TrialState.RUNNING):
            return Shown.RUNNING
        if trial.state is TrialState.COMPLETE and trial.values:
            return Shown.PRUNED if None in trial.last_values else Shown.COMPLETE
        if trial.state is TrialState.DIVERGED:
            return Shown.PRUNED
        if trial.state in (TrialState.STOPPED, TrialState.PAUSED):
            taught = trial.values or any(violation > 0 for violation in self._violations(trial).values())
            return Shown.PRUNED if taught else Shown.FAIL
        return Shown.FAIL

    def can_show(self, trial: Trial) -> bool:
        """Whether its parameters lie in the space, but for those that the space holds fixed at the same value."""
        fixed = self.space.fixed
        own = {name: value for name, value in trial.parameters.items() if name not in fixed or fixed[name] != value}
        return self.space.contains(own)

    def show(self, trial: Trial, number: int) -> FrozenTrial | None:
        """The trial under Optuna's `number`; None if its parameters lie outside of the space."""
        if not self.can_show(trial):
            return None
        state = self.state(trial)
        values = [value for value in trial.last_values if value is not None] if state is Shown.COMPLETE else None
        shown = self._frozen(trial, number, state, values, self._intermediate(trial))
        if state in (Shown.COMPLETE, Shown.PRUNED):
            for name, violation in self._violations(trial).items():
                shown.set_constraint(name, violation)
        return shown

    def complete(self, trial: Trial, number: int, values: Sequence[float]) -> FrozenTrial:
        """The trial as if it were complete with `values`, for the study of importance."""
        return self._frozen(trial, number, Shown.COMPLETE, values, {})

    def _frozen(
        self,
        trial: Trial,
        number: int,
        state: Shown,
        values: Sequence[float] | None,
        intermediate: dict[int, float],
    ) -> FrozenTrial:
        params = self._params(trial.parameters)
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            values=values,
            datetime_start=SOME_TIME,
            datetime_complete=SOME_TIME if state.is_finished() else None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs={},
            system_attrs={},
            intermediate_values=intermediate,
        )

    def _intermediate(self, trial: Trial) -> dict[int, float]:
        """The first objective by rung; for several, Optuna takes none. A diverged trial stands below every rung."""
        if len(self.directions) > 1:
            return {}
        worst = -WORST if self.directions[0] is StudyDirection.MAXIMIZE else WORST
        if trial.state is TrialState.DIVERGED or None in trial.last_values:
            return {0: worst}
        return {rung: worst if values[0] is None else values[0] for rung, values in sorted(trial.values.items())}

    def _violations(self, trial: Trial) -> dict[str, float]:
        return {str(constraint): constraint.violation(trial.metrics) for constraint in self._constraints}

    def _params(self, values: Mapping[str, Value]) -> dict[str, Label]:
        active = {**self.space.fixed, **values}
        return {
            name: to_label(parameter.domain, values[parameter.name])
            for name, parameter in self._named
            if parameter.name in values and parameter.is_active(active)
        }


def to_label(domain: Domain, value: Value) -> Label:
    """What `value` is shown as: itself, but for lists (JSON) and stepped reals (their index), which Optuna rounds."""
    if isinstance(domain, Choice):
        return _labels(domain)[domain.options.index(value)]
    assert not isinstance(value, tuple)
    if isinstance(domain, Float) and domain.step is not None:
        assert isinstance(value, int | float)
        return round((value - domain.low) / domain.step)
    return value


def from_label(domain: Domain, label: Label) -> Value:
    """The value of `domain` that is shown as `label`."""
    if isinstance(domain, Choice):
        return domain.options[_labels(domain).index(label)]
    if isinstance(domain, Float) and domain.step is not None:
        assert isinstance(label, int)
        return (domain.values() or ())[label]
    return label


def _labels(domain: Choice) -> tuple[Label, ...]:
    if any(isinstance(option, tuple) for option in domain.options):
        return tuple(json.dumps(option) for option in domain.options)
    return tuple(option for option in domain.options if not isinstance(option, tuple))


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(_labels(domain))
    if isinstance(domain, Int):
        last = domain.high - (domain.high - domain.low) % domain.step
        return IntDistribution(domain.low, last, log=domain.log, step=domain.step)
    if domain.step is None:
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    return IntDistribution(0, len(domain.values() or ()) - 1)
