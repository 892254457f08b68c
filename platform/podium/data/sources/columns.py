"""Columns of tables: their values as arrays, and as records."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from podium.data.records import Column, Records
from podium.data.sources.arrays import require_channels_first
from podium.data.sources.pictures import decode
from podium.data.sources.roles import Roles
from podium.errors import DataError

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def to_records(table: pa.Table, roles: Roles, place: str, first: int) -> Records:
    """The rows of a table as records.

    Args:
        table: Has the columns that are used.
        roles: What they are for.
        place: The file they are from.
        first: The number of the first of these rows in it.

    Raises:
        DataError: if they cannot be inputs or targets, or have nulls.
    """
    arrays = {name: _array(table, name, f"rows {first} to {first + len(table) - 1} of {place}") for name in roles.used}
    targets = _targets(arrays, roles, place)
    others = {name: _other(arrays[name], name, place) for name in roles.others}
    if len(roles.inputs) > 1 or not is_image(arrays[roles.inputs[0]].type):
        return Records(_inputs(arrays, roles, place), targets, others)
    contents = _contents(arrays[roles.inputs[0]], roles.inputs[0], place).to_pylist()
    return _decoded(Records(contents, targets, others), place, first)


def is_image(kind: pa.DataType) -> bool:
    """Whether a column of that type holds images: bytes, or structs with bytes as Hugging Face has them."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return any(is_bytes(kind) for is_bytes in _BYTES)


def _array(table: pa.Table, name: str, where: str) -> pa.Array:
    """A column's values, none of which is missing."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        raise _nulls(name, column.null_count, where)
    return column.combine_chunks()


def _inputs(arrays: Mapping[str, pa.Array], roles: Roles, place: str) -> Column:
    """Columns of numbers side by side, or one column of lists: `[N, ...]`, channels first; or N arrays."""
    hint = "inputs are numbers, or one column of lists or images. Name theirs with data.source.inputs"
    if len(roles.inputs) == 1 and _is_uneven(arrays[roles.inputs[0]]):
        return _uneven(arrays[roles.inputs[0]], roles.inputs[0], place, hint)
    columns = [_numbers(arrays[name], name, place, hint) for name in roles.inputs]
    if len(columns) > 1:
        for name, column in zip(roles.inputs, columns, strict=True):
            if column.ndim > 1:
                raise DataError(f"the column {name!r} of {place} holds lists, and is not the only one; {hint}")
        return np.stack(columns, axis=1)
    column = columns[0][:, None] if columns[0].ndim == 1 else columns[0]
    require_channels_first(column.shape, f"{place}: the column {roles.inputs[0]!r}")
    return column[:, None] if column.ndim == 3 else column


def _is_uneven(array: pa.Array) -> bool:
    """Whether a column holds lists of different lengths."""
    return _is_list(array.type) and len(pc.unique(pc.list_value_length(array))) > 1


def _uneven(array: pa.Array, name: str, place: str, hint: str) -> list[NDArray[Any]]:
    """An array for each of such lists."""
    if array.null_count:
        raise _nulls(name, array.null_count, place)
    inner = pc.list_flatten(array)
    if inner.null_count:
        raise _nulls(name, inner.null_count, f"the lists of {place}")
    ends = np.cumsum(pc.list_value_length(array).to_numpy(zero_copy_only=False))
    return np.split(_numbers(inner, name, place, hint), ends[:-1])


def _targets(arrays: Mapping[str, pa.Array], roles: Roles, place: str) -> NDArray[Any]:
    hint = "targets are integers, names of classes, or numbers to predict"
    if roles.several:
        numbers = [_numbers(arrays[name], name, place, hint) for name in roles.targets]
        for name, column in zip(roles.targets, numbers, strict=True):
            if column.ndim > 1:
                raise DataError(f"the column {name!r} of {place} holds lists; several targets are a number each")
        return np.stack(numbers, axis=1).astype(np.float64)
    array = arrays[roles.targets[0]]
    return _text(array) if _is_text(array.type) else _numbers(array, roles.targets[0], place, hint)


def _other(array: pa.Array, name: str, place: str) -> NDArray[Any]:
    """What a split or a step reads: numbers, text, or times."""
    if _is_text(array.type):
        return _text(array)
    if pa.types.is_temporal(array.type):
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    return _numbers(array, name, place, "splits and filters read numbers, text and times")


def _numbers(array: pa.Array, name: str, place: str, hint: str) -> NDArray[Any]:
    """`[N]` for numbers, `[N, ...]` for lists of one length, lists of such lists, and tensors."""
    kind = array.type
    if isinstance(array, pa.FixedShapeTensorArray):
        tensors: NDArray[Any] = array.to_numpy_ndarray()
        return tensors
    if _is_list(kind):
        lengths = pc.unique(pc.list_value_length(array)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            shown = ", ".join(map(str, sorted(lengths)[:5]))
            raise DataError(f"the column {name!r} of {place} holds lists of the lengths {shown}; samples have one")
        inner = pc.list_flatten(array)
        if inner.null_count:
            raise _nulls(name, inner.null_count, f"the lists of {place}")
        flat = _numbers(inner, name, place, hint)
        return flat.reshape(len(array), lengths[0], *flat.shape[1:])
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"the column {name!r} of {place} holds {'text' if _is_text(kind) else kind}; {hint}")
    numbers: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers


def _contents(array: pa.Array, name: str, place: str) -> pa.Array:
    """The bytes of images."""
    if not pa.types.is_struct(array.type):
        return array
    contents = array.field("bytes")
    if contents.null_count:
        raise DataError(
            f"the column {name!r} of {place} has {contents.null_count} images without bytes, whose files lie "
            "elsewhere; save the table with the images in it"
        )
    return contents


def _decoded(records: Records, place: str, first: int) -> Records:
    """Records whose inputs are bytes of images, with their pixels."""
    images: list[NDArray[Any]] = []
    rows, unreadable = [], []
    for row, content in enumerate(records.inputs):
        try:
            images.append(decode(content, grey=False))
            rows.append(row)
        except DataError as error:
            unreadable.append((f"{place}, row {first + row}", str(error)))
    kept = records.at(np.array(rows, dtype=np.int64))
    return Records(images, kept.targets, kept.columns, unreadable=unreadable)


def _text(array: pa.Array) -> NDArray[np.str_]:
    return np.array(array.to_pylist(), dtype=np.str_)


def _is_text(kind: pa.DataType) -> bool:
    return any(is_text(kind) for is_text in _TEXT)


def _is_list(kind: pa.DataType) -> bool:
    return any(is_list(kind) for is_list in _LISTS)


def _nulls(name: str, count: int, where: str) -> DataError:
    return DataError(f"the column {name!r} has {count} nulls in {where}; fill them, or remove what they are in")
