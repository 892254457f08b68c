"""What the sweep found, as a table in the terminal and a picture: the best accuracy at each learning rate.

python experiments/first-guess/picture.py [PICTURE] [--sweep NAME] [--home HOME]
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import pandas as pd

import podium

mpl.use("Agg")
from matplotlib import pyplot as plt

BESIDE = Path(__file__).resolve().parent
KIND, DEPTH, RULE, RATE = (
    f"params.{key}" for key in ("network.kind", "network.depth", "optimizer.kind", "optimizer.learning_rate")
)


def table(sweep: str, home: str | None) -> pd.DataFrame:
    """A row for each network and optimizer, a column for each rate: validation accuracy; 0 where it diverged."""
    trials = podium.load_result(sweep, home).trials()
    trials = trials[trials["state"].isin(["complete", "diverged"])]
    network = trials[KIND] + " " + trials[DEPTH].astype(int).astype(str)
    values = pd.to_numeric(trials["value"], errors="coerce").fillna(0.0)
    frame = pd.DataFrame({"network": network, "optimizer": trials[RULE], "rate": trials[RATE], "accuracy": values})
    return frame.pivot_table(index=["optimizer", "network"], columns="rate", values="accuracy", aggfunc="mean")


def summary(accuracy: pd.DataFrame) -> pd.DataFrame:
    """For each rate: mean and lowest accuracy, and how many rows it serves well and best."""
    best = accuracy.max(axis=1)
    lost = accuracy.rsub(best, axis=0)
    return pd.DataFrame(
        {
            "mean": accuracy.mean(),
            "lowest": accuracy.min(),
            "within 0.02 of the best rate": (lost <= 0.02).sum(),
            "best": (lost == 0).sum(),
            "mean loss to the best rate": lost.mean(),
        }
    )


def draw(accuracy: pd.DataFrame, picture: Path) -> None:
    """A heat map: optimizers and networks down, rates across."""
    figure, axes = plt.subplots(figsize=(8, 11), layout="constrained")
    image = axes.imshow(accuracy.to_numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(accuracy.shape[1]), [f"{rate:g}" for rate in accuracy.columns])
    axes.set_yticks(range(len(accuracy)), [f"{optimizer}, {network}" for optimizer, network in accuracy.index])
    best = accuracy.to_numpy().argmax(axis=1)
    for row, values in enumerate(accuracy.to_numpy()):
        for column, value in enumerate(values):
            weight = "bold" if column == best[row] else "normal"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, weight=weight,
                      color="black" if value > 0.6 else "white")  # fmt: skip
    axes.set_xlabel("learning rate")
    axes.set_title("Validation accuracy of the best epoch; bold: the best rate of its row")
    figure.colorbar(image, ax=axes, shrink=0.4)
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, default=BESIDE / "picture.png")
    parser.add_argument("--sweep", default="first-guess")
    parser.add_argument("--home")
    given = parser.parse_args()
    accuracy = table(given.sweep, given.home)
    print(summary(accuracy).round(3).to_string())
    print(accuracy.groupby("optimizer").mean().round(3).to_string())
    draw(accuracy, given.picture)


if __name__ == "__main__":
    main()
