"""What trials are worth on whole images that were held out: the Dice of each, and a picture of the best of each kind.

    python experiments/tumour/evaluate.py tumour --home .podium

The threshold is chosen on the validation images, for each trial its own; the test images are read here alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import task
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import podium
from podium.api import Result, TrainedNetwork

THRESHOLDS = np.arange(0.1, 0.9, 0.05)
PICTURE = Path(__file__).with_name("overlays.jpg")
STRIDE = 4
"""For whole images the classifier's patches lie closer together than for its training."""

SHOWN, SIDE = ("TCGA-18-5592", "TCGA-E2-A14V"), 250
"""The images in the picture, and how much of them, from the upper left corner."""


Pictures = Sequence[task.Picture]


def maps(network: TrainedNetwork, pictures: Pictures) -> list[NDArray[np.float32]]:
    """For each image the probability of a nucleus at each pixel, `[height, width]`."""
    if network.parameters["network.kind"] == "convnet":
        network.module.stride = STRIDE
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (network.schema.mean, network.schema.std))
    found = []
    for _, image, mask in pictures:
        even, _ = task.even_colours(image, mask)
        with torch.inference_mode():
            scores = network.module((torch.from_numpy(even)[None].float() - mean) / std)
        found.append(scores.softmax(dim=1)[0, 1].numpy())
    return found


def dice(answer: NDArray[np.bool_], mask: NDArray[np.uint8]) -> float:
    """2 |A and B| / (|A| + |B|), of one image."""
    return float(2 * (answer & (mask > 0)).sum() / max(1, answer.sum() + mask.sum()))


def scores(found: Sequence[NDArray[np.float32]], pictures: Pictures, threshold: float) -> list[float]:
    """The Dice of each image."""
    return [dice(each >= threshold, mask) for each, (_, _, mask) in zip(found, pictures, strict=True)]


def by_threshold(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Nuclei without any learning: what is dark in red light, by Otsu's threshold (1979), colours made alike."""
    even, _ = task.even_colours(image, image[0])
    shares = np.bincount(even[0].ravel(), minlength=256) / even[0].size
    below, sums = shares.cumsum(), (shares * np.arange(256)).cumsum()
    between = (sums[-1] * below - sums) ** 2 / np.maximum(below * (1 - below), 1e-9)
    return np.asarray(even[0] <= between.argmax())


def overlay(image: NDArray[np.uint8], mask: NDArray[np.uint8], answer: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Green: rightly found; red: found where there is none; blue: missed."""
    shown = np.moveaxis(image, 0, -1).astype(np.float32)
    for where, colour in (
        (answer & (mask > 0), (0, 200, 0)),
        (answer & (mask == 0), (230, 0, 0)),
        (~answer & (mask > 0), (0, 60, 255)),
    ):
        shown[where] = 0.45 * shown[where] + 0.55 * np.array(colour)
    return shown.astype(np.uint8)


@dataclass(frozen=True)
class Found:
    """What a trial's network finds in the test images."""

    kind: str
    trial: int
    threshold: float
    maps: Sequence[NDArray[np.float32]]
    scores: Sequence[float]


def measured(network: TrainedNetwork, validation: Pictures, test: Pictures) -> Found:
    """The threshold with the best mean Dice on the validation images, and the Dice of each test image with it."""
    found = maps(network, validation)
    threshold = float(max(THRESHOLDS, key=lambda each: np.mean(scores(found, validation, each))))
    found = maps(network, test)
    kind = str(network.parameters["network.kind"])
    return Found(kind, network.trial, threshold, found, scores(found, test, threshold))


def picture(test: Pictures, found: Sequence[Found]) -> Image.Image:
    """For each image shown: the tissue, and for each trial the probability of a nucleus and what became of it."""
    rows = []
    for (patient, image, mask), *each in zip(
        test, *([(one.threshold, a) for a in one.maps] for one in found), strict=True
    ):
        if patient in SHOWN:
            parts = [np.moveaxis(image, 0, -1)]
            for threshold, given in each:
                parts.append(np.repeat((given * 255).astype(np.uint8)[..., None], 3, axis=2))
                parts.append(overlay(image, mask, given >= threshold))
            rows.append(np.concatenate([part[:SIDE, :SIDE] for part in parts], axis=1))
    made = Image.fromarray(np.concatenate([np.full_like(rows[0][:20], 255), *rows]))
    titles = ["tissue", *(f"{one.kind}: {what}" for one in found for what in ("probability", "right, wrong, missed"))]
    for column, title in enumerate(titles):
        ImageDraw.Draw(made).text((column * SIDE + 4, 4), title, fill=(0, 0, 0))
    return made


def main() -> None:
    """Prints a line a trial, and saves the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", default="tumour")
    parser.add_argument("--home")
    given = parser.parse_args()
    result: Result = podium.load_result(given.sweep, given.home)
    validation, test = list(task.pictures("validation")), list(task.pictures("test"))
    plain = [dice(by_threshold(image), mask) for _, image, mask in test]
    print(line("Otsu's threshold", plain))
    print(line("all is nucleus", [dice(mask >= 0, mask) for _, _, mask in test]))
    best: dict[str, Found] = {}
    for number in result.trials().dropna(subset="value").sort_values("value").index:
        found = measured(result.network(int(number)), validation, test)
        best[found.kind] = found
        print(line(f"{found.kind}, trial {found.trial}, threshold {found.threshold:.2f}", found.scores))
    picture(test, [best[kind] for kind in sorted(best)]).save(PICTURE, quality=62)
    print(f"wrote {PICTURE}")


def line(what: str, found: Sequence[float]) -> str:
    """Mean and spread over images, and each of them."""
    each = " ".join(f"{one:.3f}" for one in found)
    return f"{what:36} Dice {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f} over images: {each}"


if __name__ == "__main__":
    main()
