"""What users ask of a sweep while it runs: left in the ledger for its driver."""

from collections.abc import Sequence
from typing import Any

from podium.errors import LookupFailed, Refused, SpecError
from podium.ledger import Book
from podium.spec.files import parse_value
from podium.spec.space import Value
from podium.spec.space_checks import check_point
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Enqueued, StopRequested
from podium.wiring import summaries
from podium.wiring.place import Place


def stop(place: Place, sweep: str, trial: int | None) -> dict[str, Any]:
    """Asks for the end of a sweep, or of one of its trials.

    Raises:
        LookupFailed: if there is no such sweep or trial.
        Refused: if it is over already.
    """
    book = place.book()
    machine = _open(book, sweep)
    if trial is not None:
        if trial not in machine.trials:
            raise LookupFailed(f"sweep {sweep!r} has no trial {trial}; it has 0 to {len(machine.trials) - 1}")
        if machine.trials[trial].state.is_ended:
            raise Refused(f"trial {trial} of {sweep!r} is over: {machine.trials[trial].state}")
    book.request(sweep, StopRequested(trial=trial))
    what = f"sweep {sweep}" if trial is None else f"trial {trial} of {sweep}"
    return {"sweep": sweep, "trial": trial, "message": f"{what} will be stopped{_when(book, sweep)}"}


def enqueue(place: Place, sweep: str, values: Sequence[str]) -> dict[str, Any]:
    """Asks for a point to be tried next.

    Raises:
        LookupFailed: if there is no such sweep.
        Refused: if it is over, or has no trial left to give.
        SpecError: for keys or values outside the space.
    """
    book = place.book()
    machine = _open(book, sweep)
    if machine.spec.search.sampler == "list":
        raise Refused(f"the trials of {sweep!r} are listed in its search.points, and no other can be tried")
    if len(machine.trials) >= machine.budget:
        raise Refused(
            f"all {machine.budget} trials of {sweep!r} are given; launch it again with a larger budget.trials first"
        )
    point = _parse_point(machine.spec, values)
    book.request(sweep, Enqueued(parameters=point))
    return {"sweep": sweep, "parameters": point, "message": f"{sweep} will try {point}{_when(book, sweep)}"}


def _parse_point(spec: SweepSpec, values: Sequence[str]) -> dict[str, Value]:
    point: dict[str, Value] = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator:
            raise SpecError(f"{text!r} is not a value; write key=value, such as optimizer.learning_rate=3e-3")
        point[key] = parse_value(value)
    check_point(spec.space(), point)
    return point


def _open(book: Book, sweep: str) -> Machine:
    machine = summaries.load(book, sweep)
    if machine.is_ended and machine.state is not SweepState.INTERRUPTED:
        raise Refused(f"sweep {sweep!r} is over: {machine.state}")
    return machine


def _when(book: Book, sweep: str) -> str:
    return "" if book.holder(sweep) else f" when it is resumed (`podium resume {sweep}`); nobody drives it now"
