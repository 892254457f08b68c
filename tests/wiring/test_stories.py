"""What `podium ledger show` and `podium status` say of trials that were trained together."""

from pathlib import Path

import pytest
from wiring_cases import podium_here

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Measured
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec
from podium.wiring.place import Place


class OneLoss(SimulatedExecutor):
    """Loses the gang of its second advance."""

    def advance(self, command: Advance) -> None:
        super().advance(command)
        if command.key == "advance/2":
            self.lose(command.gang)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ledger of a sweep of six trials: four in a cohort, two in another that broke off."""
    spec = toy_spec(
        trials=6, fuse=4, policy="none", task="task.py:Mine", search={"space": {"penalty.l1": {"float": [0.0, 1.0]}}}
    )

    def measure(lanes: tuple[object, ...]) -> Measured | None:
        if len(lanes) == 4:
            return Measured(trial=0, width=4, rates={1: 250.0, 4: 1000.0})
        return Measured(trial=4, width=1, reason="no rule for sort") if len(lanes) == 2 else None

    executor = OneLoss(spec, 1, lambda lane: [1.0 + lane.trial] * 9, lambda advance: 1.0, measure)
    executor.start()
    memory = MemoryBook().hold("toy")
    proposer = RandomProposer(spec.space())
    drive(Machine(spec), memory, proposer, executor, executor.clock, [launched(spec, fuses=True)])
    folder = tmp_path_factory.mktemp("stacks")
    book = Place.of(folder / ".podium").book()
    ledger = book.hold("toy")
    ledger.append(memory.events())
    ledger.release()
    book.close()
    return folder


def test_the_story_tells_cohorts_lanes_and_widths(folder: Path) -> None:
    entries = podium_here(folder, "ledger", "show", "toy", "--json").json["entries"]

    def texts(trial: int) -> list[str]:
        return [entry["text"] for entry in entries if entry["trial"] == trial][1:]

    first, *_, last = texts(1)
    assert first == ("trains on gang simulated-0 until epoch 9, from the beginning, as lane 1 of 4 in cohort advance/1")
    assert last == "is complete: full budget"
    assert "reached epoch 9, in a stack of 4: 2" in texts(1)
    assert texts(0)[1] == "is of a kind whose best width is 4 (samples a second by width: 1: 250, 4: 1000)"
    assert texts(4)[1:5] == [
        "is of a kind that cannot be stacked: no rule for sort",
        "broke off on gang simulated-0 (worker_lost, 0 so far): killed",
        "goes on alone: nobody knows which lane was to blame",
        "is waiting",
    ]
    assert "reached epoch 9: 6" in texts(5)


def test_the_status_tells_where_the_best_trial_was_trained(folder: Path) -> None:
    best = podium_here(folder, "status", "toy", "--json").json["best"]
    assert (best["trial"], best["cohort"], best["lane"], best["lanes"], best["width"]) == (0, "advance/1", 0, 4, 4)
    said = podium_here(folder, "status", "toy").output
    assert "trained as lane 0 of 4 in cohort advance/1, in a stack of 4" in said


@pytest.mark.parametrize(("trial", "first"), [(0, []), (3, [0]), (5, [4])])
def test_logs_point_to_where_mates_print_together(folder: Path, trial: int, first: list[int]) -> None:
    assert podium_here(folder, "logs", f"toy/{trial}", "--json").json["see"] == first
    said = podium_here(folder, "logs", f"toy/{trial}").problems
    assert said.splitlines() == [
        f"what trial {trial} printed among mates is in the log of the first of them: toy/{lead}" for lead in first
    ]


def test_the_ledger_of_cohorts_is_whole(folder: Path) -> None:
    assert podium_here(folder, "ledger", "verify", "toy").output == "the ledger of toy is whole\n"
