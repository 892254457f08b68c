"""What differs between two sweeps, in words."""

from copy import deepcopy
from typing import Any

import pytest

from podium.sweep.messages import Launched
from podium.wiring.differences import Difference, differences, obstacles

GIT = {"commit": "0123456789abcdef", "branch": "main", "dirty": False, "diff": ""}
HARDWARE = {"processor": "a processor", "cores": 2, "memory_bytes": 24e9, "gpus": []}
SPEC: dict[str, Any] = {
    "sweep": "one",
    "task": "classification",
    "note": "the first",
    "data": {"source": "digits", "batch_size": 64},
    "network": {"kind": "mlp", "depth": 1},
    "search": {
        "objective": {"metric": "validation/accuracy", "direction": "maximize"},
        "space": {
            "network.activation": {"choice": ["relu", "tanh"]},
            "optimizer.learning_rate": {"log": [0.001, 0.1]},
        },
    },
    "budget": {"trials": 4, "epochs": {"max": 3}},
}


def launched(data: str = "0123", code: str = "", provenance: dict[str, Any] | None = None, **settings: Any) -> Launched:
    """The launch of a sweep: SPEC, but for settings by dotted key, where `__` stands for a dot."""
    spec = deepcopy(SPEC)
    for key, value in settings.items():
        *sections, name = key.split("__")
        section = spec
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = value
    kept = {
        "git": GIT,
        "source": "0123456789abcdef",
        "python": "3.11.2",
        "hardware": HARDWARE,
        "packages": {"torch": "2.13.0", "numpy": "2.4.6", "sqlalchemy": "2.0.1"},
    }
    return Launched(identity="1", spec=spec, data=data, code=code, provenance=kept | (provenance or {}))


CASES = [
    (
        {"data": "4567", "data__source": "mnist_5k"},
        "data",
        "one was validated on the prepared data 0123, two on the prepared data 4567",
    ),
    (
        {"data": "4567", "data__source": "mnist_5k"},
        "data",
        "the source of the data is digits in one and mnist_5k in two",
    ),
    (
        {"data": "4567"},
        "data",
        "one was validated on the prepared data 0123, two on the prepared data 4567: the settings are the same, but "
        "not what the source holds",
    ),
    ({"data__batch_size": 128}, "data", "the batch size is 64 in one and 128 in two"),
    (
        {"search__objective": {"metric": "validation/loss", "direction": "minimize"}},
        "objective",
        "the objective is validation/accuracy in one and validation/loss in two",
    ),
    ({"task": "task.py:Mine"}, "code", "the task is classification in one and task.py:Mine in two"),
    (
        {"provenance": {"git": GIT | {"commit": "fedcba9876543210", "dirty": True}}},
        "code",
        "one was launched from commit 0123456789ab, two from commit fedcba987654 with uncommitted changes",
    ),
    (
        {"provenance": {"git": {}}},
        "code",
        "one was launched from commit 0123456789ab, two from a folder outside of git",
    ),
    (
        {"provenance": {"packages": {"torch": "2.14.0", "numpy": "2.4.6"}}},
        "packages",
        "torch is 2.13.0 in one and 2.14.0 in two",
    ),
    (
        {"provenance": {"source": "fedcba9876543210"}},
        "code",
        "the digest of Podium's own code is 0123456789ab in one and fedcba987654 in two",
    ),
    (
        {"provenance": {"hardware": {"cores": 8, "memory_bytes": 64e9, "gpus": ["NVIDIA H200, 141 GiB, 1"]}}},
        "hardware",
        "one was launched on 2 cores, 24 GB, no GPU; two on 8 cores, 64 GB, NVIDIA H200, 141 GiB, 1",
    ),
    (
        {"provenance": {"hardware": HARDWARE | {"processor": "another"}}},
        "hardware",
        "one was launched on a processor, 2 cores, 24 GB, no GPU; two on another, 2 cores, 24 GB, no GPU",
    ),
    ({"data__train_on": "train+validation"}, "data", "what is trained on is train in one and train+validation in two"),
    (
        {"search__space__optimizer.learning_rate": {"log": [0.0001, 0.1]}},
        "space",
        "optimizer.learning_rate is searched from 0.001 to 0.1 on a log scale in one and from 0.0001 to 0.1 on a log "
        "scale in two",
    ),
    (
        {"search__space__network.activation": {"choice": ["relu", "gelu", "swish"]}},
        "space",
        "for network.activation, two also tries gelu or swish and one also tries tanh",
    ),
    (
        {"search__space__network.depth": {"int": [1, 3]}},
        "space",
        "only two searches network.depth, from 1 to 3 in whole numbers; in one it is 1",
    ),
    (
        {"search__space__network.dropout": {"float": [0, 0.5], "step": 0.1, "when": {"network.activation": "relu"}}},
        "space",
        "only two searches network.dropout, from 0 to 0.5 in steps of 0.1 where network.activation is relu; in one it "
        "is 0",
    ),
    ({"network__depth": 2}, "settings", "network.depth is 1 in one and 2 in two"),
    ({"budget__wall_time": 60.0}, "settings", "budget.wall_time is not set in one and 60 in two"),
    ({"screen": True}, "settings", "screen is off in one and on in two"),
]


