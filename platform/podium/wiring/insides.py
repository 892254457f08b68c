"""Seeing inside of a trial's network: sheets of pictures made of its weights and of validation data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import UserError
from podium.tracking import sheets
from podium.tracking.sheets import Matrix, Reliability, Sheet, Tile, Tiles
from podium.wiring.networks import TrainedNetwork

if TYPE_CHECKING:
    import torch

MOST_SAMPLES, MOST_NUMBERS = 4096, 2**25
"""So many validation samples are looked at, and so many numbers of their inputs."""

MOST_FILTERS, MOST_CLASSES, MOST_MISTAKES = 64, 16, 16

EXPLAINED, PROJECTED, OVERLAID = 6, 6, 6
"""Samples that are explained, channels of each layer that are projected, samples of maps that are shown."""

PROJECTED_LAYERS = 2
PEAKED = 256
"""Samples among which each channel's strongest is looked for."""

EXAMPLES = 3
"""Samples that each channel is projected for."""


@dataclass(frozen=True)
class Looked:
    """A network with validation data that it was shown.

    Attributes:
        network: The network.
        inputs: `[N, channels, height, width]`, as the network takes them.
        targets: `[N, ...]`.
        answers: `[N, ...]`; the classes of pixels, where these are what it answers with.
    """

    network: TrainedNetwork
    inputs: NDArray[np.float32]
    targets: NDArray[Any]
    answers: NDArray[Any]

    @property
    def is_map(self) -> bool:
        """Whether it answers with a value for each pixel."""
        return self.answers.ndim > 2

    @property
    def names(self) -> Sequence[str]:
        """The classes' names."""
        schema = self.network.schema
        return schema.class_names or tuple(map(str, range(schema.classes)))

    def pixels(self, image: NDArray[Any]) -> NDArray[Any]:
        """An input as it was before it was normalized, to be drawn: `[height, width]` or `[height, width, 3]`."""
        schema = self.network.schema
        if schema.normalize:
            image = image * np.reshape(schema.std, (-1, 1, 1)) + np.reshape(schema.mean, (-1, 1, 1))
        if len(image) != 3:
            return np.asarray(image[0])
        return np.moveaxis(image / 255 if schema.input_dtype == "uint8" else _stretched(image), 0, -1)

    def tile(self, image: NDArray[Any], caption: str = "") -> Tile:
        """An input as a tile."""
        limits = (0.0, 255.0) if self.network.schema.input_dtype == "uint8" else None
        return Tile(self.pixels(image), caption, limits=limits)


def write(network: TrainedNetwork, folder: Path) -> list[str]:
    """Writes the pictures as PNG files, and `index.html` with all of them; returns their names.

    Raises:
        UserError: if the network's samples are no images.
    """
    if len(network.schema.inputs) != 3:
        raise UserError(
            f"sweep {network.spec.sweep!r} is over samples of shape {network.schema.inputs}, and pictures are made of "
            "networks for images, (channels, height, width)"
        )
    made = list(look(network))
    sheets.write(folder, f"Inside of trial {network.trial} of {network.spec.sweep}, epoch {network.epoch}", made)
    return [sheet.name for sheet in made]


def look(network: TrainedNetwork) -> Iterator[Sheet]:
    """The sheets that a network of images has something to show on."""
    looked = _shown(network)
    yield from _filters(network)
    if looked.is_map:
        yield from _maps(looked)
    elif network.link == "softmax":
        yield from _judged(looked)
    if not looked.is_map and network.link != "identity":
        yield _maximized(looked)
        yield _explained(looked)
    yield from _projected(looked)


