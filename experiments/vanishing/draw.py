"""Draws what the sweep found: gradients by layer before the first step, and accuracy over depth.

python experiments/vanishing/draw.py vanishing [more sweeps of other seeds …] --home .podium --out vanishing.png
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

import podium

SCHEMES = {"small_normal": "#D55E00", "xavier_normal": "#009E73", "he_normal": "#0072B2"}
STYLES = {"relu": "-", "sigmoid": "--", True: "-", False: "--"}
LABELS = {"relu": "relu", "sigmoid": "sigmoid", True: "with shortcuts", False: "without shortcuts"}
SHOWN_DEPTH = {"mlp": 8, "resnet": 4}
TITLES = {
    "mlp": "Fully connected, 8 hidden layers",
    "resnet": "Convolutional, 18 layers: a residual network and its plain twin",
}
CHANCE = 0.1
TINY = 1e-16


def read(sweep: str, home: Path) -> list[dict]:
    """One row a trial: its settings, accuracy, verdict, and the gradient norms of its layers before the first step."""
    rows = []
    for number, trial in podium.load_result(sweep, home).trials().iterrows():
        if trial["state"] != "complete":
            continue
        moments = json.loads((home / "artifacts" / sweep / f"{number:05d}" / "diagnosis.json").read_text())
        kind = trial["params.network.kind"]
        rows.append(
            {
                "kind": kind,
                "depth": int(trial["params.network.depth"]),
                "variant": trial["params.network.activation"]
                if kind == "mlp"
                else bool(trial["params.network.shortcuts"]),
                "scheme": trial["params.initializer.scheme"],
                "accuracy": trial["value"],
                "verdict": trial["verdict"],
                "gradients": [layer["gradient"] for layer in moments[0]["layers"]],
            }
        )
    return rows


def draw(rows: list[dict]) -> Figure:
    kinds = [kind for kind in TITLES if any(row["kind"] == kind for row in rows)]
    figure = Figure(figsize=(6.2 * len(kinds), 8.4), layout="constrained")
    panels = figure.subplots(2, len(kinds), squeeze=False)
    for column, kind in enumerate(kinds):
        own = [row for row in rows if row["kind"] == kind]
        _gradients(panels[0][column], [row for row in own if row["depth"] == SHOWN_DEPTH[kind]])
        _accuracy(panels[1][column], own)
        panels[0][column].set_title(TITLES[kind])
    return figure


def _gradients(axes, rows: list[dict]) -> None:
    for variant, scheme in sorted({(row["variant"], row["scheme"]) for row in rows}, key=str):
        found = [row["gradients"] for row in rows if (row["variant"], row["scheme"]) == (variant, scheme)]
        means = [
            statistics.geometric_mean(max(each or 0, TINY) for each in layer) for layer in zip(*found, strict=True)
        ]
        label = f"{LABELS[variant]}, {scheme}"
        axes.plot(range(1, len(means) + 1), means, STYLES[variant], color=SCHEMES[scheme], marker=".", label=label)
    axes.set_yscale("log")
    axes.set_xlabel("layer, from input to output")
    axes.set_ylabel("gradient norm before the first step")
    axes.legend(frameon=False, fontsize=8)


def _accuracy(axes, rows: list[dict]) -> None:
    points: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        layers = row["depth"] if row["kind"] == "mlp" else len(row["gradients"])
        points[row["variant"], row["scheme"]][layers].append(row["accuracy"] or 0)
    for (variant, scheme), by_layers in sorted(points.items(), key=str):
        depths = sorted(by_layers)
        means = [statistics.fmean(by_layers[depth]) for depth in depths]
        spreads = [max(by_layers[depth]) - min(by_layers[depth]) for depth in depths]
        axes.errorbar(
            depths, means, [spread / 2 for spread in spreads], fmt=STYLES[variant], color=SCHEMES[scheme], marker="."
        )
    axes.axhline(CHANCE, color="#999999", linewidth=0.8)
    axes.set_ylim(0, 1)
    axes.set_xlabel("hidden layers" if rows and rows[0]["kind"] == "mlp" else "layers")
    axes.set_ylabel("validation accuracy")


def table(rows: list[dict]) -> str:
    """Mean accuracy and half its range over the seeds, by network."""
    found = defaultdict(list)
    for row in rows:
        found[row["kind"], row["variant"], row["depth"], row["scheme"]].append(row["accuracy"] or 0)
    lines = [f"| network | depth | {' | '.join(SCHEMES)} |", f"| --- | --- |{' --- |' * len(SCHEMES)}"]
    order = sorted(found, key=lambda key: (key[0], str(key[1]), key[2]))
    for kind, variant, depth in dict.fromkeys(key[:3] for key in order):
        cells = [found[kind, variant, depth, scheme] for scheme in SCHEMES]
        shown = [_cell(values) for values in cells]
        lines.append(f"| {kind}, {LABELS[variant]} | {depth} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="+")
    parser.add_argument("--home", type=Path, default=Path(".podium"))
    parser.add_argument("--out", type=Path, default=Path("vanishing.png"))
    given = parser.parse_args()
    rows = [row for sweep in given.sweeps for row in read(sweep, given.home)]
    draw(rows).savefig(given.out, dpi=110)
    print(table(rows))
    print(f"\n{given.out}")


if __name__ == "__main__":
    main()
