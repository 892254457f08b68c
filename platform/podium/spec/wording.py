"""Pydantic's errors in words that the author of a sweep file reads. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from podium.spec.settings import suggestion

Path = tuple[str | int, ...]
"""Where a value stands in the nested settings."""

_TEMPLATES = {
    "missing": "is missing; add it",
    "unknown_key": "{problem}",
    "int_type": "must be a whole number, and is {value}",
    "int_from_float": "must be a whole number, and is {value}",
    "float_type": "must be a number, and is {value}",
    "bool_type": "must be true or false, and is {value}",
    "string_type": "must be text, and is {value}",
    "dict_type": "must be a section of keys, and is {value}",
    "model_type": "must be a section of keys, and is {value}",
    "model_attributes_type": "must be a section of keys, and is {value}",
    "tuple_type": "must be a list, and is {value}",
    "greater_than": "must be above {gt:g}, and is {value}",
    "greater_than_equal": "must be at least {ge:g}, and is {value}",
    "less_than": "must be below {lt:g}, and is {value}",
    "less_than_equal": "must be at most {le:g}, and is {value}",
    "finite_number": "must be finite, and is {value}",
    "too_short": "has {actual_length} entries, and needs at least {min_length}",
    "too_long": "has more entries than the {max_length} it takes: {value}",
    "string_pattern_mismatch": "is {value}; a name has letters, digits, '-' and '_' only, starts with a letter or "
    "a digit, and has at most 100 characters",
    "value_error": "{error}",
}


def problems(error: ValidationError, data: Any) -> list[tuple[Path, str]]:
    """What is wrong, and where in `data`; alternatives of one value are told once."""
    found: dict[Path, list[str]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_path(details, data), []).append(phrase(details))
    return [(path, texts[0] if len(texts) == 1 else _any_value(path, data)) for path, texts in found.items()]


def show(value: Any) -> str:
    """A value as its author would recognize it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    text = f"a section of {len(value)} keys" if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _path(details: ErrorDetails, data: Any) -> Path:
    """The error's place, without the names that pydantic gives to alternatives."""
    path: list[str | int] = []
    for part in details["loc"]:
        inside = range(len(data)) if isinstance(data, list | tuple) else data if isinstance(data, Mapping) else ()
        if part in inside:
            data = data[part]
            path.append(part)
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    if details["type"] == "unknown_key":
        path.append(details["ctx"]["key"])
    return tuple(path)


def phrase(details: ErrorDetails) -> str:
    """One error, told without its place."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"{show(value)} is not known{suggestion(str(value), allowed)}"
    if kind == "missing" and isinstance(details["loc"][-1], int):
        return f"has too few entries: {show(value)}"
    template = _TEMPLATES.get(kind)
    return template.format(**{**context, "value": show(value)}) if template else details["msg"]


def _any_value(path: Path, data: Any) -> str:
    for part in path:
        data = data[part]
    return f"must be a number, text, true, false, empty or a list of these, and is {show(data)}"
