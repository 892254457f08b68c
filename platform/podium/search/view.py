"""LedgerView: the study that Optuna's samplers are shown, a read-only storage of our own over the ledger's trials.

Optuna's `tell` ends a trial for good, while a paused trial of ours may be promoted; so nothing is ever told, and
the view is remade for each ask.
"""

import copy
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Shown

from podium.search.translation import SOME_TIME

NAME = "sweep"


class LedgerView(BaseStorage):
    """One read-only study, and the trial that is being asked for.

    Args:
        directions: Of the objectives.
        trials: As they are shown, ascending by number.
        number: The number of the trial that is asked for.
    """

    def __init__(self, directions: Sequence[StudyDirection], trials: Sequence[FrozenTrial], number: int) -> None:
        self._directions = list(directions)
        self._trials = {trial.number: trial for trial in trials if trial.number != number}
        self._number = number

    def get_study_id_from_name(self, study_name: str) -> int:
        """The only study."""
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        """The only study's name."""
        return NAME

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Which way each objective is better."""
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """None are kept."""
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """None are kept."""
        return {}

    def get_all_studies(self) -> list[FrozenStudy]:
        """The only study."""
        return [FrozenStudy(NAME, None, {}, {}, 0, directions=self._directions)]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial by its number."""
        return self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[Shown] | None = None
    ) -> list[FrozenTrial]:
        """The trials shown, ascending by number."""
        trials = [trial for trial in self._trials.values() if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begins the trial that is asked for."""
        self._trials[self._number] = FrozenTrial(
            number=self._number,
            trial_id=self._number,
            state=Shown.RUNNING,
            value=None,
            datetime_start=SOME_TIME,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        return self._number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Notes a parameter of the trial that is asked for."""
        trial = self._trials[trial_id]
        trial.distributions[param_name] = distribution
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Notes what a sampler wants to find again during this ask."""
        self._trials[trial_id].system_attrs[key] = value

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Refused."""
        _refuse()

    def delete_study(self, study_id: int) -> None:
        """Refused."""
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refused."""
        _refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refused."""
        _refuse()

    def set_trial_state_values(self, trial_id: int, state: Shown, values: Sequence[float] | None = None) -> bool:
        """Refused: a trial ends in the ledger."""
        _refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Refused: a trial reports to the ledger."""
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Refused."""
        _refuse()


def _refuse() -> NoReturn:
    raise NotImplementedError("the study is a view of the ledger, and cannot be written to")
