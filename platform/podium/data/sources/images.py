"""Images: a folder of them, with a folder for each class, or with a mask for each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from numpy.typing import NDArray

from podium.data.records import Block, Records
from podium.data.sources.files import File, Files
from podium.data.sources.pictures import decode, decode_mask, pixel_bytes
from podium.errors import DataError
from podium.spec.data import IMAGES, ImagesSource
from podium.store import local_path

ENDINGS = tuple(f".{ending}" for ending in IMAGES)

GIVEN = ("train", "validation", "val", "test")
"""Folders that are the split which the source gives, and no classes."""

DECODED = 10
"""An image is taken to have so many times the bytes of its file once it is decoded, if its size says no more."""

BLOCK_FILES = 64
BLOCK_BYTES = 4 * 2**20
"""A block has so many images at most, of about so many bytes together, which are some ten times as many decoded."""

REMOTE_BYTES = 2**17
"""What a file at an address, whose size it would take a request to ask for, is taken to have."""

SHOWN = 3


@dataclass(frozen=True)
class Picture:
    """An image that is to be read.

    Attributes:
        image: Its file.
        answer: Its class, or the file of its mask.
        split: What the source says; None if it says nothing.
    """

    image: File
    answer: str | File
    split: str | None


@dataclass(frozen=True)
class ImageBlock:
    """Some images, `[channels, height, width]` uint8 each; masks are `[height, width]` uint8."""

    pictures: tuple[Picture, ...]
    grey: bool

    def read(self) -> Records:
        """Those that can be decoded."""
        inputs, targets, kept, unreadable = [], [], [], []
        for picture in self.pictures:
            content, answer = picture.image.read(), picture.answer
            mask = answer.read() if isinstance(answer, File) else None
            try:
                image = decode(content, self.grey)
                target = answer if mask is None else fitting_mask(mask, image)
            except DataError as error:
                unreadable.append((picture.image.path, str(error)))
                continue
            inputs.append(image)
            targets.append(target)
            kept.append(picture)
        columns = {} if self.pictures[0].split is None else {"split": [picture.split for picture in kept]}
        return Records(inputs, targets, columns, unreadable)


class Images:
    """Images with classes or masks.

    Args:
        settings: How they are read.
        files: The images.
        masks: Their masks; None if their folders are classes.
    """

    def __init__(self, settings: ImagesSource, files: Files, masks: Files | None) -> None:
        self._settings, self._files, self._masks = settings, files, masks

    def fingerprint(self) -> str:
        """The checksums of all files."""
        images = self._files.fingerprint()
        return images if self._masks is None else f"{images}; masks {self._masks.fingerprint()}"

    def blocks(self, scratch: str) -> Sequence[Block]:
        """All images, in the order of their names."""
        images = _found(self._files, "path")
        splits = _splits(images, self._files.place)
        answers: Sequence[str | File] = (
            self._classes(images, splits) if self._masks is None else self._pairs(images, self._masks)
        )
        pictures = [Picture(*each) for each in zip(images, answers, splits, strict=True)]
        return [ImageBlock(tuple(some), self._settings.grey) for some in _together(pictures)]

    def _classes(self, images: Sequence[File], splits: Sequence[str | None]) -> list[str]:
        """The folder of each image, below that of its split."""
        classes = []
        for image, split in zip(images, splits, strict=True):
            folders = image.name.split("/")[:-1]
            own = folders if split is None else folders[1:]
            if not own:
                raise DataError(
                    f"{image.path} lies in no folder of a class; put the images of each class into a folder that has "
                    "the class's name, or name the folder of their masks with data.source.masks"
                )
            classes.append(own[0])
        return classes

    def _pairs(self, images: Sequence[File], masks: Files) -> list[File]:
        """The mask of each image."""
        of_image, of_mask = _by_stem(images), _by_stem(_found(masks, "masks"))
        for one, others, what in ((of_image, of_mask, "mask"), (of_mask, of_image, "image")):
            alone = [one[stem].path for stem in one if stem not in others]
            if alone:
                more = f" and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
                raise DataError(
                    f"there is no {what} for {', '.join(alone[:SHOWN])}{more}; each image below {self._files.place} "
                    f"has a mask of the same name below {masks.place}, where only the ending may be another"
                )
        return [of_mask[_stem(image)] for image in images]


def fitting_mask(content: bytes, image: NDArray[Any]) -> NDArray[Any]:
    """The mask of an image.

    Raises:
        DataError: if it cannot be decoded, or has not the image's height and width.
    """
    try:
        mask = decode_mask(content)
    except DataError as error:
        raise DataError(f"its mask cannot be read: {error}") from None
    if mask.shape != image.shape[1:]:
        sizes = (f"{height} x {width}" for height, width in (mask.shape, image.shape[1:]))
        raise DataError("its mask has {} pixels, and it has {}".format(*sizes))
    return mask


def _found(files: Files, key: str) -> list[File]:
    """The images of a folder."""
    found = files.found()
    if not files.is_folder:
        raise DataError(f"data.source.{key} is {files.place}; images are read from a folder, so name the folder")
    return found


def _splits(images: Sequence[File], place: str) -> list[str | None]:
    """The folder of each image at the top, if all those are splits."""
    tops = [image.name.partition("/")[0] for image in images]
    given = {top for top in tops if top.lower() in GIVEN}
    others = sorted(set(tops) - given)
    if len(given) > 1 and others:
        raise DataError(
            f"{place} has {others[0]!r} beside the folders {', '.join(sorted(given))}; where those are the split, "
            "nothing else lies beside them: move it elsewhere"
        )
    return [None if others else top for top in tops]


def _by_stem(files: Sequence[File]) -> dict[str, File]:
    """Files by their names without the ending."""
    found: dict[str, File] = {}
    for file in files:
        other = found.setdefault(_stem(file), file)
        if other is not file:
            raise DataError(f"{other.path} and {file.path} differ by their ending alone; masks could belong to either")
    return found


def _stem(file: File) -> str:
    return str(PurePosixPath(file.name).with_suffix(""))


def _together(pictures: Sequence[Picture]) -> Iterator[list[Picture]]:
    """Pictures that make up a block."""
    block: list[Picture] = []
    taken = 0
    for picture in pictures:
        size = _size(picture.image)
        if block and (len(block) == BLOCK_FILES or taken + size > BLOCK_BYTES):
            yield block
            block, taken = [], 0
        block.append(picture)
        taken += size
    if block:
        yield block


def _size(file: File) -> int:
    path = local_path(file.path, "")
    return REMOTE_BYTES if path is None else max(path.stat().st_size, pixel_bytes(path) // DECODED)
