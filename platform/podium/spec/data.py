"""Settings of the data: where samples come from, what is made of them, how they are split and handed out. Pure."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Strict, Tag, WithJsonSchema, model_validator

from podium.spec.settings import Settings, is_name, suggestion

FUNCTION = r"^[^:]+\.py:[A-Za-z_]\w*$"
"""`file.py:name`, a function of the user's beside the sweep file."""


IMAGES = ("png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "ppm", "pgm")
"""The endings of images."""


class SplitSettings(Settings):
    """Which samples train, which validate, which test.

    Attributes:
        train: Share of the samples that networks are trained on.
        validation: Share on which trials are compared.
        test: Share that promotion alone reads.
        folds: Into how many parts the records that do not test are divided, each of which validates a network that the
            others train: a trial has so many networks, and reports the mean of their metrics, and the spread. The
            shares of train and validation only add up then.
        by: What decides: a hash of the record's content; a hash of a column that names its group (a patient, a video),
            so that a group stays together; content within each class, so that all splits have the same balance; time,
            the latest records in the test split; or what the source says (`given`).
        column: The column that `group`, `time` and `given` read; `split` if absent, for `given` alone.
        duplicates: What to do where equal records would stand in two splits: refuse the data, or leave them out of the
            train split (of the validation split, where they stand in the test split).
        near: Images whose perceptual hashes differ in at most so many of 64 bits count as equal records, too; none if
            absent. Images without any edges all count as equal. Source of the hash: Krawetz, "Kind of like that"
            (dHash), 2013.
    """

    train: float = Field(default=0.7, ge=0, le=1)
    validation: float = Field(default=0.15, ge=0, le=1)
    test: float = Field(default=0.15, ge=0, le=1)
    folds: int | None = Field(default=None, ge=2, le=20)
    by: Literal["content", "group", "stratified", "time", "given"] = "content"
    column: str | None = None
    duplicates: Literal["refuse", "drop_from_train"] = "refuse"
    near: int | None = Field(default=None, ge=0, le=8)

    @model_validator(mode="after")
    def _whole(self) -> "SplitSettings":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}; the shares must add up to 1")
        if self.by in ("group", "time") and self.column is None:
            raise ValueError(f"by is {self.by!r}, which needs `column`, the name of the column to read")
        if self.by in ("content", "stratified") and self.column is not None:
            raise ValueError(f"by is {self.by!r}, which reads no column; leave `column` out")
        if self.folds is not None and self.by in ("time", "given"):
            raise ValueError(f"by is {self.by!r}, which makes no folds; take content, group or stratified")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """By name the share of each split; the splits that a network is trained on come first, test comes last."""
        if self.folds is None:
            return {"train": self.train, "validation": self.validation, "test": self.test}
        return {fold_name(fold): (1 - self.test) / self.folds for fold in range(self.folds)} | {"test": self.test}

    @property
    def trainings(self) -> tuple[tuple[str, ...], ...]:
        """The splits that a network is trained on together, for each of the networks of a trial."""
        if self.folds is None:
            return (("train",),)
        folds = range(self.folds)
        return tuple(tuple(fold_name(other) for other in folds if other != fold) for fold in folds)

    @property
    def key(self) -> str | None:
        """The column that is read; None if none is."""
        return self.column or ("split" if self.by == "given" else None)


def fold_name(fold: int) -> str:
    """The split that is one fold, counted from 0."""
    return f"fold-{fold}"


class ArraysSource(Settings):
    """Two arrays, samples first: in an `.npz` file, in a folder of `.npy` files, or in a Zarr group.

    Attributes:
        kind: `arrays`.
        path: The file or folder, relative to the sweep file's folder, or an address.
        inputs: Name of the array of inputs.
        targets: Name of the array of targets.
    """

    kind: Literal["arrays"]
    path: str
    inputs: str = "x"
    targets: str = "y"


class TableSource(Settings):
    """Tables with a row a sample: Parquet, CSV, Arrow, or a Hugging Face data set that was saved to disk.

    Attributes:
        kind: `parquet`, `csv` or `arrow` (files of either kind of Arrow's, as Hugging Face's `save_to_disk` writes).
        path: A file, a folder (of partitions, too), or a pattern such as `rides/*.parquet`; relative to the sweep
            file's folder, or an address.
        inputs: The columns that make up an input: numbers, one after the other, or one column of lists or images; all
            but the targets and the split's column if absent.
        targets: The column to predict, or several of numbers.
    """

    kind: Literal["parquet", "csv", "arrow"]
    path: str
    inputs: Annotated[tuple[str, ...], Strict(False)] = ()
    targets: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[tuple[str, ...], Strict(False), Tag("<other>")],
        Discriminator(is_name),
    ]


