"""Steps: what is done to records before they are stored. The same record gives the same every time."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.functions import Function
from podium.data.records import Records
from podium.errors import DataError, TaskError
from podium.spec.data import Apply, Crop, Filter, OneHot, Resize, Step, Strokes

Piece = tuple[NDArray[Any], Any]


SHOWN = 60
"""So many letters of a value that is wrong are shown."""


@dataclass(frozen=True)
class Steps:
    """The steps of a data set, ready to be carried out.

    Attributes:
        steps: As the sweep file says.
        functions: The user's, by reference.
    """

    steps: Sequence[Step]
    functions: Mapping[str, Function]

    def records(self, records: Records) -> Records:
        """What is left of records, and what has become of them; a record stays one.

        Raises:
            DataError: if a step does not fit the records.
            TaskError: if a function of the user's fails.
        """
        for step in self.steps:
            if isinstance(step, Filter):
                records = _filtered(records, step)
            elif isinstance(step, Resize):
                records = _mapped(records, functools.partial(_resized, step))
            elif isinstance(step, OneHot):
                records = _mapped(records, functools.partial(_one_hot, step))
            elif isinstance(step, Strokes):
                records = _mapped(records, functools.partial(_sequence, step))
            elif isinstance(step, Apply):
                records = _mapped(records, self._guarded(step.function))
        return records

    def pieces(self, record: Piece) -> list[Piece]:
        """What a record is cut into: itself, if no step crops."""
        crop = self._crop
        if crop is None:
            return [record]
        image, target = record
        _require_image(image.shape, "crop")
        is_map = _is_map(image, target, "crop")
        cut = []
        for top in _places(image.shape[-2], crop.height, crop.overlap, crop):
            for left in _places(image.shape[-1], crop.width, crop.overlap, crop):
                window = (..., slice(top, top + crop.height), slice(left, left + crop.width))
                cut.append((image[window], target[window] if is_map else target))
        return cut

    def num_pieces(self, shape: tuple[int, ...]) -> int:
        """How many pieces an input of such a shape is cut into."""
        crop = self._crop
        if crop is None:
            return 1
        _require_image(shape, "crop")
        sides = ((shape[-2], crop.height), (shape[-1], crop.width))
        return math.prod(len(_places(whole, part, crop.overlap, crop)) for whole, part in sides)

    @property
    def _crop(self) -> Crop | None:
        return next((step for step in self.steps if isinstance(step, Crop)), None)

    def _guarded(self, reference: str) -> Callable[[Any, Any], Piece | None]:
        function = self.functions[reference]

        def call(image: Any, target: Any) -> Piece | None:
            try:
                made = function(image, target)
                if made is None:
                    return None
                if not isinstance(made, tuple):
                    raise TypeError(f"it returned one {type(made).__name__}")
                inputs, targets = map(np.asarray, made)
                if inputs.ndim == 0 or inputs.dtype.kind not in "biuf" or targets.dtype.kind not in "biufU":
                    raise TypeError(f"it returned {inputs.dtype} of the shape {inputs.shape}, and {targets.dtype}")
            except Exception as error:
                reason = " ".join(str(error).split())
                raise TaskError(
                    f"{reference} failed on a record: {type(error).__name__}: {reason}; it is given an input and its "
                    "target, and returns both, or None"
                ) from error
            return inputs, targets

        return call


def _filtered(records: Records, step: Filter) -> Records:
    if not len(records):
        return records
    column = records.targets if step.column == "targets" else records.columns.get(step.column)
    if column is None:
        known = ", ".join(sorted({"targets", *records.columns}))
        raise DataError(f"the step `filter` reads the column {step.column!r}; the records have {known}")
    values = [_plain(value) for value in column]
    if not all(isinstance(value, str | int | float) for value in values):
        raise DataError(f"the step `filter` keeps texts and numbers, and {step.column!r} holds something else")
    kept = set(step.keep)
    rows = [row for row, value in enumerate(values) if value in kept]
    return records.at(np.array(rows, dtype=np.int64))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _mapped(records: Records, function: Callable[[Any, Any], Piece | None]) -> Records:
    made = [function(image, target) for image, target in records]
    rows = np.array([row for row, each in enumerate(made) if each is not None], dtype=np.int64)
    kept = records.at(rows)
    inputs = [each[0] for each in made if each is not None]
    targets = [each[1] for each in made if each is not None]
    return Records(inputs, _joined(targets), kept.columns, kept.unreadable)


def _joined(targets: list[Any]) -> Any:
    shapes = {np.shape(target) for target in targets}
    return np.asarray(targets) if len(shapes) == 1 and next(iter(shapes)) == () else targets


def _one_hot(step: OneHot, image: NDArray[Any], target: Any) -> Piece:
    label = np.asarray(target)
    if label.ndim or label.dtype.kind not in "biu" or not 0 <= int(label) < step.classes:
        raise DataError(
            f"the step `one_hot` makes vectors of classes from 0 to {step.classes - 1}, and a target is "
            f"{str(target)[:SHOWN]}"
        )
    return image, np.eye(step.classes, dtype=np.float32)[int(label)]


def _sequence(step: Strokes, drawing: NDArray[Any], target: Any) -> Piece:
    points = drawing[0] if drawing.ndim == 3 and len(drawing) == 1 else drawing
    if points.ndim != 2 or points.shape[1] != 3 or not np.isin(points[:, 2], (0, 1)).all():
        raise DataError(
            f"the step `strokes` takes drawings [points, 3], whose third number is 0 or 1, and a record has the shape "
            f"{drawing.shape}"
        )
    made = np.zeros((len(points) + 1, 5), np.float32)
    made[:-1, :2] = points[:, :2] / step.scale
    made[:-1, 3] = points[:, 2]
    made[:-1, 2] = 1 - points[:, 2]
    made[-1, 4] = 1
    return made, target


def _resized(step: Resize, image: NDArray[Any], target: Any) -> Piece:
    _require_image(image.shape, "resize")
    if _is_map(image, target, "resize"):
        is_mask = target.dtype.kind in "biu"
        channels = target.reshape(-1, *target.shape[-2:])
        made = np.stack([_resample(channel, step, is_mask=is_mask) for channel in channels])
        target = made.reshape(*target.shape[:-2], step.height, step.width)
    return np.stack([_resample(channel, step) for channel in image]), target


def _resample(channel: NDArray[Any], step: Resize, *, is_mask: bool = False) -> NDArray[Any]:
    from PIL import Image

    method = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
    mode = channel if channel.dtype == np.uint8 else channel.astype(np.int32 if is_mask else np.float32)
    made = np.asarray(Image.fromarray(mode).resize((step.width, step.height), method))
    return made.astype(channel.dtype) if is_mask else made


def _is_map(image: NDArray[Any], target: Any, step: str) -> bool:
    """Whether a target has a value for each pixel, so that it goes the way of the image.

    Raises:
        DataError: if it is of another height and width.
    """
    if np.ndim(target) < 2:
        return False
    if target.shape[-2:] != image.shape[-2:]:
        raise DataError(
            f"the step `{step}` takes a target of the image's height and width along, and a record has an image of "
            f"{image.shape} and a target of {target.shape}; make them alike, or leave the step out"
        )
    return True


def _require_image(shape: tuple[int, ...], step: str) -> None:
    if len(shape) != 3:
        raise DataError(
            f"the step `{step}` takes images of shape (channels, height, width), and a record has the shape {shape}"
        )


def _places(whole: int, part: int, overlap: int, crop: Crop) -> list[int]:
    if whole < part:
        raise DataError(
            f"the step `crop` cuts pieces of {crop.height} x {crop.width} pixels, and a record has a side of {whole}; "
            "resize it before, or cut smaller pieces"
        )
    last = whole - part
    return [*range(0, last, part - overlap), last]
