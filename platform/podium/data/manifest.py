"""The manifest: what a folder of shards holds. Plain data, written as JSON beside the shards."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from podium.data.order import Shuffle
from podium.errors import DataError
from podium.store import checksum, read

FORMAT = 3
"""The version of the layout of shards and manifest; another one means another folder."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Schema:
    """What one sample looks like.

    Attributes:
        inputs: Shape of a sample, channels first; the longest one's, (steps, features), where they are series.
        input_dtype: As stored: `uint8` or `float32`.
        targets: Shape of a target; `()` for one number.
        target_dtype: `int64` for classes, `uint8` for masks of them, `float32` for numbers to predict.
        classes: Number of classes; 0 for numbers.
        mean: Mean of each channel (of each feature of a vector) over the train split.
        std: Standard deviation likewise; 1 where there is no variation.
        normalize: Whether the reader subtracts `mean` and divides by `std`.
        class_names: What the source calls the classes, in their order; empty if it numbers them.
        series: Whether samples are series, which may be shorter; batches are filled up with zeros.
    """

    inputs: tuple[int, ...]
    input_dtype: str
    targets: tuple[int, ...]
    target_dtype: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalize: bool
    class_names: tuple[str, ...] = ()
    series: bool = False


@dataclass(frozen=True)
class Shard:
    """One Arrow IPC file of samples; `sha256` is of its `bytes` bytes."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A prepared data set.

    Attributes:
        digest: Of everything the shards depend on; its first 16 digits name the folder.
        source: The settings of the source.
        fingerprint: What identifies the source's content.
        steps: What was done to the records.
        split: How they were split.
        schema: What one sample looks like.
        rows: Samples of each split.
        classes: By split the samples of each class (the pixels, for masks); empty for numbers.
        shards: The files, in the order of their samples.
        shuffle: How the train split's samples are shuffled.
        records: How many the source has, after the steps; pieces are cut from them.
        folds: For each fold mean and standard deviation over the others, as in the schema; empty if there are none.
        left_out: How many of them stand in no split, since another split has equal ones.
        skipped: Name and reason of each record that could not be read.
        versions: Of what has prepared the data.
        licence: Under which terms the data may be used, and whom to cite.
        units: What the inputs measure.
        format: The version of the layout.
    """

    digest: str
    source: dict[str, Any]
    fingerprint: str
    steps: tuple[dict[str, Any], ...]
    split: dict[str, Any]
    schema: Schema
    rows: dict[str, int]
    classes: dict[str, tuple[int, ...]]
    shards: tuple[Shard, ...]
    shuffle: Shuffle
    records: int
    folds: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    left_out: int
    skipped: tuple[tuple[str, str], ...]
    versions: dict[str, str]
    licence: str = ""
    units: str = ""
    format: int = FORMAT

    @property
    def test_set(self) -> str:
        """What tells one test split from another: a SHA-256 over its shards' checksums.

        Data that were prepared anew, and whose test split has the same bytes, have the same.
        """
        sums = [shard.sha256 for shard in self.shards if shard.split == "test"]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()

    def to_json(self) -> str:
        """The manifest as JSON, ended by a line break."""
        return _MANIFEST.dump_json(self, indent=2).decode() + "\n"


_MANIFEST = TypeAdapter(Manifest)


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {remedy(folder)}") from None
    return parse_manifest(content, folder)


def parse_manifest(content: bytes, folder: Path | str) -> Manifest:
    """The manifest in the content of its file.

    Raises:
        DataError: if there is none, naming the folder that it came from.
    """
    if not content:
        raise DataError(f"{folder} holds no {MANIFEST}; launch the sweep to prepare its data")
    try:
        _require_format(json.loads(content), folder)
        return _MANIFEST.validate_json(content)
    except DataError:
        raise
    except ValueError as error:
        reason = str(error).replace("\n", " ")
        raise DataError(f"{folder}/{MANIFEST} cannot be read ({reason}); {remedy(folder)}") from None


def _require_format(found: Any, folder: Path | str) -> None:
    made = found.get("format", FORMAT) if isinstance(found, dict) else FORMAT
    if made != FORMAT:
        raise DataError(
            f"{folder} was prepared by another version of Podium (format {made}; this one reads {FORMAT}); go on "
            "with that version, or launch the sweep under a new name"
        )


def missing(folder: Path, manifest: Manifest) -> Path | None:
    """The first shard that is not there in its full size; a glance, where `verify` reads every byte."""
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            return path
    return None


def verify(folder: Path | str) -> list[str]:
    """Compares every shard with its checksum.

    Args:
        folder: The shards' path or address.

    Returns:
        What is wrong, in words: the shards that are missing or altered.

    Raises:
        DataError: if there is no manifest, or it cannot be read.
        StorageFault: if the folder cannot be read.
    """
    where, problems = str(folder), []
    manifest = parse_manifest(read(where, MANIFEST), where)
    for shard in manifest.shards:
        found = checksum(where, shard.name)
        if found is None:
            problems.append(f"the shard {where}/{shard.name} is missing")
        elif found != shard.sha256:
            problems.append(f"the shard {where}/{shard.name} is not what its checksum says")
    return problems


def describe(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain data, with totals in the place of its shards: `samples`, `shards` and `bytes`."""
    shown: dict[str, Any] = json.loads(manifest.to_json())
    return shown | {
        "samples": sum(manifest.rows.values()),
        "shards": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
    }


def remedy(folder: Path | str) -> str:
    """What to do about shards that cannot be trusted."""
    name = str(folder).rpartition("/")[2]
    return f"check with `podium data verify {name}`, or delete {folder} and launch again, and it is prepared anew"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