class ImagesSource(Settings):
    """A folder of images, with a folder for each class, or with a mask for each image.

    Attributes:
        kind: `images`.
        path: The folder; relative to the sweep file's folder, or an address. If there is nothing but folders `train`,
            `validation` (or `val`) and `test` at its top, they are the split that the source gives.
        masks: A folder with a mask of the same name for each image, whose pixels are classes; the images' own folders
            are no classes then.
        grey: Whether images are read as one channel of brightness.
    """

    kind: Literal["images"]
    path: str
    masks: str | None = None
    grey: bool = False


class TarSource(Settings):
    """Tar files as WebDataset has them: what belongs to a sample has a name in common, and an ending of its own.

    The ending is what follows the first dot of a name: `jpg` in `0007.jpg`, `mask.png` in `0007.mask.png`. Texts,
    numbers and truth values in a sample's `json` are its columns.

    Attributes:
        kind: `webdataset`.
        path: A file, or a pattern such as `shards/train-*.tar`; relative to the sweep file's folder, or an address.
        inputs: The ending of inputs: an image's, or `npy`.
        targets: The ending of targets: `cls` (a number in text), `txt` (the name of a class), `npy`, or an image's, for
            masks.
    """

    kind: Literal["webdataset"]
    path: str
    inputs: str = "jpg"
    targets: str = "cls"

    @model_validator(mode="after")
    def _readable(self) -> "TarSource":
        for name, others in (("inputs", ("npy",)), ("targets", ("cls", "txt", "npy"))):
            ending = getattr(self, name)
            if ending.rpartition(".")[2] not in (*IMAGES, *others):
                raise ValueError(f"{name} is {ending!r}; it ends in {', '.join(others)}, {', '.join(IMAGES)}")
        return self


class Resize(Settings):
    """Brings images to one size, by averaging where they shrink and bilinear interpolation where they grow.

    Attributes:
        kind: `resize`.
        height: Rows.
        width: Columns.
    """

    kind: Literal["resize"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)


class Crop(Settings):
    """Cuts images, and their masks, into pieces; those at the lower and right edges overlap as far as need be.

    Pieces inherit the split of the record they are cut from. It comes last.

    Attributes:
        kind: `crop`.
        height: Rows of a piece.
        width: Columns of a piece.
        overlap: Rows and columns that neighbours have in common.
    """

    kind: Literal["crop"]
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    overlap: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _advances(self) -> "Crop":
        if self.overlap >= min(self.height, self.width):
            raise ValueError(f"overlap is {self.overlap}; it must be less than height and width")
        return self


class Filter(Settings):
    """Keeps the records whose column has one of some values.

    Attributes:
        kind: `filter`.
        column: The column; `targets` for what is to be predicted.
        keep: Its values to keep.
    """

    kind: Literal["filter"]
    column: str
    keep: Annotated[tuple[str | int | float, ...], Strict(False), Field(min_length=1)]


class OneHot(Settings):
    """Makes of each target that is a class a vector of numbers to predict: 1 for that class, 0 for all others.

    Attributes:
        kind: `one_hot`.
        classes: How many classes there are.
    """

    kind: Literal["one_hot"]
    classes: int = Field(ge=2)


class Strokes(Settings):
    """Makes sequences of drawings, inputs `[points, 3]`: offsets, and whether the pen is lifted after a point.

    They are `[points + 1, 5]`: the offsets, and whether the pen stays down, is lifted, or the drawing has ended.
    Source: Ha and Eck, "A Neural Representation of Sketch Drawings", 2017, arXiv:1704.03477.

    Attributes:
        kind: `strokes`.
        scale: What offsets are divided by.
    """

    kind: Literal["strokes"]
    scale: float = Field(default=1.0, gt=0)


class Apply(Settings):
    """Calls a function of the user's on each record.

    Attributes:
        kind: `apply`.
        function: `file.py:name`, beside the sweep file; it is given an input and its target, and returns both, or
            None to leave the record out.
    """

    kind: Literal["apply"]
    function: str = Field(pattern=FUNCTION)


