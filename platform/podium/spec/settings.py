"""The root of all settings: what they share in validation, and in the schema an editor reads. Pure."""

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


class Settings(BaseModel):
    """The root of all settings: frozen, known keys and finite numbers only, no conversion of types.

    The `Attributes` of a subclass's docstring become the descriptions in its JSON Schema.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, Mapping) else []
        if unknown:
            problem = f"unknown key{suggestion(str(unknown[0]), cls.model_fields)}"
            raise PydanticCustomError("unknown_key", "{problem}", {"problem": problem, "key": unknown[0]})
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, with descriptions of the class and its keys from the docstring."""
        schema = handler(core)
        resolved = handler.resolve_ref_schema(schema)
        resolved["description"] = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("Attributes:")[0].split())
        documents = (
            inspect.cleandoc(base.__doc__ or "") for base in reversed(cls.__mro__) if issubclass(base, Settings)
        )
        for document in documents:
            for name, text in _ATTRIBUTE.findall(document.partition("Attributes:")[2]):
                if name in resolved["properties"]:
                    resolved["properties"][name]["description"] = " ".join(text.split())
        return schema


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """The nearest of the `allowed` names if one is near, and all of them: the tail of an error message."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" allowed: {', '.join(names) or 'none'}"


def is_name(data: Any) -> str:
    """The tag of a setting that is a name or something else."""
    return "<name>" if isinstance(data, str) else "<other>"
