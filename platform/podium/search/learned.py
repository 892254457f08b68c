"""Samplers that learn from the trials so far, and plain random draws: Optuna's, over the view of the ledger.

TPE: Bergstra et al., 2011, NeurIPS 24, multivariate as in Falkner et al., 2018, arXiv:1807.01774; over conditional
spaces in groups of parameters that are active together. GP: log expected improvement, Ament et al., 2023,
arXiv:2310.20708.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from podium.search.gallery import Gallery
from podium.search.method import Point, seed_of
from podium.search.translation import Label, Translation, from_label
from podium.search.view import NAME, LedgerView
from podium.spec.space import Parameter, Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial


class Learned:
    """Draws with a sampler that is new for each ask, seeded by (search.seed, number).

    A sampler that lived on would, once resumed, repeat its first draws.
    """

    def __init__(self, spec: SweepSpec, prior: Iterable[Trial] = ()) -> None:
        self._search = spec.search
        self._translation = Translation(spec)
        self._gallery = Gallery(self._translation, prior)

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point:
        """One point; what is `given` stays as it is."""
        learns = self._search.sampler != "random"
        shown = self._gallery.hang({own: trial for own, trial in trials.items() if own != number}) if learns else []
        view = LedgerView(self._translation.directions, shown, self._gallery.number(number))

        def choose(parameter: Parameter) -> Value:
            if parameter.name in given:
                return given[parameter.name]
            label = _suggest(asked, self._translation.name(parameter), self._translation.distribution(parameter))
            return from_label(parameter.domain, label)

        with _silence():
            study = optuna.load_study(study_name=NAME, storage=view, sampler=self._sampler(number))
            asked = study.ask()
            return Point(self._translation.space.walk(choose))

    def _sampler(self, number: int) -> BaseSampler:
        seed = seed_of(self._search.seed, number)
        if self._search.sampler == "random":
            return RandomSampler(seed=seed)
        if self._search.sampler == "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        if self._translation.space.is_conditional:
            return TPESampler(seed=seed, multivariate=True, group=True)
        translation = self._translation
        space = {translation.name(each): translation.distribution(each) for each in translation.space.parameters}
        return _WholeSpace(space, seed)


class _WholeSpace(TPESampler):
    """TPE over a space whose parameters are all active in every trial: there is nothing to find out from the trials."""

    def __init__(self, space: dict[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, multivariate=True)
        self._space = {name: distribution for name, distribution in space.items() if not distribution.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All of it."""
        return self._space


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps Optuna's remarks on its own working from a user who did not choose it."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)


def _suggest(asked: optuna.Trial, name: str, distribution: BaseDistribution) -> Label:
    """Draws one parameter, as one of Python's own types."""
    drawn: Label
    if isinstance(distribution, CategoricalDistribution):
        drawn = asked.suggest_categorical(name, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        drawn = int(
            asked.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        )
    else:
        assert isinstance(distribution, FloatDistribution)
        low, high = distribution.low, distribution.high
        drawn = float(asked.suggest_float(name, low, high, step=distribution.step, log=distribution.log))
        drawn = min(max(drawn, low), high)
    return drawn
