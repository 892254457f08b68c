"""A forest of decision trees that grows step by step, cross-validated on scikit-learn's digits."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold

FOREST = {"random": RandomForestClassifier, "extra": ExtraTreesClassifier}
CLASSES = 10
FOLDS = 3
MOST_STEPS = 1000


def train(trial: Any) -> None:
    """Grows `trees_a_step` trees in every fold, adds what they say about the fold's held-out images, and reports.

    All that a forest needs to go on is the sum of its trees' votes, so that is the checkpoint.
    """
    images, labels = load_digits(return_X_y=True)
    done, votes = 0, np.zeros((len(labels), CLASSES))
    if trial.saved is not None:
        with np.load(trial.saved / "forest.npz") as saved:
            done, votes = int(saved["step"]), saved["votes"]
    print(f"{trial.params['kind']} forest from step {done}")
    for step in range(done + 1, MOST_STEPS + 1):
        votes += grow(trial.params, images, labels, seed=(trial.seed, step))
        with trial.checkpoint() as folder:
            np.savez(folder / "forest.npz", step=step, votes=votes)
        trial.report(step, measure(votes / step, labels))


def grow(
    params: Mapping[str, Any], images: NDArray[Any], labels: NDArray[Any], seed: tuple[int, int]
) -> NDArray[np.float64]:
    """Class probabilities `[N, 10]` of every image, by new trees that were grown without its fold."""
    probabilities = np.empty((len(labels), CLASSES))
    seeds = np.random.SeedSequence(seed).generate_state(FOLDS)
    for (kept, held), fold_seed in zip(folds(images, labels), seeds, strict=True):
        forest = FOREST[params["kind"]](
            n_estimators=params["trees_a_step"],
            criterion=params["criterion"],
            max_features=params["max_features"],
            max_depth=params["max_depth"],
            min_samples_leaf=params["min_samples_leaf"],
            bootstrap=params["bootstrap"],
            max_samples=params["max_samples"] if params["bootstrap"] else None,
            random_state=int(fold_seed),
        )
        probabilities[held] = forest.fit(images[kept], labels[kept]).predict_proba(images[held])
    return probabilities


def folds(images: NDArray[Any], labels: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The same folds for every trial: indices to grow on, and indices held out."""
    yield from StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(images, labels)


def measure(probabilities: NDArray[np.float64], labels: NDArray[Any]) -> dict[str, float]:
    """The cross-validated metrics of probabilities `[N, 10]`."""
    return {
        "validation/accuracy": float(accuracy_score(labels, probabilities.argmax(axis=1))),
        "validation/log_loss": float(log_loss(labels, probabilities)),
    }
