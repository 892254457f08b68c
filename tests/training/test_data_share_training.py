"""Trials on a share of the train split: a searched share, resumed in an epoch's middle, in stacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_bench import Bench, make_spec

from podium.spec.space import fusible_because
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane
from podium.training.preflight import measure

DATA = {"source": {"kind": "arrays", "path": "blobs.npz"}, "batch_size": 8}


def searched(**settings: Any) -> SweepSpec:
    search = {
        "objective": {"metric": "validation/accuracy", "direction": "maximize"},
        "space": {"data.share": {"choice": [0.2, 1.0]}},
    }
    return make_spec(data=DATA, search=search, **settings)


def lane(number: int, share: float) -> Lane:
    return Lane(trial=number, parameters={"data.share": share}, seed=7)


def test_a_searched_share_is_that_of_a_fixed_one(bench: Callable[..., Bench], blobs: Path) -> None:
    assert fusible_because("data.share") is None
    spec = make_spec(data={**DATA, "share": 0.2})
    assert spec.fixed()["data.share"] == 0.2
    fixed, either = bench(spec, data=blobs), bench(searched(), data=blobs)
    fixed.advance(3)
    either.advance(3, lane(0, 0.2))
    either.advance(3, lane(1, 1.0))
    assert either.curve(0) == fixed.curve(0)
    assert either.curve(1) != fixed.curve(0)


def test_a_trial_goes_on_in_the_middle_of_its_share(bench: Callable[..., Bench], blobs: Path) -> None:
    whole, parts = bench(searched(), data=blobs), bench(searched(), data=blobs)
    whole.advance(3, lane(0, 0.2))
    parts.advance(3, lane(0, 0.2), halt_after=4)
    (saved,) = parts.saved
    assert (saved.epoch, saved.step) == (1, 1), "three steps an epoch"
    again = bench(searched(), data=blobs, holder=2)
    again.advance(3, parts.lane(lane(0, 0.2)))
    assert {**parts.curve(), **again.curve()} == whole.curve()


def test_a_stack_has_its_share(bench: Callable[..., Bench], blobs: Path) -> None:
    plain, stack = bench(searched(fuse="off"), data=blobs), bench(searched(fuse=2), data=blobs)
    lanes = tuple(Lane(trial=number, parameters={"data.share": 0.2}, seed=number) for number in range(2))
    reports = stack.trainer.advance(Advance(key="key", gang="gang", until=3, lanes=lanes))
    assert [report.width for report in reports] == [2, 2]
    for each in lanes:
        plain.advance(3, each)
        for epoch, metrics in plain.curve(each.trial).items():
            assert stack.curve(each.trial)[epoch] == pytest.approx(metrics, rel=1e-4)


def test_the_preflight_counts_the_steps_of_the_share(blobs: Path) -> None:
    spec = searched()
    shares = [measure(spec, code=None, data=blobs, parameters={"data.share": share}) for share in (0.2, 1.0)]
    few, many = (round(each.epoch_s / each.step_s) for each in shares)
    assert (few, many) == (3, 13)
