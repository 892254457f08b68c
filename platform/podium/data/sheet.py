"""A sheet of samples: what train and validation hold, in one PNG, drawn by matplotlib without a screen."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from podium.data.manifest import Schema
from podium.data.reader import Reader
from podium.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

SHOWN = {"train": 24, "validation": 16}
"""How many samples of each split are drawn; the test split is promotion's."""

COLUMNS = 8
CELL_INCHES, TITLE_INCHES = 1.5, 0.3

MOST_BARS = 32
"""Vectors up to this length are drawn as bars, longer ones as a line."""

MOST_NUMBERS = 3
"""So many numbers of a target fit above a sample."""

MASK_ALPHA = 0.5
COLOURS = np.array([*range(0, 20, 2), *range(1, 20, 2)])
"""The colours of classes, of matplotlib's `tab20`: dark ones first; the 21st class has that of the first again."""


class Sample(NamedTuple):
    """One sample as it is stored: input `[C, height, width]`, `[C, length]` or `[features]`, and its target."""

    inputs: NDArray[Any]
    target: NDArray[Any]


def write(folder: Path, file: Path) -> None:
    """Writes the sheet of a folder of shards.

    Raises:
        DataError: if a shard cannot be read.
        UserError: if the file cannot be written, or is no PNG by its name.
    """
    if file.suffix.lower() != ".png":
        raise UserError(f"{file} does not end with .png, and a sheet is a PNG; give it a name that does")
    figure = draw(Reader(folder))
    try:
        figure.savefig(file, dpi=130)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); give another file") from None


def draw(reader: Reader) -> "Figure":
    """Samples of the train and the validation split, which lie evenly apart in the order of the shards."""
    from matplotlib.figure import Figure

    samples = {split: _choose(reader, split, count) for split, count in SHOWN.items() if reader.size(split)}
    rows = [_rows(reader.schema, chosen) for chosen in samples.values()]
    height = sum(rows) * (CELL_INCHES * _aspect(reader.schema.inputs) + TITLE_INCHES) + 1
    figure = Figure(figsize=(COLUMNS * CELL_INCHES, height), layout="constrained")
    limits = _limits([sample for chosen in samples.values() for sample in chosen])
    parts = figure.subfigures(len(samples), 1, squeeze=False, height_ratios=rows)[:, 0]
    for part, (split, chosen) in zip(parts, samples.items(), strict=True):
        part.suptitle(f"{split}: {len(chosen)} of {reader.size(split):,}", fontsize=11, weight="bold")
        _draw_split(part, chosen, reader.schema, limits)
    if reader.schema.target_dtype == "uint8":
        _add_legend(figure, reader.schema, [sample for chosen in samples.values() for sample in chosen])
    return figure


def title(schema: Schema, target: NDArray[Any]) -> str:
    """What stands above a sample: its class by name or number, or the numbers to predict; nothing for a mask."""
    if schema.target_dtype == "int64":
        return schema.class_names[int(target)] if schema.class_names else str(int(target))
    if target.ndim >= 2:
        return ""
    numbers = np.atleast_1d(target).tolist()
    shown = ", ".join(f"{number:.3g}" for number in numbers[:MOST_NUMBERS])
    return shown + (", …" if len(numbers) > MOST_NUMBERS else "")


def _choose(reader: Reader, split: str, count: int) -> list[Sample]:
    size, begin, chosen = reader.size(split), 0, []
    wanted = np.unique(np.linspace(0, size - 1, min(count, size)).astype(np.int64))
    for inputs, targets in reader.stored(split):
        own = wanted[(wanted >= begin) & (wanted < begin + len(inputs))] - begin
        chosen += [Sample(_upright(inputs[row], reader.schema), np.array(targets[row])) for row in own]
        begin += len(inputs)
    return chosen


def _upright(inputs: NDArray[Any], schema: Schema) -> NDArray[Any]:
    """An input with its channels, or features, first."""
    return np.array(inputs.T if schema.series else inputs)


def _rows(schema: Schema, samples: Sequence[Sample]) -> int:
    return math.ceil(len(samples) / COLUMNS) * (2 if _has_pictures_as_targets(schema) else 1)


def _aspect(shape: tuple[int, ...]) -> float:
    """How high a cell is for its width: as images are, within bounds."""
    return min(max(shape[-2] / shape[-1], 0.3), 2.0) if len(shape) >= 3 else 1.0


def _has_pictures_as_targets(schema: Schema) -> bool:
    return schema.target_dtype == "float32" and len(schema.targets) >= 2


def _limits(samples: Sequence[Sample]) -> tuple[float, float]:
    """What is drawn as black and as white: all of a byte's range, or that of the samples that are drawn."""
    if samples[0].inputs.dtype == np.uint8:
        return 0.0, 255.0
    return min(float(each.inputs.min()) for each in samples), max(float(each.inputs.max()) for each in samples)


def _draw_split(part: "SubFigure", samples: Sequence[Sample], schema: Schema, limits: tuple[float, float]) -> None:
    grid = part.subplots(_rows(schema, samples), COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    step = 2 if _has_pictures_as_targets(schema) else 1
    for index, sample in enumerate(samples):
        row, column = divmod(index, COLUMNS)
        axes = grid[row * step, column]
        _draw(axes, sample.inputs, limits)
        axes.set_title(title(schema, sample.target), fontsize=8)
        if schema.target_dtype == "uint8":
            _draw_mask(axes, sample.target)
        elif step == 2:
            below = grid[row * step + 1, column]
            _draw(below, sample.target, (float(sample.target.min()), float(sample.target.max())))
            below.set_title("its target", fontsize=8)


def _draw(axes: "Axes", values: NDArray[Any], limits: tuple[float, float]) -> None:
    """An image, or the middle one of a stack of them; a line for each channel of a series; a vector."""
    if values.ndim >= 3:
        while values.ndim > 3:
            values = values[:, values.shape[1] // 2]
        _draw_image(axes, values, limits)
    elif values.ndim == 2:
        axes.plot(values.T, linewidth=0.8)
    elif len(values) > MOST_BARS:
        axes.plot(values, linewidth=0.8)
    else:
        axes.bar(range(len(values)), values)
        axes.axhline(0, color="black", linewidth=0.5)


def _draw_image(axes: "Axes", image: NDArray[Any], limits: tuple[float, float]) -> None:
    """Three channels as colours, of any other number the first."""
    low, high = limits
    scaled = np.clip((image.astype(np.float32) - low) / ((high - low) or 1), 0, 1)
    if len(image) == 3:
        axes.imshow(scaled.transpose(1, 2, 0))
    else:
        axes.imshow(scaled[0], cmap="gray", vmin=0, vmax=1)


def _draw_mask(axes: "Axes", mask: NDArray[Any]) -> None:
    from matplotlib import colormaps

    axes.imshow(colormaps["tab20"](COLOURS[mask % len(COLOURS)]), alpha=MASK_ALPHA)


def _add_legend(figure: "Figure", schema: Schema, samples: Sequence[Sample]) -> None:
    """The classes of the masks that are drawn."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    classes = np.unique(np.concatenate([np.unique(sample.target) for sample in samples])).tolist()
    names = schema.class_names or tuple(map(str, range(schema.classes)))
    colours = colormaps["tab20"](COLOURS[np.array(classes) % len(COLOURS)])
    patches = [
        Patch(color=colour, alpha=MASK_ALPHA, label=names[each]) for colour, each in zip(colours, classes, strict=True)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=COLUMNS, fontsize=8, frameon=False)
