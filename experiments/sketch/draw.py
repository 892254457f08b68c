"""A sheet of drawings that the best network of the sweep makes up: `python experiments/sketch/draw.py`."""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from podium.training.toolbox.networks.sketch_rnn import SketchRnn, generate
from podium.wiring.networks import load_network
from podium.wiring.place import Place

mpl.use("Agg")


def draw() -> None:
    """Reads the best checkpoint, and writes a PNG."""
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", default="sketch")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sheep.png"))
    given = parser.parse_args()
    network = load_network(Place.of(given.home), given.sweep).module
    assert isinstance(network, SketchRnn)
    figure, places = pyplot.subplots(5, 8, figsize=(12, 8))
    drawings = generate(network, places.size, given.seed, temperature=given.temperature)
    for axes, drawing in zip(places.flat, drawings, strict=True):
        points, lifted = drawing[:, :2].numpy().cumsum(axis=0), drawing[:, 2].numpy() > 0
        for stroke in np.split(points, np.flatnonzero(lifted) + 1):
            axes.plot(stroke[:, 0], -stroke[:, 1], color="black", linewidth=1)
        axes.set_aspect("equal", "datalim")
        axes.axis("off")
    figure.savefig(given.out, dpi=100, bbox_inches="tight")
    print(given.out)


if __name__ == "__main__":
    draw()
