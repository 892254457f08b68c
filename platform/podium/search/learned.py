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

from podium.search.gallery import MATE_OF, MATES_SHOWN, MOST_SHOWN, Gallery
from podium.search.mates import Mates
from podium.search.method import Point, seed_of
from podium.search.translation import Label, Translation, from_label
from podium.search.view import NAME, LedgerView
from podium.spec.space import Parameter, Value
from podium.spec.sweep import SearchSettings, SweepSpec
from podium.sweep.trial import Trial

Key = frozenset[tuple[str, Value]]


class Learned:
    """Draws with a sampler that is new for each ask, seeded by (search.seed, number).

    A sampler that lived on would, once resumed, repeat its first draws.
    """

    def __init__(self, spec: SweepSpec, prior: Iterable[Trial] = ()) -> None:
        space = spec.space()
        self._spec, self._mates = spec, Mates(space)
        self._whole = _Study(spec.search, Gallery(Translation(spec, space), prior, MOST_SHOWN, merges=True))
        self._studies: dict[Key, _Study] = {}
        self._numbers: dict[Key, list[int]] = {}
        self._sorted: set[int] = set()

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point:
        """One point; what is `given` stays as it is."""
        return Point(self._whole.draw(number, given, trials))

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point:
        """One point from a study that holds only the trials of the lead's signature, over the rest of the parameters.

        The study of all trials would draw the rest for the signatures that it thinks best, not for this one.
        """
        for own in trials.keys() - self._sorted:
            self._numbers.setdefault(self._key(trials[own]), []).append(own)
        self._sorted |= trials.keys()
        shared, key = self._mates.shared(lead.parameters), self._key(lead)
        if key not in self._studies:
            rest = Translation(self._spec, self._mates.rest(shared))
            gallery = Gallery(rest, self._whole.gallery.prior, MATES_SHOWN, merges=False)
            self._studies[key] = _Study(self._spec.search, gallery)
        alike = {own: trials[own] for own in self._numbers.get(key, ()) if own in trials}
        return Point({**shared, **self._studies[key].draw(number, {}, alike)}, {MATE_OF: lead.number})

    def _key(self, trial: Trial) -> Key:
        return frozenset(self._mates.shared(trial.parameters).items())


class _Study:
    """A space, and the trials that a sampler is shown of it."""

    def __init__(self, search: SearchSettings, gallery: Gallery) -> None:
        self._search, self.gallery, self._translation = search, gallery, gallery.translation

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> dict[str, Value]:
        """Parameters of the space; what is `given` stays as it is."""
        learns = self._search.sampler != "random"
        shown = self.gallery.hang({own: trial for own, trial in trials.items() if own != number}) if learns else []
        view = LedgerView(self._translation.directions, shown, self.gallery.number(number))

        def choose(parameter: Parameter) -> Value:
            if parameter.name in given:
                return given[parameter.name]
            label = _suggest(asked, self._translation.name(parameter), self._translation.distribution(parameter))
            return from_label(parameter.domain, label)

        with _silence():
            study = optuna.load_study(study_name=NAME, storage=view, sampler=self._sampler(number))
            asked = study.ask()
            return self._translation.space.walk(choose)

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
