from typing import Any

import pytest
from pydantic import ValidationError

from podium.spec.checks import problems
from podium.spec.heads import HeadSettings
from podium.spec.space import signature
from podium.spec.sweep import SweepSpec

HEADS = {
    "digit": {"kind": "classification", "targets": [0], "classes": 10},
    "place": {"kind": "regression", "targets": "1:3", "weight": 0.1},
}


def spec_of(task: str = "multi_output", space: dict[str, Any] | None = None, **settings: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "sweep": "toy",
            "task": task,
            "data": {"source": "digits"},
            "search": {"objective": {"metric": "validation/loss", "direction": "minimize"}, "space": space or {}},
            "budget": {"trials": 2, "epochs": {"max": 4}},
            **settings,
        }
    )


def test_the_weights_of_heads_are_searched_and_leave_the_structure_alone() -> None:
    spec = spec_of(heads=HEADS, space={"heads.place.weight": {"log": [0.01, 1.0]}})
    assert list(problems(spec)) == []
    assert spec.given() == {"heads.place.weight": 0.1}
    assert spec.head_weights({"heads.place.weight": 0.5}) == {"heads.digit.weight": 1.0, "heads.place.weight": 0.5}
    keys = [key for key, _ in signature({"heads.place.weight": 0.5}, spec.fixed())]
    assert "heads.digit.classes" in keys
    assert not [key for key in keys if key.endswith(".weight")]
    assert HeadSettings.model_validate(HEADS["place"]).columns == (1, 2)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"heads": {}}, "is missing; multi_output trains several outputs"),
        ({"task": "regression", "heads": HEADS}, "is for the task multi_output"),
        ({"heads": {"a.b": HEADS["place"]}}, "no name of a head"),
        ({"heads": HEADS, "space": {"heads.size.weight": {"float": [0, 1]}}}, "did you mean 'heads.place.weight'"),
        ({"heads": HEADS, "space": {"heads.place.weight": {"float": [-1, 1]}}}, "holds -1"),
    ],
)
def test_heads_that_a_sweep_cannot_have_are_refused(settings: dict[str, Any], problem: str) -> None:
    found = [text for _, text in problems(spec_of(**settings))]
    assert any(problem in text for text in found), found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": None}, "says how many `classes`"),
        ({"targets": [0, 1]}, "has one column"),
        ({"targets": "2:2"}, "holds no column"),
        ({"targets": "two"}, "should match pattern"),
        ({"kind": "regression"}, "only a classification has classes"),
    ],
)
def test_heads_that_make_no_sense_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        HeadSettings.model_validate(HEADS["digit"] | change)
