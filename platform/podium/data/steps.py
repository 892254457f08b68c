"""Steps: what is done to records before they are stored. The same record gives the same every time."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.records import Records
from podium.errors import DataError, TaskError
from podium.spec.data import Apply, Crop, Filter, Resize, Step

Function = Callable[..., Any]
Piece = tuple[NDArray[Any], Any]


@dataclass(frozen=True)
class Steps:
    """The steps of a data set, ready to be carried out.

    Attributes:
        steps: As the sweep file says.
        functions: The user's, by reference.
    """

    steps: Sequence[Step]
    functions: dict[str, Function]

    def records(self, records: Records) -> Records:
        """What is left of records, and what has become of them; a record stays one.

        Raises:
            DataError: if a step does not fit the records.
            TaskError: if a function of the user's fails.
        """
        for step in self.steps if len(records) else ():
            if isinstance(step, Filter):
                records = _filtered(records, step)
            elif isinstance(step, Resize):
                records = _mapped(records, functools.partial(_resized, step))
            elif isinstance(step, Apply):
                records = _mapped(records, self._guarded(step.function))
        return records

    def pieces(self, record: Piece) -> list[Piece]:
        """What a record is cut into: itself, if no step crops."""
        crop = self._crop
        if crop is None:
            return [record]
        image, target = record
        _require_image(image, "crop")
        is_mask = isinstance(target, np.ndarray) and target.ndim >= 2
        cut = []
        for top in _places(image.shape[-2], crop.height, crop.overlap, crop):
            for left in _places(image.shape[-1], crop.width, crop.overlap, crop):
                window = (..., slice(top, top + crop.height), slice(left, left + crop.width))
                cut.append((image[window], target[window] if is_mask else target))
        return cut

    def num_pieces(self, shape: tuple[int, ...]) -> int:
        """How many pieces an input of such a shape is cut into."""
        crop = self._crop
        if crop is None:
            return 1
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
                inputs, targets = made
            except Exception as error:
                raise TaskError(
                    f"{reference} failed on a record: {type(error).__name__}: {error}; it is given an input and its "
                    "target, and returns both, or None"
                ) from error
            return np.asarray(inputs), targets

        return call


def _filtered(records: Records, step: Filter) -> Records:
    column = records.targets if step.column == "targets" else records.columns.get(step.column)
    if column is None:
        known = ", ".join(sorted({"targets", *records.columns}))
        raise DataError(f"the step `filter` reads the column {step.column!r}; the records have {known}")
    kept = set(step.keep)
    rows = [row for row, value in enumerate(column) if _plain(value) in kept]
    return records.at(np.array(rows, dtype=np.int64))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _mapped(records: Records, function: Callable[[Any, Any], Piece | None]) -> Records:
    made = [function(image, target) for image, target in records]
    rows = np.array([row for row, each in enumerate(made) if each is not None], dtype=np.int64)
    kept = records.at(rows)
    inputs = [each[0] for each in made if each is not None]
    targets = [each[1] for each in made if each is not None]
    return Records(inputs, _joined(targets), kept.columns, kept.names, kept.unreadable)


def _joined(targets: list[Any]) -> Any:
    shapes = {np.shape(target) for target in targets}
    return np.asarray(targets) if len(shapes) == 1 and next(iter(shapes)) == () else targets


def _resized(step: Resize, image: NDArray[Any], target: Any) -> Piece:
    _require_image(image, "resize")
    if isinstance(target, np.ndarray) and target.ndim >= 2:
        target = _resample(target, step, is_mask=True)
    return np.stack([_resample(channel, step) for channel in image]), target


def _resample(channel: NDArray[Any], step: Resize, *, is_mask: bool = False) -> NDArray[Any]:
    from PIL import Image

    method = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
    mode = channel if channel.dtype == np.uint8 else channel.astype(np.int32 if is_mask else np.float32)
    made = np.asarray(Image.fromarray(mode).resize((step.width, step.height), method))
    return made.astype(channel.dtype) if is_mask else made


def _require_image(image: NDArray[Any], step: str) -> None:
    if image.ndim != 3:
        raise DataError(
            f"the step `{step}` takes images of shape (channels, height, width), and a record has {image.shape}"
        )


def _places(whole: int, part: int, overlap: int, crop: Crop) -> list[int]:
    if whole < part:
        raise DataError(
            f"the step `crop` cuts pieces of {crop.height} x {crop.width} pixels, and a record has a side of {whole}; "
            "resize it before, or cut smaller pieces"
        )
    last = whole - part
    return [*range(0, last, part - overlap), last]
