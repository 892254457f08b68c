import math

import pytest

from podium.spec.sweep import ScheduleSettings
from podium.training.toolbox.schedules import factor


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "constant"}, {0: 1, 99: 1}),
        ({"kind": "constant", "warmup": 0.1}, {0: 0.1, 4: 0.5, 8: 0.9, 9: 1, 99: 1}),
        ({"kind": "cosine"}, {0: 1, 25: (1 + math.cos(math.pi / 4)) / 2, 50: 0.5}),
        ({"kind": "cosine", "floor": 0.2}, {0: 1, 50: 0.6, 100: 0.2}),
        ({"kind": "cosine", "warmup": 0.2}, {0: 0.05, 19: 1, 20: 1, 60: 0.5, 100: 0}),
        ({"kind": "step", "step_every": 0.3, "factor": 0.5}, {0: 1, 29: 1, 30: 0.5, 59: 0.5, 60: 0.25, 90: 0.125}),
    ],
)
def test_factors_of_a_hundred_steps(settings: dict[str, object], expected: dict[int, float]) -> None:
    schedule = ScheduleSettings.model_validate(settings)
    assert {step: factor(schedule, step, 100) for step in expected} == pytest.approx(expected)


def test_a_single_step_is_enough() -> None:
    for kind in ("constant", "cosine", "step"):
        assert factor(ScheduleSettings(kind=kind, warmup=0.5), 0, 1) > 0
