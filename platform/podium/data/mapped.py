"""The mapped shards of a split: rows out of files, and the arithmetic from stored to normalized."""

import functools
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.manifest import Manifest, Schema, remedy
from podium.data.sampling import Classes
from podium.data.series import Series
from podium.errors import DataError


class MappedSplit:
    """All samples of a split, or of several, none of which is in memory before it is asked for.

    Args:
        folder: The folder of shards.
        manifest: What it holds.
        schema: What a sample looks like, and how it is normalized.
        splits: Which samples.

    Raises:
        DataError: if a shard is not what the manifest says.
    """

    def __init__(self, folder: Path, manifest: Manifest, schema: Schema, splits: Sequence[str]) -> None:
        self.shards = [
            MappedShard(folder, shard.name, shard.rows, schema) for shard in manifest.shards if shard.split in splits
        ]
        self._firsts = np.cumsum([0, *(len(shard.targets) for shard in self.shards)])
        self._is_series = schema.series
        shape = (-1,) if schema.series else (-1,) + (1,) * (len(schema.inputs) - 1)
        self._mean = np.array(schema.mean, dtype=np.float32).reshape(shape)
        self._scale = (1.0 / np.array(schema.std)).astype(np.float32).reshape(shape)
        self._normalize = schema.normalize

    @functools.cached_property
    def classes(self) -> Classes:
        """The samples of each class, where targets are classes."""
        return Classes(np.concatenate([shard.targets for shard in self.shards]))

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """`[rows]`, the group of each sample; None where none is kept."""
        found = [shard.groups for shard in self.shards]
        kept = [groups for groups in found if groups is not None]
        return np.concatenate(kept) if kept and len(kept) == len(found) else None

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.int64] | None]:
        """Inputs, as a network takes them, and targets of ascending `rows`; the lengths of inputs that are series."""
        if self._is_series:
            return self._fill_up(rows)
        stored, targets = self._take(rows)
        inputs = stored.astype(np.float32, copy=False)
        if self._normalize:
            inputs -= self._mean
            inputs *= self._scale
        return inputs, targets, None

    def _fill_up(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.int64]]:
        """Series, each filled up with zeros to the longest of them."""
        owners = np.searchsorted(self._firsts, rows, side="right") - 1
        places = list(zip(owners.tolist(), (rows - self._firsts[owners]).tolist(), strict=True))
        series = [self.shards[owner].inputs[row] for owner, row in places]
        lengths = np.array([len(each) for each in series], dtype=np.int64)
        inputs = np.zeros((len(rows), lengths.max(), series[0].shape[1]), np.float32)
        for filled, each in zip(inputs, series, strict=True):
            filled[: len(each)] = (each - self._mean) * self._scale if self._normalize else each
        targets = np.stack([self.shards[owner].targets[row] for owner, row in places])
        return inputs, targets, lengths

    def expect(self, first: int, last: int) -> None:
        """Has the rows from `first` to before `last` read from the disk, without waiting for them."""
        begin, end = np.searchsorted(self._firsts, (first, last - 1), side="right")
        for shard, before in zip(self.shards[begin - 1 : end], self._firsts[begin - 1 : end].tolist(), strict=True):
            shard.expect(max(first - before, 0), min(last - before, len(shard.targets)))

    def _take(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        if len(self.shards) == 1:
            (shard,) = self.shards
            return shard.inputs.take(rows, axis=0), shard.targets.take(rows, axis=0)
        inputs, targets = (
            np.empty((len(rows), *array.shape[1:]), array.dtype)
            for array in (self.shards[0].inputs, self.shards[0].targets)
        )
        ends = np.searchsorted(rows, self._firsts)
        for number in np.flatnonzero(np.diff(ends)).tolist():
            own = slice(ends[number], ends[number + 1])
            self.shards[number].take(rows[own] - self._firsts[number], inputs[own], targets[own])
        return inputs, targets


class MappedShard:
    """A shard's file in memory, as far as it has been read.

    Attributes:
        inputs: `[rows, ...]`, as stored; or series.
        targets: `[rows, ...]`.
    """

    def __init__(self, folder: Path, name: str, rows: int, schema: Schema) -> None:
        import pyarrow as pa

        path = folder / name
        try:
            with path.open("rb") as file:
                self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            buffer = pa.py_buffer(self._memory)
            batch = pa.ipc.open_file(buffer).get_batch(0)
            self.inputs, self.targets = _view(batch.column("inputs")), _view(batch.column("targets"))
            self._groups = batch.column("group") if "group" in batch.schema.names else None
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"the shard {path} cannot be read ({error}); {remedy(folder)}") from None
        values = self.inputs.values if isinstance(self.inputs, Series) else self.inputs
        shape = (len(self.inputs), *((schema.inputs[0],) if schema.series else ()), *values.shape[1:])
        found = (shape, self.targets.shape, str(values.dtype), str(self.targets.dtype))
        promised = ((rows, *schema.inputs), (rows, *schema.targets), schema.input_dtype, schema.target_dtype)
        if found != promised or isinstance(self.inputs, Series) != schema.series:
            raise DataError(f"the shard {path} is not what its manifest says; {remedy(folder)}")
        self._values, self._first_byte = values, values.ctypes.data - buffer.address

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """`[rows]`, the group of each sample; None where none is kept."""
        if self._groups is None:
            return None
        names: NDArray[np.str_] = np.array(self._groups.dictionary.to_pylist(), dtype=np.str_)
        indices: NDArray[np.int32] = self._groups.indices.to_numpy()
        return names[indices]

    def take(self, rows: NDArray[np.int64], inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        """Copies `rows` to `inputs` and `targets`; `clip` spares numpy a copy, and all rows are there."""
        self.inputs.take(rows, axis=0, out=inputs, mode="clip")
        self.targets.take(rows, axis=0, out=targets, mode="clip")

    def expect(self, first: int, last: int) -> None:
        """Has the inputs of the rows from `first` to before `last` read, without waiting for them."""
        row_bytes = self._values.strides[0]
        if isinstance(self.inputs, Series):
            first, last = self.inputs.ends[[first, last]].tolist()
        begin, end = self._first_byte + first * row_bytes, self._first_byte + last * row_bytes
        begin -= begin % mmap.PAGESIZE  # what the kernel asks for
        self._memory.madvise(mmap.MADV_WILLNEED, begin, end - begin)


def _view(column: Any) -> Any:
    """A column as it lies in memory: an array, or series."""
    if hasattr(column, "offsets"):
        return Series(_view(column.values), column.offsets.to_numpy(zero_copy_only=True))
    is_tensor = hasattr(column, "to_numpy_ndarray")
    return column.to_numpy_ndarray() if is_tensor else column.to_numpy(zero_copy_only=True)
