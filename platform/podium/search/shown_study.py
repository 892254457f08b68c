"""What people are shown of a sweep in Optuna's terms: every trial under its own number, with all that is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Shown

from podium.masking import Secrets
from podium.search.translation import Translation, to_label
from podium.spec import constraints
from podium.spec.space import Float, Parameter, Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

STATES = {
    TrialState.COMPLETE: Shown.COMPLETE,
    TrialState.STOPPED: Shown.PRUNED,
    TrialState.DIVERGED: Shown.PRUNED,
    TrialState.PAUSED: Shown.PRUNED,
    TrialState.FAILED: Shown.FAIL,
    TrialState.CANCELLED: Shown.FAIL,
    TrialState.RUNNING: Shown.RUNNING,
    TrialState.WAITING: Shown.WAITING,
}

Label = bool | int | float | str | None

Key = TypeVar("Key")


@dataclass(frozen=True)
class Lived:
    """A trial and what its snapshot does not say.

    Attributes:
        trial: The snapshot.
        curve: The first objective's value after each epoch; None stands for not a number.
        began: When it was first trained, in seconds since 1970; None if it never was.
        left: When it ended, or was last put aside.
        run: Its run in MLflow; empty if it has none.
    """

    trial: Trial
    curve: Sequence[tuple[int, float | None]] = ()
    began: float | None = None
    left: float | None = None
    run: str = ""


class ShownStudy:
    """Turns the trials of one sweep into Optuna's.

    What a sampler is shown differs: there steps are numbered and a diverged trial has the worst value there is. Here
    steps are steps, values those of every epoch, and what was not a number is not one.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._translation = Translation(spec)
        self._secrets = Secrets()
        self._constraints = tuple(map(constraints.parse, spec.search.constraints))
        self._fixed = self._translation.space.fixed
        self.metrics = [objective.metric for objective in spec.search.objectives]
        self.constraints = list(map(str, self._constraints))

    @property
    def directions(self) -> list[StudyDirection]:
        """Of the objectives."""
        return self._translation.directions

    def show(self, lived: Lived) -> FrozenTrial:
        """One trial. Parameters that lie outside of the space, as a user may enqueue them, are attributes of it."""
        trial, state = lived.trial, self._state(lived.trial)
        params, distributions, outside = self._parameters(trial.parameters)
        began = lived.began if lived.began is not None or state is Shown.WAITING else lived.left or 0.0
        system: dict[str, Any] = {"fixed_params": params} if state is Shown.WAITING else {}
        if self._constraints and trial.metrics:
            system["constraints"] = [each.violation(trial.metrics) for each in self._constraints]
        return FrozenTrial(
            number=trial.number,
            trial_id=trial.number,
            state=state,
            value=None,
            values=self._values(trial, state),
            datetime_start=_at(began),
            datetime_complete=_at(lived.left if lived.left is not None else began) if state.is_finished() else None,
            params=params,
            distributions=distributions,
            user_attrs={**self._hidden({**_attributes(lived), **outside}), **self._rungs(trial)},
            system_attrs=system,
            intermediate_values=self._intermediate(lived),
        )

    def _state(self, trial: Trial) -> Shown:
        state = STATES[trial.state]
        is_valued = bool(trial.last_values) and None not in trial.last_values
        return Shown.FAIL if state is Shown.COMPLETE and not is_valued else state

    def _values(self, trial: Trial, state: Shown) -> list[float] | None:
        """Those at the rung reached; a stopped trial of several objectives has none in Optuna."""
        values = [value for value in trial.last_values if value is not None]
        is_told = state is Shown.COMPLETE or (state is Shown.PRUNED and len(self.metrics) == 1)
        return values if is_told and values and trial.state is not TrialState.DIVERGED else None

    def _intermediate(self, lived: Lived) -> dict[int, float]:
        """The value of each epoch, or at least of each rung; Optuna takes none for several objectives.

        A diverged trial ends with a value that is not a number, however it was found out.
        """
        if len(self.metrics) > 1:
            return {}
        rungs = {rung: values[0] for rung, values in lived.trial.values.items()}
        found = {step: math.nan if value is None else value for step, value in (rungs | dict(lived.curve)).items()}
        if lived.trial.state is TrialState.DIVERGED and not any(map(math.isnan, found.values())):
            found[max(found, default=0) + 1] = math.nan
        return dict(sorted(found.items()))

    def _rungs(self, trial: Trial) -> dict[str, Any]:
        """Of several objectives the values by rung, for which Optuna has no other place."""
        if len(self.metrics) == 1:
            return {}
        return {
            f"{metric} at rung {rung}": values[index]
            for rung, values in sorted(trial.values.items())
            for index, metric in enumerate(self.metrics)
        }

    def _parameters(
        self, values: Mapping[str, Value]
    ) -> tuple[dict[str, Label], dict[str, BaseDistribution], dict[str, Value]]:
        """The parameters within the space, their distributions, and what lies outside."""
        active = {**self._fixed, **values}
        inside = [
            parameter
            for parameter in self._translation.space.parameters
            if parameter.is_active(active)
            and parameter.name in values
            and parameter.domain.contains(values[parameter.name])
        ]
        names = {parameter.name: self._translation.name(parameter) for parameter in inside}
        return (
            self._hidden({names[each.name]: _label(each, values[each.name]) for each in inside}),
            {names[each.name]: self._distribution(each) for each in inside},
            {key: value for key, value in values.items() if key not in names},
        )

    def _distribution(self, parameter: Parameter) -> BaseDistribution:
        domain = parameter.domain
        if isinstance(domain, Float) and domain.step is not None:
            last = (domain.values() or (domain.high,))[-1]
            assert isinstance(last, int | float)
            return FloatDistribution(domain.low, last, step=domain.step)
        made = self._translation.distribution(parameter)
        if isinstance(made, CategoricalDistribution):
            return CategoricalDistribution(list(self._hidden(dict(enumerate(made.choices))).values()))
        return made

    def _hidden(self, values: Mapping[Key, Any]) -> dict[Key, Any]:
        """The values, secrets in texts masked."""
        return {key: self._secrets.hide(value) if isinstance(value, str) else value for key, value in values.items()}


def _label(parameter: Parameter, value: Value) -> Label:
    domain = parameter.domain
    if isinstance(domain, Float):
        assert isinstance(value, int | float)
        return float(value)
    return to_label(domain, value)


def _attributes(lived: Lived) -> dict[str, Any]:
    """What Podium knows of a trial and Optuna has no place for."""
    trial = lived.trial
    found = {
        "state": str(trial.state),
        "reason": trial.reason,
        "verdict": trial.verdict,
        "rung": trial.rung,
        "epoch": trial.epoch,
        "best_epoch": trial.best_epoch,
        "seed": trial.seed,
        "gang": trial.gang,
        "cohort": trial.cohort,
        "lane": trial.lane,
        "lanes": trial.lanes,
        "device_s": round(trial.device_s, 3),
        "mlflow_run": lived.run,
    }
    return {key: value for key, value in found.items() if value != ""}


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
