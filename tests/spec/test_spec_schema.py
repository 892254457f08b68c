"""The JSON Schema accepts what Podium reads, and refuses what an editor can see to be wrong."""

import copy

import jsonschema
import pytest
from ruamel.yaml import YAML
from test_spec_files import DIGITS

from podium.spec.schema import json_schema
from podium.spec.space_checks import SEARCHABLE

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture
def digits():
    return copy.deepcopy(YAML(typ="safe", pure=True).load(DIGITS))


def test_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_accepts_the_sweep_file_of_the_design(digits):
    VALIDATOR.validate(digits)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["search"]["space"].update(own={"choice": [1, [2, "b"], None]}),
        lambda tree: tree["search"]["space"].update(size=[{"int": [1, 2], "when": {"a": [1, 2]}}, {"int": [3, 4]}]),
        lambda tree: tree["search"].update(objective=[{"metric": "a", "direction": "minimize"}]),
        lambda tree: tree["search"].update(points=[{"network.depth": 1}], constraints=["parameters <= 1e6"]),
        lambda tree: tree.update(task="task.py:Mine", fuse=8),
        lambda tree: tree["data"].update(source={"kind": "arrays", "path": "x.npz"}),
        lambda tree: tree["search"]["space"].update(rate={"float": [0, 1], "log": True}),
    ],
)
def test_accepts_other_forms(digits, change):
    change(digits)
    VALIDATOR.validate(digits)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.pop("budget"),
        lambda tree: tree.update(bugdet={}),
        lambda tree: tree.update(sweep="a/b"),
        lambda tree: tree.update(task="clasification"),
        lambda tree: tree.update(fuse="maybe"),
        lambda tree: tree["budget"].update(policy="ahsa"),
        lambda tree: tree["budget"].update(trials="many"),
        lambda tree: tree["network"].update(kernal=3),
        lambda tree: tree["search"]["space"].update({"network.activation": {"choice": ["relu", "glu"]}}),
        lambda tree: tree["search"]["space"].update({"network.depth": {"int": [1]}}),
        lambda tree: tree["search"]["space"].update({"network.depth": {"range": [1, 2]}}),
        lambda tree: tree["data"].update(source={"kind": "arrays"}),
    ],
)
def test_refuses(digits, change):
    change(digits)
    assert not VALIDATOR.is_valid(digits)


def test_every_key_is_described():
    for name, definition in SCHEMA["$defs"].items():
        for key, setting in definition.get("properties", {}).items():
            assert setting.get("description"), f"{name}.{key}"


def test_suggests_every_searchable_key():
    space = SCHEMA["$defs"]["SearchSettings"]["properties"]["space"]
    assert set(space["properties"]) == set(SEARCHABLE)
    assert "relu" in space["properties"]["network.activation"]["properties"]["choice"]["items"]["enum"]
