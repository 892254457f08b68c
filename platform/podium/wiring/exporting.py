"""Sweeps for programs of others: a study that Optuna Dashboard opens."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.messages import Launched, Progress
from podium.sweep.spans import Span
from podium.sweep.timeline import Timeline
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
    launched, timeline, lived = read(book.rows(sweep), book.facts(sweep).all())
    machine = timeline.machine
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


def read(rows: Iterable[Row], facts: Mapping[str, Any]) -> "tuple[Launched, Timeline, list[Lived]]":
    """Replays a sweep: its first event, what its gangs did, and of every trial its curve and when it was trained."""
    from podium.search.shown_study import Lived

    rows = iter(rows)
    first = next(rows)
    assert isinstance(first.event, Launched)
    timeline = Timeline(summaries.empty(first.event))
    metric = timeline.machine.spec.search.objectives[0].metric
    curves: dict[int, dict[int, float | None]] = {}
    timeline.take(first.at, first.event)
    for row in rows:
        timeline.take(row.at, row.event)
        if isinstance(row.event, Progress):
            for lane in row.event.lanes:
                if metric in lane.metrics:
                    curves.setdefault(lane.trial, {})[lane.epoch] = lane.metrics[metric]
    began, left = _times(timeline)
    trials = [trial for _, trial in sorted(timeline.machine.trials.items())]
    return (
        first.event,
        timeline,
        [
            Lived(
                trial,
                sorted(curves.get(trial.number, {}).items()),
                began.get(trial.number),
                left.get(trial.number, timeline.at if trial.state.is_ended else None),
                facts.get(f"run/{trial.number}") or "",
            )
            for trial in trials
        ],
    )


def _times(timeline: Timeline) -> tuple[dict[int, float], dict[int, float]]:
    """By trial when it was first trained, and when last."""
    began: dict[int, float] = {}
    left: dict[int, float] = {}
    for _, pieces in timeline.pieces:
        for piece in pieces:
            if isinstance(piece, Span):
                for number in piece.trials:
                    began[number] = min(piece.begin, began.get(number, piece.begin))
                    left[number] = max(piece.end, left.get(number, piece.end))
    return began, left
