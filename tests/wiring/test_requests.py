"""What may be asked of a sweep is what its driver then does."""

from pathlib import Path
from typing import Any

import pytest

from podium.errors import Refused, SpecError
from podium.execution.simulated import SimulatedExecutor
from podium.ledger import Book
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import Extended, Resumed, StopRequested
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec
from podium.wiring import requests
from podium.wiring.place import Place

MONEY = {"prices": {"cpu": 3600.0}, "cost": 1e6}


def ended(folder: Path, most: int | None = None, **settings: Any) -> Place:
    """A place with a simulated sweep of 6 trials that has ended."""
    place, spec = Place.of(folder), toy_spec(6, **settings)
    executor = SimulatedExecutor(spec, 2, lambda *_: [0.5] * 9, lambda _: 1.0)
    machine, ledger = Machine(spec), place.book().hold("toy")
    executor.start()
    drive(machine, ledger, RandomProposer(spec.space(), most=most), executor, executor.clock, (launched(spec),))
    ledger.release()
    return place


def goes_on(book: Book, *asked: Extended) -> bool:
    """Whether the sweep goes on when it is resumed with what was asked."""
    machine = replay(row.event for row in book.rows("toy"))
    for event in (Resumed(holder="somebody"), *asked):
        machine.handle(event)
    return machine.state is SweepState.RUNNING


def extended(place: Place, **limits: float) -> Extended:
    """What is asked of the driver."""
    requests.extend(place, "toy", {f"budget.{key}": limit for key, limit in limits.items()}, "Ada")
    asked = place.book().requests("toy")[-1]
    assert isinstance(asked, Extended)
    return asked


def test_money_alone_is_refused_once_every_trial_is_over(tmp_path: Path) -> None:
    place = ended(tmp_path, budget=MONEY)
    with pytest.raises(Refused, match="all 6 trials of 'toy' are over, which nothing but more of them can change"):
        extended(place, cost=2e6)
    assert not goes_on(place.book(), Extended(trials=6, cost=2e6)), "it would have been in vain"
    assert goes_on(place.book(), extended(place, trials=7, cost=2e6))
    assert extended(place, cost=3e6) == Extended(trials=7, cost=3e6, by="Ada"), "the trials were asked for before"


def test_money_alone_is_enough_where_trials_are_left(tmp_path: Path) -> None:
    place = ended(tmp_path, budget=MONEY | {"cost": 4.0})
    assert goes_on(place.book(), extended(place, cost=1e6))


def test_nothing_lets_a_grid_go_on_that_is_exhausted(tmp_path: Path) -> None:
    place = ended(tmp_path, 3, budget=MONEY)
    assert not goes_on(place.book(), Extended(trials=9, cost=2e6))
    with pytest.raises(Refused, match="every point of the grid was tried"):
        extended(place, cost=2e6)


def test_what_waits_for_the_driver_counts(tmp_path: Path) -> None:
    place = ended(tmp_path)
    extended(place, trials=64)
    with pytest.raises(SpecError, match=r"budget.trials of 'toy' is 64 now; 10 is not a whole number above it"):
        extended(place, trials=10)
    place.book().request("toy", StopRequested(by="Ada"))
    assert extended(place, trials=65).trials == 65
    assert len(place.book().requests("toy")) == 3, "looking takes none away"


@pytest.mark.parametrize("limit", [pytest.param(10**400, id="huge"), float("inf"), float("nan"), 1e15, True, "9"])
def test_what_is_no_limit_is_told_of(tmp_path: Path, limit: Any) -> None:
    place = ended(tmp_path, budget=MONEY)
    for key in ("trials", "cost"):
        with pytest.raises(SpecError, match=r"is not a (whole )?number (below 1e\+15 and )?above it"):
            extended(place, **{key: limit})
