"""Which parameters matter, for the plots."""

import warnings
from collections.abc import Iterable

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState as Shown

from podium.search.translation import Translation
from podium.search.view import NAME, LedgerView
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial

FEWEST_TRIALS = 10
"""Below so many trials a ranking of parameters would be noise."""


def importance(spec: SweepSpec, trials: Iterable[Trial]) -> dict[str, float]:
    """Shares of the searched keys in what separates the best trials from the rest, the largest first.

    PED-ANOVA (Watanabe et al., 2023, arXiv:2304.10255) needs an order of trials only. With one objective it is the
    sampler's: the higher rung first, then the better value; so trials that a policy stopped count as well.

    Returns:
        Shares by key, which add up to 1; empty where there are too few trials, or nothing that varies.
    """
    translation = Translation(spec)
    several = len(translation.directions) > 1
    states = (Shown.COMPLETE,) if several else (Shown.COMPLETE, Shown.PRUNED)
    judged = [
        trial
        for trial in sorted(trials, key=lambda trial: (*translation.score(trial), trial.number))
        if translation.state(trial) in states and translation.space.contains(trial.parameters)
    ]
    if len(judged) < FEWEST_TRIALS or not translation.space.parameters:
        return {}
    shown = [
        translation.complete(trial, place, translation.losses(trial) if several else (float(place),))
        for place, trial in enumerate(judged)
    ]
    view = LedgerView([StudyDirection.MINIMIZE] * len(translation.directions), shown, len(shown))
    study = optuna.load_study(study_name=NAME, storage=view, sampler=optuna.samplers.RandomSampler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that conditional parameters are judged from few trials
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    merged: dict[str, float] = {}
    for name, share in shares.items():
        key = translation.key(name)
        merged[key] = merged.get(key, 0.0) + share
    return dict(sorted(merged.items(), key=lambda item: (-item[1], item[0])))
