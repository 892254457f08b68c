"""What trials are worth on the published test frames, at the masks' own resolution, and a sheet of colours.

    python experiments/streets/evaluate.py streets --home .podium

A network is shown a frame at the size that it was trained on, and its scores are brought to 240 x 180 pixels. The test
frames are read here alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import task
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional

import podium
from podium.api import Result, TrainedNetwork

SHEET = Path(__file__).with_name("sheet.jpg")
SHOWN = (0, 80, 150, 220)
"""The test frames on the sheet."""

COLOURS = np.array(
    [
        (128, 180, 230), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (80, 140, 20), (230, 150, 30),
        (64, 64, 128), (150, 0, 190), (230, 230, 0), (0, 190, 190), (0, 0, 0),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""One for each class of `task.CLASSES`."""


def answers(network: TrainedNetwork, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.int64]]:
    """For each image the class of each pixel, `[height, width]`, which is never void."""
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (network.schema.mean, network.schema.std))
    found = []
    for image in images:
        given = torch.from_numpy(image)[None].float()
        resized = functional.interpolate(given, network.schema.inputs[1:], mode="bilinear", antialias=True)
        with torch.inference_mode():
            scores = network.module((resized - mean) / std)[:, : task.VOID]
        scores = functional.interpolate(scores, image.shape[1:], mode="bilinear")
        found.append(scores[0].argmax(dim=0).numpy())
    return found


def confusion(found: Sequence[NDArray[np.int64]], masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """`[11, 11]`: the pixels of each class (rows) that were taken for each (columns), all frames together."""
    pairs = [
        task.VOID * mask[mask < task.VOID].astype(int) + answer[mask < task.VOID]
        for answer, mask in zip(found, masks, strict=True)
    ]
    return np.bincount(np.concatenate(pairs), minlength=task.VOID**2).reshape(task.VOID, task.VOID)


def intersections_over_unions(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each class tp / (tp + fp + fn)."""
    own = np.diag(matrix)
    return np.asarray(own / (matrix.sum(axis=0) + matrix.sum(axis=1) - own))


def sheet(
    images: Sequence[NDArray[np.uint8]], masks: Sequence[NDArray[np.uint8]], found: Sequence[NDArray[np.int64]]
) -> Image.Image:
    """For some frames a row of the photograph, the mask and the answer, and the colours' names below."""
    rows = [
        np.concatenate([np.moveaxis(images[row], 0, -1), COLOURS[masks[row]], COLOURS[found[row]]], axis=1)
        for row in SHOWN
    ]
    width = rows[0].shape[1]
    made = Image.fromarray(np.concatenate([*rows, np.full((40, width, 3), 255, np.uint8)]))
    pen = ImageDraw.Draw(made)
    for number, (name, colour) in enumerate(zip(task.CLASSES, COLOURS, strict=True)):
        left, top = number % 6 * width // 6 + 4, made.height - 38 + number // 6 * 19
        pen.rectangle((left, top, left + 14, top + 14), fill=tuple(int(each) for each in colour))
        pen.text((left + 20, top + 1), name, fill=(0, 0, 0))
    return made


def main() -> None:
    """Prints a line a trial, the classes of the best one, and saves the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", default="streets")
    parser.add_argument("--home")
    given = parser.parse_args()
    result: Result = podium.load_result(given.sweep, given.home)
    _, images, masks = zip(*task.pictures("test"), strict=True)
    trials = result.trials().dropna(subset="value")
    for number in trials.index[trials["rung"] == trials["rung"].max()]:
        found = answers(result.network(int(number)), images)
        matrix = confusion(found, masks)
        each, accuracy = intersections_over_unions(matrix), np.trace(matrix) / matrix.sum()
        print(
            f"trial {number}: validation {trials['value'][number]:.3f}, test mean IoU {each.mean():.3f}, "
            f"pixels right {accuracy:.3f}"
        )
        print("  " + ", ".join(f"{name} {one:.2f}" for name, one in zip(task.CLASSES, each, strict=False)))
        if result.best is not None and number == result.best["trial"]:
            sheet(images, masks, found).save(SHEET, quality=82)
            print(f"wrote {SHEET}")


if __name__ == "__main__":
    main()
