"""Sweeps for programs of others: a study that Optuna Dashboard opens."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.ledger import Book
from podium.sweep.spans import Span
from podium.sweep.timeline import Timeline
from podium.wiring import summaries
from podium.wiring.comparing import Side, read

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
    side = read(book.rows(sweep), book.facts(sweep).all())
    machine = side.machine
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
    trials = [study.show(each) for each in lived(side)]
    shown_study = Study(sweep, side.launched.identity, study.directions, study.metrics, attributes, trials)
    write(url, shown_study, stage)
    shown = without_passwords(database if "://" in database else f"sqlite:///{database}")
    return {
        "sweep": sweep,
        "study": sweep,
        "storage": shown,
        "trials": len(trials),
        "message": f"{len(trials):,} trials are in the study {sweep}; look at it: optuna-dashboard {shown}",
    }


def lived(side: Side) -> "list[Lived]":
    """Of every trial its curve, and when it was trained."""
    from podium.search.shown_study import Lived

    began, left = _times(side.timeline)
    return [
        Lived(
            trial,
            side.curves.get(number, []),
            began.get(number),
            left.get(number, side.timeline.at if trial.state.is_ended else None),
            side.facts.get(f"run/{number}") or "",
        )
        for number, trial in sorted(side.machine.trials.items())
    ]


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
