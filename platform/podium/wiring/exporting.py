"""Sweeps for programs of others: a study that Optuna Dashboard opens."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Launched, Progress, Saved
from podium.sweep.trial import TrialState
from podium.wiring import summaries

if TYPE_CHECKING:
    from podium.search.shown_study import Lived


def export(book: Book, sweep: str, database: str, stage: Callable[[str], None]) -> dict[str, Any]:
    """Writes the study of a sweep, in the place of the one written before; what `podium export --json` prints.

    Args:
        book: Where the sweep is.
        sweep: Its name, and the study's.
        database: An Optuna storage: a path of an SQLite file, or an SQLAlchemy address.
        stage: Is told what is being done.

    Raises:
        LookupFailed: if there is no such sweep.
        UserError: if the database cannot be used, or holds other things.
    """
    from podium.masking import without_passwords
    from podium.search.shown_study import ShownStudy
    from podium.search.studies import Study, write

    book.require(sweep)
    stage(f"Reading the ledger of {sweep}")
    launched, machine, lived = read(book.rows(sweep), book.facts(sweep).all())
    study = ShownStudy(machine.spec)
    summary = summaries.summarize(book, sweep, machine)
    attributes = {
        "podium.state": summary["state"],
        **({"podium.user": summary["user"]} if summary["user"] else {}),
        "podium.task": machine.spec.task,
        "podium.budget_trials": machine.budget,
        "podium.device_s": summary["device_s"],
        **({"podium.constraints": study.constraints} if study.constraints else {}),
    }
    url = database if "://" in database else f"sqlite:///{Path(database).absolute()}"
    trials = [study.show(each) for each in lived]
    shown_study = Study(sweep, launched.identity, study.directions, study.metrics, attributes, trials)
    write(url, shown_study, stage)
    shown = without_passwords(database if "://" in database else f"sqlite:///{database}")
    return {
        "sweep": sweep,
        "study": sweep,
        "storage": shown,
        "trials": len(trials),
        "message": f"{len(trials):,} trials are in the study {sweep}; look at it: optuna-dashboard {shown}",
    }


def read(rows: Iterable[Row], facts: dict[str, Any]) -> "tuple[Launched, Machine, list[Lived]]":
    """Replays a sweep; of every trial its curve, and when it was trained."""
    from podium.search.shown_study import Lived

    rows = iter(rows)
    launched = next(rows).event
    assert isinstance(launched, Launched)
    machine = summaries.empty(launched)
    metric = machine.spec.search.objectives[0].metric
    machine.handle(launched)
    curves: dict[int, dict[int, float | None]] = {}
    began: dict[int, float] = {}
    left: dict[int, float] = {}
    running: set[int] = set()
    at = 0.0
    for row in rows:
        at = row.at
        commands = machine.handle(row.event)
        if isinstance(row.event, Progress):
            for lane in row.event.lanes:
                if metric in lane.metrics:
                    curves.setdefault(lane.trial, {})[lane.epoch] = lane.metrics[metric]
        elif not isinstance(row.event, Saved):
            gone = {number for number in running if machine.trials[number].state is not TrialState.RUNNING}
            left.update(dict.fromkeys(gone, at))
            running -= gone
        for command in commands:
            if isinstance(command, Advance):
                numbers = [lane.trial for lane in command.lanes]
                running.update(numbers)
                for number in numbers:
                    began.setdefault(number, at)
    trials = [machine.trials[number] for number in sorted(machine.trials)]
    return (
        launched,
        machine,
        [
            Lived(
                trial,
                sorted(curves.get(trial.number, {}).items()),
                began.get(trial.number),
                left.get(trial.number, at if trial.state.is_ended else None),
                facts.get(f"run/{trial.number}", ""),
            )
            for trial in trials
        ],
    )