class WeightedSampling(Settings):
    """Samples that are drawn with replacement, one class more often than another.

    Attributes:
        weights: How often each class is drawn, class 0 first; only their ratios count.
    """

    weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Strict(False), Field(min_length=2)]

    @model_validator(mode="after")
    def _some(self) -> "WeightedSampling":
        if not any(self.weights):
            raise ValueError("weights are all 0; at least one class must be drawn")
        return self


BUILT_IN_SOURCES = ("mnist_5k", "digits", "fashion_mnist")


def _named(name: str) -> str:
    if name not in BUILT_IN_SOURCES and not re.fullmatch(FUNCTION, name):
        raise ValueError(
            f"{name!r} is no built-in source, nor a function `file.py:name`{suggestion(name, BUILT_IN_SOURCES)}"
        )
    return name


SourceName = Annotated[
    str,
    AfterValidator(_named),
    WithJsonSchema({"anyOf": [{"enum": list(BUILT_IN_SOURCES)}, {"type": "string", "pattern": FUNCTION}]}),
]
Source = Annotated[
    Annotated[SourceName, Tag("<name>")]
    | Annotated[
        Annotated[ArraysSource | TableSource | ImagesSource | TarSource, Field(discriminator="kind")], Tag("<other>")
    ],
    Discriminator(is_name),
]
Sampling = Annotated[
    Annotated[Literal["uniform", "balanced"], Tag("<name>")] | Annotated[WeightedSampling, Tag("<other>")],
    Discriminator(is_name),
]
TrainedOn = Literal["train", "train+validation"]
Step = Annotated[Resize | Crop | Filter | OneHot | Strokes | Apply, Field(discriminator="kind")]


class DataSettings(Settings):
    """Where the samples come from, what is made of them, how they are split, and how many make a batch.

    Attributes:
        source: A built-in source (`mnist_5k`, `digits`, `fashion_mnist`), `{kind: …, path: …}`, or `file.py:name`, a
            function of the user's that yields records or returns a Dask collection.
        steps: What is done to each record, in this order.
        split: Which samples train, validate and test.
        unreadable: Whether a record that cannot be read is refused, or how many may be skipped.
        series: Whether inputs are series `[steps, features]`, which may differ in length: a batch of them is filled up
            with zeros to its longest.
        normalize: Whether inputs are standardized by the train split's statistics.
        dask: Where the data are prepared: in `threads` of this process, on the Ray cluster (`ray`), or by the
            dask.distributed scheduler at an address such as `tcp://10.0.0.1:8786`; on Ray if it was there before, and
            else in threads, if absent.
        sampling: What an epoch trains on: every sample once (`uniform`); or as many samples, drawn with replacement so
            that all classes come equally often (`balanced`), or as often as `{weights: [1, 2.5, …]}` say.
        share: The share of the train split that a trial is trained on. Which samples these are, the data seed decides,
            so trials of one share have the same, and a larger share holds those of a smaller one (of data that are
            shuffled in blocks, blocks are chosen). Normalization stays that of the whole split.
        train_on: What is trained on. Under `train+validation` the metrics of the validation split say nothing, and what
            depends on them is refused: it is for the last training of a promotion.
        batch_size: Samples a step, over all ranks.
        seed: The data seed: the samples' order and augmentation, the same for all trials.
        licence: Under which terms the data may be used, and whom to cite, in words; kept beside them once they are
            prepared.
        units: What the inputs measure, in words; kept likewise.
    """

    source: Source
    steps: Annotated[tuple[Step, ...], Strict(False)] = ()
    split: SplitSettings = SplitSettings()
    unreadable: Annotated[
        Annotated[Literal["refuse"], Tag("<name>")] | Annotated[int, Field(ge=1), Tag("<other>")],
        Discriminator(is_name),
    ] = "refuse"
    series: bool = False
    normalize: bool = True
    dask: str | None = Field(default=None, pattern=r"^(threads|ray|[a-z]+://.+)$")
    sampling: Sampling = "uniform"
    share: float = Field(default=1.0, gt=0, le=1)
    train_on: TrainedOn = "train"
    batch_size: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)
    licence: str = ""
    units: str = ""

    @model_validator(mode="after")
    def _steps_fit(self) -> "DataSettings":
        if any(isinstance(step, Crop) for step in self.steps[:-1]):
            raise ValueError("`crop` comes last among the steps, since its pieces are no records any more")
        if self.series and any(isinstance(step, Crop | Resize) for step in self.steps):
            raise ValueError("`crop` and `resize` are for images, and the inputs are series")
        return self
