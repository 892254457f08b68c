import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_bench import Bench, make_spec

from podium.spec.sweep import Objective, ScheduleSettings
from podium.sweep.messages import Advance, Lane
from podium.training.record import Record
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


@pytest.mark.parametrize(("rise", "start", "floor"), [(0.3, 0.04, 0.0), (0.45, 0.1, 0.02)])
def test_one_cycle_is_that_of_torch(rise: float, start: float, floor: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=2.0,
        total_steps=80,
        pct_start=rise,
        div_factor=1 / start,
        final_div_factor=start / max(floor, 1e-30),
    )
    ours = ScheduleSettings(kind="one_cycle", rise=rise, start=start, floor=floor)
    for step in range(80):
        assert 2.0 * factor(ours, step, 80) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        if step < 79:
            theirs.step()


LOSSES = [5.0, 4.0, 4.0, 4.5, 3.9, 3.95, 3.9, 3.9, 3.9, 3.9, 3.9, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_drops_when_torch_does(patience: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0.0, min_lr=0.1
    )
    settings = ScheduleSettings(kind="plateau", factor=0.5, floor=0.1, patience=patience)
    record, objective = Record(), Objective(metric="validation/loss", direction="minimize")
    for epoch, loss in enumerate(LOSSES, 1):
        record.note(epoch, (loss,), objective, 0.0)
        record.drop_after(settings.patience)
        theirs.step(loss)
        assert factor(settings, 0, 100, record.drops) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert record.drops >= 2


def test_a_plateau_is_the_same_after_a_pause_and_in_a_stack(bench: Callable[..., Bench], blobs: Path) -> None:
    spec = make_spec(
        budget={"trials": 4, "epochs": {"max": 8}},
        optimizer={"kind": "sgd", "learning_rate": 2.0},
        schedule={"kind": "plateau", "patience": 1, "factor": 0.3},
        fuse=2,
    )
    lanes = tuple(Lane(trial=number, parameters={}, seed=number) for number in range(2))
    whole, parts, stack = (bench(spec, data=blobs) for _ in range(3))
    for lane in lanes:
        whole.advance(8, lane)
    parts.advance(4, lanes[0])
    again = bench(spec, data=blobs, holder=2)
    again.advance(8, parts.lane(lanes[0]))
    assert {**parts.curve(), **again.curve()} == whole.curve()
    steady = bench(spec.model_copy(update={"schedule": ScheduleSettings()}), data=blobs)
    steady.advance(8, lanes[0])
    assert steady.curve() != whole.curve(), "the rate was lowered"
    stack.trainer.advance(Advance(key="key", gang="gang", until=8, lanes=lanes))
    for lane in lanes:
        assert stack.curve(lane.trial)[8] == pytest.approx(whole.curve(lane.trial)[8], rel=1e-3)


def test_a_single_step_is_enough() -> None:
    for kind in ("constant", "cosine", "step", "one_cycle", "plateau"):
        assert factor(ScheduleSettings(kind=kind, warmup=0.5), 0, 1) > 0
