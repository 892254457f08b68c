"""The JSON Schema of sweep files: what makes an editor complete and check them. Pure."""

from typing import Any

from podium.spec.components import Components
from podium.spec.sweep import BUILT_IN_TASKS, SEARCHED_DATA, DataSettings, SweepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of a sweep file, draft 2020-12.

    Keys of `search.space` are suggested with the values they may take, and own keys allowed.
    """
    schema = SweepSpec.model_json_schema()
    definitions = schema["$defs"]
    space = definitions["SearchSettings"]["properties"]["space"]
    definitions["Domains"] = space["additionalProperties"]
    space["additionalProperties"] = {"$ref": "#/$defs/Domains"}
    space["properties"] = {
        key: {"description": setting["description"], "$ref": "#/$defs/Domains", **_options(setting)}
        for key, setting in _searchable(definitions).items()
    }
    task = schema["properties"]["task"]
    schema["properties"]["task"] = {
        "title": task["title"],
        "description": task["description"],
        "anyOf": [{"enum": list(BUILT_IN_TASKS)}, {"type": "string", "pattern": r"\.py:\w+$"}],
    }
    return {"$schema": DIALECT, **schema, "title": "Podium sweep"}


def _searchable(definitions: dict[str, Any]) -> dict[str, dict[str, Any]]:
    settings = {
        f"{section}.{name}": setting
        for section, field in Components.model_fields.items()
        for name, setting in definitions[type(field.default).__name__]["properties"].items()
    }
    seed = {"description": "The trial seed."}
    data = definitions[DataSettings.__name__]["properties"]
    return {**settings, **{f"data.{name}": data[name] for name in SEARCHED_DATA}, "seed": seed}


def _options(setting: dict[str, Any]) -> dict[str, Any]:
    """Suggests a setting's own names as the options of its `choice`."""
    return {"properties": {"choice": {"items": {"enum": setting["enum"]}}}} if "enum" in setting else {}