def _shown(network: TrainedNetwork) -> Looked:
    from podium.training.answers import answers

    inputs, targets, found, count = [], [], [], 0
    most = max(1, min(MOST_SAMPLES, MOST_NUMBERS // int(np.prod(network.schema.inputs))))
    for batch, each in answers(network.module, network.link, network.reader(), "validation"):
        is_classes = each.dim() == 4 and network.link == "softmax"
        found.append((each.argmax(dim=1) if is_classes else each).numpy())
        inputs.append(batch.inputs)
        targets.append(batch.targets)
        count += len(batch.inputs)
        if count >= most:
            break
    looked = Looked(network, *(np.concatenate(each) for each in (inputs, targets, found)))
    if network.spec.task == "reconstruction":
        return replace(looked, targets=looked.inputs, answers=looked.answers.reshape(looked.inputs.shape))
    return looked


def _filters(network: TrainedNetwork) -> Iterator[Sheet]:
    from podium.training.inside.filters import first_filters

    filters = first_filters(network.module, network.schema.inputs)
    if filters is None:
        return
    strongest = filters.flatten(1).norm(dim=1).argsort(descending=True)[:MOST_FILTERS].sort().values
    chosen = filters[strongest].numpy()
    tiles = [
        Tile(np.moveaxis(_stretched(each), 0, -1)) if len(each) == 3 else Tile(each.mean(axis=0), signed=True)
        for each in chosen
    ]
    how = "as colours, grey where a weight is nothing" if chosen.shape[1] == 3 else "red above zero, blue below"
    text = f"The weights of the first layer, {how}: {len(chosen)} of {len(filters)} units, each at its own scale."
    yield Sheet("filters", "First-layer filters", text, Tiles(tiles, 8))


def _judged(looked: Looked) -> Iterator[Sheet]:
    from podium.training.inside.judging import calibrate, confusion, worst_mistakes

    truths, probabilities = looked.targets, looked.answers
    predicted = probabilities.argmax(axis=1)
    accuracy = float((predicted == truths).mean())
    counts = confusion(truths, predicted, len(looked.names))
    text = f"{len(truths):,} validation samples, of which {accuracy:.2%} are right: rows are what they are, columns "
    yield Sheet("confusion", "Confusion matrix", text + "what they were taken for.", Matrix(counts, looked.names))
    worst = worst_mistakes(probabilities, truths, MOST_MISTAKES)
    if len(worst):
        tiles = [looked.tile(looked.inputs[row], _verdict(looked, row)) for row in worst]
        text = "The validation samples whose class was thought least probable: what they are, and what they were taken "
        yield Sheet("mistakes", "Worst mistakes", text + "for, with that probability.", Tiles(tiles, 8))
    found = calibrate(probabilities, truths)
    text = (
        f"How often the network is right, by how sure it is. The expected calibration error is {found.error:.4f}: "
        "below the diagonal it is too sure of itself."
    )
    curve = Reliability(found.confidence, found.accuracy, found.counts)
    yield Sheet("calibration", "Calibration", text, curve)


def _verdict(looked: Looked, row: int) -> str:
    probabilities = looked.answers[row]
    taken = int(probabilities.argmax())
    return f"{looked.names[int(looked.targets[row])]}, not {looked.names[taken]} ({probabilities[taken]:.0%})"


def _maximized(looked: Looked) -> Sheet:
    import torch

    from podium.training.inside.maximization import maximize

    network, count = looked.network, min(looked.answers.shape[1], MOST_CLASSES)
    ends = [getattr(looked.inputs, end)(axis=(0, 2, 3))[:, None, None] for end in ("min", "max")]
    low, high = map(torch.from_numpy, ends)
    images = maximize(network.module, network.schema.inputs, torch.arange(count), (low, high)).numpy()
    names = looked.names or tuple(map(str, range(count)))
    tiles = [looked.tile(image, names[unit]) for unit, image in enumerate(images)]
    text = (
        "Images found by gradient ascent from the mean image, one for each class, that the network takes for that "
        "class most of all (activation maximization, with decay and blur)."
    )
    return Sheet("maximization", "What excites each class", text, Tiles(tiles, 8))


def _explained(looked: Looked) -> Sheet:
    import torch

    from podium.training.inside.attribution import integrated_gradients, occlusion

    rows = _first_of_each(looked)[:EXPLAINED]
    classes = torch.from_numpy(looked.answers[rows].argmax(axis=1))
    inputs, module = torch.from_numpy(looked.inputs[rows]), looked.network.module
    covered = occlusion(module, looked.network.link, inputs, classes).numpy()
    pixels = integrated_gradients(module, inputs, classes).numpy()
    names = looked.names or tuple(map(str, range(looked.answers.shape[1])))
    tiles: list[Tile] = []
    for place, row in enumerate(rows):
        tiles.append(looked.tile(looked.inputs[row], f"taken for {names[int(classes[place])]}"))
        tiles.append(Tile(covered[place], "occlusion", signed=True))
        tiles.append(Tile(pixels[place], "integrated gradients", signed=True))
    text = (
        "What speaks for the class that each validation sample was taken for, red, and what against it, blue. "
        "Occlusion: what its probability loses when a square is covered by the mean. Integrated gradients: what each "
        "pixel adds to its output on the way from the mean image."
    )
    return Sheet("explanations", "What it looks at", text, Tiles(tiles, 6))


def _first_of_each(looked: Looked) -> NDArray[np.int64]:
    """The first sample of each class, where targets are classes; else the first ones."""
    if looked.targets.ndim > 1 or not looked.network.schema.classes:
        return np.arange(len(looked.targets))
    return np.sort(np.unique(looked.targets, return_index=True)[1])


def _projected(looked: Looked) -> Iterator[Sheet]:
    import torch

    from podium.training.inside.projection import channel_peaks, convolutions

    layers = list(convolutions(looked.network.module).items())[1:]
    inputs = torch.from_numpy(looked.inputs[: max(1, min(PEAKED, MOST_NUMBERS // 64 // looked.inputs[0].size))])
    for number, (name, layer) in enumerate(layers[len(layers) // 2 :: max(1, len(layers) // 2)][:PROJECTED_LAYERS], 1):
        peaks = channel_peaks(looked.network.module, layer, inputs)
        tiles = list(_projections(looked, layer, inputs, peaks))
        text = (
            f"Channels of the convolution {name!r} that are excited most, a row each: the validation samples that do "
            "it, and what in them does (deconvolution after Zeiler and Fergus)."
        )
        yield Sheet(f"projections-{number}", f"What excites the convolution {name}", text, Tiles(tiles, 2 * EXAMPLES))


def _projections(
    looked: Looked, layer: "torch.nn.Conv2d", inputs: "torch.Tensor", peaks: "torch.Tensor"
) -> Iterator[Tile]:
    from podium.training.inside.projection import project

    strongest = peaks.amax(dim=0).argsort(descending=True)[:PROJECTED]
    for channel in strongest.tolist():
        rows = peaks[:, channel].argsort(descending=True)[:EXAMPLES]
        carried = project(looked.network.module, layer, inputs[rows], rows.new_full(rows.shape, channel)).numpy()
        for row, each in zip(rows.tolist(), carried, strict=True):
            yield looked.tile(looked.inputs[row], f"channel {channel}")
            yield Tile(each.sum(axis=0), "does it", signed=True)


def _maps(looked: Looked) -> Iterator[Sheet]:
    rows = np.linspace(0, len(looked.inputs) - 1, min(OVERLAID, len(looked.inputs))).astype(np.int64)
    network = looked.network
    if network.link == "softmax":
        from podium.training.inside.judging import confusion

        counts = confusion(looked.targets, looked.answers, network.schema.classes)
        share = float((looked.targets == looked.answers).mean())
        text = (
            f"Pixels of {len(looked.targets):,} validation images, of which {share:.2%} are right: rows are what they "
        )
        yield Sheet(
            "confusion",
            "Confusion matrix",
            text + "are, columns what they were taken for.",
            Matrix(counts, looked.names),
        )
    tiles: list[Tile] = []
    for row in rows:
        tiles.append(looked.tile(looked.inputs[row], "input"))
        for values, caption in ((looked.targets[row], "target"), (looked.answers[row], "output")):
            tiles.append(_map_tile(values, looked.targets[row], caption, has_classes=network.link == "softmax"))
    text = "Validation images, what is to be made of them, and what the network makes of them."
    yield Sheet("maps", "Input, target, output", text, Tiles(tiles, 3 if network.schema.inputs[2] > 200 else 6))


def _map_tile(values: NDArray[Any], target: NDArray[Any], caption: str, *, has_classes: bool) -> Tile:
    """A map of classes in colours; one of numbers by the limits of its target."""
    if has_classes and values.ndim == 2:
        return Tile(_coloured(values), caption)
    low, high = float(target.min()), float(target.max())
    picture = values.reshape(-1, *values.shape[-2:])
    if len(picture) == 3:
        return Tile(np.moveaxis((picture - low) / max(high - low, 1e-12), 0, -1), caption)
    return Tile(picture[0], caption, limits=(low, high))


def _coloured(classes: NDArray[Any]) -> NDArray[Any]:
    """Class 0 black, the others in the colours of matplotlib's `tab20`, dark ones first."""
    from matplotlib import colormaps

    order = np.array([*range(0, 20, 2), *range(1, 20, 2)])
    palette = np.concatenate([np.zeros((1, 3)), np.asarray(colormaps["tab20"](order))[:, :3]])
    return np.asarray(palette[np.where(classes > 0, (classes.astype(np.int64) - 1) % 20 + 1, 0)])


def _stretched(image: NDArray[Any]) -> NDArray[Any]:
    """From the least to the largest number to 0 to 1."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-12)