@pytest.mark.parametrize(("changes", "about", "text"), CASES)
def test_what_differs_is_one_sentence_under_what_it_is_about(changes: dict[str, Any], about: str, text: str) -> None:
    assert Difference(about, text) in differences(launched(), launched(**changes | {"sweep": "two"}))


@pytest.mark.parametrize(("changes", "about", "text"), CASES)
def test_the_other_way_round_the_same_things_differ(changes: dict[str, Any], about: str, text: str) -> None:
    one, other = launched(), launched(**changes | {"sweep": "two"})
    there, back = (sorted(each.about for each in found) for found in (differences(one, other), differences(other, one)))
    assert there == back


def test_of_what_is_equal_nothing_is_said() -> None:
    other = launched(sweep="two", note="the second", budget__trials=9, data__licence="CC0", notify__command="true")
    assert differences(launched(), other) == []


def test_what_an_older_ledger_does_not_tell_is_no_difference() -> None:
    older = {"source": None, "hardware": {"cores": 2}, "packages": {"torch": "2.13.0", "SQLAlchemy": "2.0.1"}}
    one = launched(provenance=older, search__points=[{"network.activation": "tanh"}])
    assert differences(one, launched()) == differences(launched(), one) == []


def test_of_many_packages_those_that_can_change_a_result_are_named() -> None:
    one, other = (
        launched(provenance={"packages": {f"a{number}": version for number in range(20)} | {"torch": version}})
        for version in ("1", "2")
    )
    texts = [each.text for each in differences(one, other)]
    assert texts[0] == "torch is 1 in one and 2 in one"
    assert texts[-1] == "13 more packages differ in their versions"
    assert len(texts) == 9


def test_changes_that_were_not_committed_are_told_apart() -> None:
    one, other = (launched(provenance={"git": GIT | {"dirty": True, "diff": diff}}) for diff in ("+a", "+b"))
    text = "both were launched from commit 0123456789ab with uncommitted changes, but these are not the same"
    assert differences(one, other) == [Difference("code", text)]


def test_the_code_of_a_task_differs_by_its_digest() -> None:
    (found,) = differences(launched(code="abc"), launched(code="def"))
    assert found == Difference("code", "the task's code differs: its digest is abc in one and def in one")


def test_equal_data_from_elsewhere_are_the_same_data() -> None:
    assert differences(launched(), launched(data__source="mnist_5k")) == []


@pytest.mark.parametrize(
    ("changes", "is_comparable"),
    [
        ({"data__batch_size": 128, "network__depth": 2}, True),
        ({"data": "4567"}, False),
        ({"data": ""}, False),
        ({"data__train_on": "train+validation"}, False),
        ({"search__objective": {"metric": "validation/accuracy", "direction": "maximize", "at": "last"}}, False),
    ],
)
def test_values_compare_where_objective_and_data_are_the_same(changes: dict[str, Any], is_comparable: bool) -> None:
    one, other = launched(), launched(**changes)
    assert (obstacles(differences(one, other), one, other) == []) is is_comparable
