"""What the registered model may be asked to make of its network's outputs."""

from typing import Any

import pytest
from pydantic import ValidationError

from podium.errors import SpecError
from podium.spec.postprocessing import PostprocessingSettings
from podium.spec.sweep import SweepSpec

SWEEP = {
    "sweep": "s",
    "task": "classification",
    "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
    "budget": {"trials": 1, "epochs": {"max": 1}},
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"answer": "class", "threshold": "chosen"},
        {"answer": "class", "threshold": 0.2, "smallest": 20},
        {"window": 64, "overlap": 16, "blending": "linear"},
    ],
)
def test_a_sweep_may_say_what_is_answered(settings: dict[str, Any]) -> None:
    spec = SweepSpec.model_validate({**SWEEP, "postprocessing": settings})
    assert spec.postprocessing == PostprocessingSettings(**settings)
    assert not [key for key in spec.fixed() if key.startswith("postprocessing")], "no trial depends on it"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"threshold": 0.3}, "threshold is for classes, and answer is probabilities; add answer: class"),
        ({"smallest": 3}, "smallest is for classes"),
        ({"window": 8, "overlap": 8}, "overlap is 8 and window is 8; it must be less than the window"),
        ({"answer": "class", "threshold": 1.0}, "less than 1"),
        ({"answer": "class", "threshold": "best"}, "chosen"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PostprocessingSettings(**settings)


def test_what_a_task_cannot_answer_is_refused() -> None:
    from podium.data.manifest import Schema
    from podium.training.answers import require_answer
    from podium.training.tasks import Classification, Regression, Segmentation

    ten = Schema((1, 8, 8), "uint8", (), "int64", 10, (0.0,), (1.0,), True)
    numbers = Schema((4,), "float32", (), "float32", 0, (0.0,), (1.0,), True)
    masks = Schema((1, 8, 8), "uint8", (8, 8), "uint8", 2, (0.0,), (1.0,), True)
    classes, regression, segmentation = Classification(), Regression(), Segmentation()
    cases: list[tuple[dict[str, Any], Any, Schema, str]] = [
        ({"answer": "class"}, regression, numbers, "postprocessing.answer: is 'class', and this task predicts numbers"),
        ({"answer": "class", "threshold": 0.3}, classes, ten, "postprocessing.threshold: .* of 10 classes the most"),
        ({"answer": "class", "smallest": 3}, classes, ten, "postprocessing.smallest: is 3, .* no map of classes"),
        ({"window": 8}, classes, ten, "postprocessing.window: .* no maps"),
    ]
    for settings, task, schema, problem in cases:
        with pytest.raises(SpecError, match=problem):
            require_answer(PostprocessingSettings(**settings), task, schema)
    everything = PostprocessingSettings(answer="class", threshold=0.3, smallest=3, window=8, overlap=2)
    require_answer(everything, segmentation, masks)
