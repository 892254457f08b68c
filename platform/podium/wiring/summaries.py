"""What is said about sweeps: summaries and tables, read from the ledger alone."""

import codecs
import time
from collections.abc import Iterator, Mapping
from typing import Any

from podium.errors import LookupFailed
from podium.execution import logs
from podium.ledger import Book
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec, flatten
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import Advance, Launched, Progress
from podium.sweep.spending import figures, total, wasted
from podium.sweep.trial import Trial, TrialState
from podium.wiring.place import Place

FOLLOW_EVERY_S = 0.5

NOTES = ("startup_s", "wall_s", "tracking_uri", "parent_run", "model")
"""The facts of a sweep that its summary tells; a run of each trial is beside them."""


def load(book: Book, sweep: str) -> Machine:
    """The sweep as its ledger has it now.

    Raises:
        LookupFailed: if there is none of that name.
    """
    book.require(sweep)
    return replay(row.event for row in book.rows(sweep))


def summarize(book: Book, sweep: str, machine: Machine | None = None) -> dict[str, Any]:
    """What `launch --json` and `status --json` print; of a `machine` that was loaded already, if there is one."""
    machine = machine or load(book, sweep)
    best = machine.best()
    front = machine.front() if len(machine.spec.search.objectives) > 1 else []
    described = [*front, *([] if best is None else [best])]
    facts = book.facts(sweep).some([*NOTES, *(f"run/{trial.number}" for trial in described)])
    driver = book.holder(sweep)
    launched = next(book.rows(sweep, most=1)).event
    assert isinstance(launched, Launched)
    summary = {
        "sweep": sweep,
        "user": launched.provenance.get("user", ""),
        "state": str(machine.state) if driver or machine.is_ended else "interrupted",
        "reason": machine.reason,
        "trials": {"total": len(machine.trials), "budget": machine.budget, **machine.count()},
        "objectives": [objective.metric for objective in machine.spec.search.objectives],
        "best": None if best is None else describe(best, machine.spec, facts),
        "failures": [
            {
                "trial": trial.number,
                "reason": trial.reason,
                "cause": trial.cause,
                "attempts": dict(trial.attempts),
                "log_tail": trial.log_tail,
            }
            for trial in machine.trials.values()
            if trial.state is TrialState.FAILED
        ],
        "ailing": [
            {"trial": trial.number, "state": str(trial.state), "verdict": trial.verdict}
            for trial in machine.trials.values()
            if trial.verdict
        ],
        "screened": sum(trial.is_screened for trial in machine.trials.values()) if machine.spec.screen else None,
        "startup_s": facts.get("startup_s"),
        "wall_s": facts.get("wall_s"),
        "device_s": round(sum(trial.device_s for trial in machine.trials.values()), 3),
        **figures(machine.spending.total, total(map(wasted, machine.trials.values()))),
        "driver": driver,
        "tracking_uri": facts.get("tracking_uri"),
        "parent_run_id": facts.get("parent_run"),
        "model": facts.get("model"),
    }
    if len(machine.spec.search.objectives) > 1:
        summary["front"] = [describe(trial, machine.spec, facts) for trial in front]
    return summary


def describe(trial: Trial, spec: SweepSpec, facts: Mapping[str, Any]) -> dict[str, Any]:
    """One trial as plain data."""
    values = list(trial.last_values)
    return {
        "trial": trial.number,
        "state": str(trial.state),
        "reason": trial.reason,
        "verdict": trial.verdict,
        "value": values[0] if len(spec.search.objectives) == 1 and values else values or None,
        "epoch": trial.best_epoch,
        "rung": trial.rung,
        "params": dict(trial.parameters),
        "metrics": dict(trial.metrics),
        "device_s": round(trial.device_s, 3),
        **figures(trial.spent, wasted(trial)),
        "cohort": trial.cohort,
        "lane": trial.lane,
        "lanes": trial.lanes,
        "width": trial.width,
        "ranks": trial.ranks,
        "strategy": trial.strategy,
        "scaling_efficiency": trial.efficiency,
        "usage": [dict(used) for used in trial.usage],
        "run_id": facts.get(f"run/{trial.number}"),
    }


def place_in(cohort: str, lane: int, lanes: int) -> str:
    """Where in a cohort a trial is trained, in words."""
    return f"lane {lane} of {lanes} in cohort {cohort}"


def overview(book: Book) -> list[dict[str, Any]]:
    """All sweeps, oldest first, in short."""
    short = ("sweep", "user", "state", "trials", "objectives", "best", "wall_s")
    return [{key: summarize(book, name)[key] for key in short} for name in book.sweeps()]


def curves(book: Book, sweep: str) -> dict[int, dict[str, list[tuple[int, float | None]]]]:
    """By trial and metric the value after each epoch; a repeated epoch counts as it was last seen."""
    points: dict[int, dict[str, dict[int, float | None]]] = {}
    for row in book.rows(sweep):
        if isinstance(row.event, Progress):
            for lane in row.event.lanes:
                for name, value in lane.metrics.items():
                    points.setdefault(lane.trial, {}).setdefault(name, {})[lane.epoch] = value
    return {
        trial: {name: sorted(by_epoch.items()) for name, by_epoch in metrics.items()}
        for trial, metrics in points.items()
    }


def flat_settings(spec: SweepSpec) -> dict[str, Value]:
    """Every setting of a spec by dotted key, defaults included; presets are what other launches may ask for."""
    return flatten(spec.model_dump(mode="json", exclude={"presets"}))


def find_trial(place: Place, trial: str) -> tuple[str, int]:
    """The sweep and number meant by `7` (in the newest sweep) or `digits/7`.

    Raises:
        LookupFailed: if there is no such trial.
    """
    book = place.book()
    name, _, number = trial.rpartition("/")
    sweeps = book.sweeps()
    if not name and not sweeps:
        raise LookupFailed(f"there is no sweep in {place.home} yet")
    name = name or sweeps[-1]
    machine = load(book, name)
    if not number.isdecimal() or int(number) not in machine.trials:
        raise LookupFailed(f"sweep {name!r} has no trial {number!r}; it has {len(machine.trials)}, counted from 0")
    return name, int(number)


def read_log(place: Place, sweep: str, trial: int, *, follow: bool) -> Iterator[str]:
    """The text of a trial's log; with `follow`, goes on until the trial has ended."""
    position, book = 0, place.book()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        ended = not follow or load(book, sweep).trials[trial].state.is_ended or book.holder(sweep) is None
        news = logs.read_log(place.store, sweep, trial, place.cache, position)
        position += len(news)
        yield decoder.decode(news)
        if ended:
            return
        time.sleep(FOLLOW_EVERY_S)


def leads(place: Place, sweep: str, trial: int) -> list[int]:
    """The first trials of the cohorts that `trial` was in, or is in: their logs have what was printed in them."""
    machine: Machine | None = None
    firsts: dict[int, None] = {}
    for row in place.book().rows(sweep):
        if machine is None:
            assert isinstance(row.event, Launched)
            machine = empty(row.event)
        for command in machine.handle(row.event):
            if isinstance(command, Advance) and any(lane.trial == trial for lane in command.lanes):
                firsts[command.lanes[0].trial] = None
    return [first for first in firsts if first != trial]


def empty(launched: Launched) -> Machine:
    """The machine of a sweep before its first event."""
    return Machine(SweepSpec.model_validate(launched.spec))
