"""What users ask of a sweep while it runs: left in the ledger for its driver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from podium.errors import LookupFailed, Refused, SpecError
from podium.ledger import Book
from podium.spec.files import parse_value
from podium.spec.space import Value
from podium.spec.space_checks import check_point
from podium.spec.sweep import SweepSpec
from podium.spec.wording import show
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Enqueued, Extended, Request, StopRequested
from podium.sweep.trial import Trial
from podium.wiring import summaries
from podium.wiring.place import Place

GOING = (SweepState.RUNNING, SweepState.INTERRUPTED)

MOST = 1e15
"""No limit is beyond."""

LISTED = "its trials are those that search.points lists"


@dataclass(frozen=True)
class Standing:
    """How a sweep stands, as far as it decides what may be asked of it.

    Attributes:
        spec: Its settings.
        state: Where it stands.
        trials: By number, its trials.
        limits: By its key, each limit of the budget that may be raised; `budget.trials` is none if they are listed.
        budget: How many trials it may have.
    """

    spec: SweepSpec
    state: SweepState
    trials: Mapping[int, Trial]
    limits: Mapping[str, float]
    budget: int

    @classmethod
    def of(cls, machine: Machine) -> "Standing":
        """How a machine stands now."""
        limits: dict[str, float] = {f"budget.{name}": limit for name, limit in machine.spending.limits.items()}
        if machine.state is SweepState.EXHAUSTED:
            limits = {}
        elif machine.spec.search.sampler != "list":
            limits = {"budget.trials": machine.budget, **limits}
        return cls(machine.spec, machine.state, dict(machine.trials), limits, machine.budget)

    def after(self, asked: Iterable[Request]) -> "Standing":
        """How it will stand when what users have asked for is done."""
        limits, budget = dict(self.limits), self.budget
        for each in asked:
            if isinstance(each, Extended):
                wanted = {"budget.trials": each.trials, "budget.gpu_hours": each.gpu_hours, "budget.cost": each.cost}
                limits = {key: max(limit, wanted[key] or 0.0) for key, limit in limits.items()}
                budget = max(budget, each.trials)
        return replace(self, limits=limits, budget=budget)


def stop(place: Place, sweep: str, trial: int | None, by: str, known: Standing | None = None) -> dict[str, Any]:
    """Asks for the end of a sweep, or of one of its trials, in the name of `by`.

    The ledger is read for how the sweep stands, unless that is `known`; so for all requests.

    Raises:
        LookupFailed: if there is no such sweep or trial.
        Refused: if it is over already.
    """
    book = place.book()
    standing = _open(book, sweep, known)
    if trial is not None:
        if trial not in standing.trials:
            raise LookupFailed(f"sweep {sweep!r} has no trial {trial}; it has 0 to {len(standing.trials) - 1}")
        if standing.trials[trial].state.is_ended:
            raise Refused(f"trial {trial} of {sweep!r} is over: {standing.trials[trial].state}")
    book.request(sweep, StopRequested(trial=trial, by=by))
    what = f"sweep {sweep}" if trial is None else f"trial {trial} of {sweep}"
    return {"sweep": sweep, "trial": trial, **_asked(book, sweep, f"{what} will be stopped")}


def enqueue(
    place: Place, sweep: str, point: Mapping[str, Value], by: str, known: Standing | None = None
) -> dict[str, Any]:
    """Asks for a point, or a part of one, to be tried next, in the name of `by`.

    Raises:
        LookupFailed: if there is no such sweep.
        Refused: if it is over, or has no trial left to give.
        SpecError: for keys or values outside the space.
    """
    book = place.book()
    standing = _open(book, sweep, known)
    if standing.spec.search.sampler == "list":
        raise Refused(f"nothing can be tried beside the trials of {sweep!r}: {LISTED}")
    if len(standing.trials) >= standing.budget:
        raise Refused(
            f"all {standing.budget} trials of {sweep!r} are given; raise its budget first: "
            f"`podium extend {sweep} budget.trials={standing.budget + 1}`"
        )
    point = dict(point)
    check_point(standing.spec.space(), point)
    book.request(sweep, Enqueued(parameters=point, by=by))
    shown = ", ".join(f"{key}={value}" for key, value in point.items()) or "a point that is drawn"
    return {"sweep": sweep, "parameters": point, **_asked(book, sweep, f"{sweep} will try {shown}")}


def extend(
    place: Place, sweep: str, limits: Mapping[str, Any], by: str, known: Standing | None = None
) -> dict[str, Any]:
    """Asks for a larger budget, in the name of `by`; a sweep that is over goes on with it when it is resumed.

    Args:
        place: Where the sweep lives.
        sweep: Its name.
        limits: By its key, `budget.trials`, and `budget.gpu_hours` and `budget.cost` where the sweep has them, the new
            limit.
        by: Who wants it.
        known: How it stands, if that is known.

    Raises:
        LookupFailed: if there is no such sweep.
        Refused: if no budget of it can grow, or it would change nothing.
        SpecError: for a limit that is none, or not higher than the one in force.
    """
    book = place.book()
    standing = _standing(book, sweep, known)
    current = standing.limits
    if not current:
        why = "every point of the grid was tried" if standing.state is SweepState.EXHAUSTED else LISTED
        raise Refused(f"the budget of {sweep!r} cannot grow: {why}")
    wanted = {key: _raised(sweep, key, value, current) for key, value in limits.items()}
    trials = int(wanted.pop("budget.trials", standing.budget))
    if standing.state not in GOING and trials <= len(standing.trials):
        raise Refused(f"all {trials} trials of {sweep!r} are over, which nothing but more of them can change")
    more = {key.partition(".")[2]: limit for key, limit in wanted.items()}
    book.request(sweep, Extended(trials=trials, **more, by=by))
    budget = {key: limit for key, limit in {"budget.trials": trials, **wanted}.items() if key in limits}
    shown = ", ".join(f"{key}={limit:g}" for key, limit in budget.items())
    return {"sweep": sweep, "budget": budget, **_asked(book, sweep, f"{sweep} will have {shown}")}


def parse(values: Sequence[str]) -> dict[str, Any]:
    """The settings in texts such as `optimizer.learning_rate=3e-3`.

    Raises:
        SpecError: for a text of another form.
    """
    settings: dict[str, Any] = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator:
            raise SpecError(f"{text!r} is not a value; write key=value, such as optimizer.learning_rate=3e-3")
        settings[key] = parse_value(value)
    return settings


def _raised(sweep: str, key: str, value: Any, current: Mapping[str, float]) -> float:
    if key not in current:
        raise SpecError(f"{key} of {sweep!r} cannot be raised; what can be: {', '.join(current)}")
    is_number = isinstance(value, int if key == "budget.trials" else int | float) and not isinstance(value, bool)
    if not is_number or not current[key] < value < MOST:
        kind = "a whole number" if key == "budget.trials" else "a number"
        kind += f" below {MOST:g} and" if is_number and value >= MOST else ""
        raise SpecError(f"{key} of {sweep!r} is {current[key]:g} now; {show(value)} is not {kind} above it")
    return float(value)


def _open(book: Book, sweep: str, known: Standing | None) -> Standing:
    standing = _standing(book, sweep, known)
    if standing.state not in GOING:
        raise Refused(f"sweep {sweep!r} is over: {standing.state}")
    return standing


def _standing(book: Book, sweep: str, known: Standing | None) -> Standing:
    asked = book.requests(sweep)  # first: a driver may take them meanwhile
    return (known or Standing.of(summaries.load(book, sweep))).after(asked)


def _asked(book: Book, sweep: str, what: str) -> dict[str, Any]:
    """Who will do what was asked: the driver, or whoever resumes the sweep."""
    driver = book.holder(sweep)
    later = "" if driver else f" when it is resumed (`podium resume {sweep}`); nobody drives it now"
    return {"driver": driver, "message": what + later}
