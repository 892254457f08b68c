"""The error against the amount of data, with the power law that fits it, as a table and a picture.

python experiments/how-much-data/picture.py [PICTURE] [--sweep NAME …] [--home HOME]
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray

import podium

mpl.use("Agg")
from matplotlib import pyplot as plt

BESIDE = Path(__file__).resolve().parent
TRAIN = 50_000
"""Digits that the whole share holds."""


@dataclass(frozen=True)
class PowerLaw:
    """error = factor * n^-exponent.

    Attributes:
        factor: The error at n = 1.
        exponent: How fast it falls.
        error: Standard error of the exponent.
    """

    factor: float
    exponent: float
    error: float


def errors(sweeps: Sequence[str], home: str | None) -> pd.DataFrame:
    """One row a trial: `n`, the digits it was trained on, and `error`, the share of validation digits it misread."""
    trials = pd.concat([podium.load_result(sweep, home).trials() for sweep in sweeps])
    trials = trials[trials["state"] == "complete"]
    return pd.DataFrame(
        {"n": (trials["params.data.share"] * TRAIN).round(), "error": 1 - trials["value"].astype(float)}
    )


def fit(n: NDArray[np.float64], error: NDArray[np.float64]) -> PowerLaw:
    """Least squares of log error over log n; the standard error is that of a slope, from the residuals."""
    design = np.stack([np.ones_like(n), np.log(n)], axis=1)
    (constant, slope), *_ = np.linalg.lstsq(design, np.log(error), rcond=None)
    residuals = np.log(error) - design @ np.array([constant, slope])
    variance = (residuals**2).sum() / (len(n) - 2) * np.linalg.inv(design.T @ design)[1, 1]
    return PowerLaw(float(np.exp(constant)), float(-slope), float(np.sqrt(variance)))


def draw(found: pd.DataFrame, law: PowerLaw, picture: Path) -> None:
    """Both axes logarithmic: every trial, means over seeds, the fitted line."""
    means = found.groupby("n")["error"].mean()
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axes.loglog(found["n"], found["error"], ".", color="0.6", label="a trial")
    axes.loglog(means.index, means, "o", label="mean over seeds")
    label = f"{law.factor:.2f} n$^{{-{law.exponent:.3f} \\pm {law.error:.3f}}}$"
    axes.loglog(means.index, law.factor * means.index.to_numpy() ** -law.exponent, "-", label=label)
    axes.set_xlabel("digits trained on")
    axes.set_ylabel("share of validation digits misread")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, default=BESIDE / "picture.png")
    parser.add_argument("--sweep", nargs="+", default=["how-much-data"])
    parser.add_argument("--home")
    given = parser.parse_args()
    found = errors(given.sweep, given.home)
    print(found.groupby("n")["error"].agg(["mean", "std", "min", "max", "count"]).round(4).to_string())
    for least in sorted(found["n"].unique())[:-2][:4]:
        kept = found[found["n"] >= least]
        law = fit(kept["n"].to_numpy(), kept["error"].to_numpy())
        print(f"from {least:.0f} digits on: error = {law.factor:.3g} n^-({law.exponent:.3f} ± {law.error:.3f})")
    draw(found, fit(found["n"].to_numpy(), found["error"].to_numpy()), given.picture)


if __name__ == "__main__":
    main()
