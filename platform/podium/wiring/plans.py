"""Plans of promotions: who is trained again and for what, before anything is done or when it is gone on with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from podium.data.manifest import Manifest
from podium.errors import DataError, LookupFailed, Refused, TaskError
from podium.ledger import Book
from podium.registry import promotion
from podium.registry.client import require_name
from podium.registry.finalists import confirming, final, finalists
from podium.registry.reigns import reigns
from podium.spec.promotion import PromotionSettings, parse_promotion
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Event, Judged, Launched, Promoting
from podium.tracking.provenance import user
from podium.wiring import champions, networks, summaries
from podium.wiring.place import Place

MOST_NAME = 80
"""Characters of a sweep's name that its promotions' names begin with."""


@dataclass(frozen=True)
class Plan:
    """A promotion, before or after it was begun.

    Attributes:
        place: Where it all lives.
        source: The sweep that the finalists come from.
        launched: How that was launched.
        promoting: What is promoted, and how it is judged.
        name: The promotion sweep's.
    """

    place: Place
    source: Machine
    launched: Launched
    promoting: Promoting
    name: str

    @property
    def settings(self) -> PromotionSettings:
        """How the best is chosen and judged."""
        return PromotionSettings.model_validate(self.promoting.settings)

    @cached_property
    def manifest(self) -> Manifest:
        """Of the data that all this is about."""
        found = networks.load_manifest(self.place, self.launched)
        assert found is not None, "plan has refused sweeps without data"
        return found

    @property
    def spec(self) -> SweepSpec:
        """The promotion sweep's."""
        points = [self.source.trials[number].parameters for number in self.promoting.finalists]
        return confirming(self.source.spec, self.name, points, self.promoting.seeds)

    @property
    def final_name(self) -> str:
        """The sweep's that trains on the validation split, too, where that is wanted."""
        return f"{self.name}-final"

    @property
    def shipping(self) -> str:
        """The sweep whose trials are shipped."""
        return self.name if self.settings.train_on == "train" else self.final_name

    def final(self, machine: Machine, finalist: int, epochs: int) -> SweepSpec:
        """That sweep, for a finalist by its place among them."""
        return final(machine.spec, self.final_name, machine.spec.search.points[finalist * self.promoting.seeds], epochs)

    @property
    def maximizes(self) -> bool:
        """Whether higher values are better."""
        return self.source.spec.search.objectives[0].direction == "maximize"


def make_plan(place: Place, sweep: str, model: str | None, settings: Mapping[str, Any] | None) -> Plan:
    """What a promotion would train and judge: as the sweep file says, where `settings` say nothing else.

    Raises:
        UserError: for a sweep that cannot be promoted.
        Refused: if it still runs.
    """
    book = place.book()
    machine = summaries.load(book, sweep)
    launched = launched_of(book, sweep)
    _require_promotable(place, machine, launched)
    require_name(model or sweep)
    own = machine.spec.promotion.model_dump(mode="json", exclude_unset=True)
    written, given = book.facts(sweep).get("promotion") or own, dict(settings or {})
    gates = {**written.get("gates", {}), **given.pop("gates", {})}
    wanted = parse_promotion({**written, **given, **({"gates": gates} if gates else {})})
    candidates = filter(machine.ranking.is_candidate, machine.trials.values())
    ranked = finalists(
        sorted(candidates, key=machine.ranking.order),
        wanted.finalists,
        machine.spec.fixed(),
        per_signature=wanted.per_signature,
    )
    if not ranked:
        raise LookupFailed(
            f"sweep {sweep!r} has no trial that could be promoted: none has a value and meets its constraints"
        )
    promoting = Promoting(
        sweep=sweep,
        model=model or sweep,
        finalists=tuple(trial.number for trial in ranked),
        seeds=wanted.seeds,
        settings=wanted.model_dump(mode="json"),
        by=user(),
    )
    if wanted.train_on == "train+validation":
        confirmed = confirming(machine.spec, sweep, [ranked[0].parameters], 1)
        final(confirmed, sweep, ranked[0].parameters, 1)  # which refuses what needs a validation split
    known, number = set(book.sweeps()), 1
    while _name(sweep, number) in known:
        number += 1
    return Plan(place, machine, launched, promoting, _name(sweep, number))


def find_open(place: Place, sweep: str) -> Plan | None:
    """The promotion of a sweep that was begun and came to no end; None if there is none.

    Raises:
        LookupFailed: if there is no such sweep.
    """
    book = place.book()
    book.require(sweep)
    for name in reversed(book.sweeps()):
        promoting = promoting_of(book, name)
        if promoting is None or promoting.sweep != sweep:
            continue
        plan = Plan(place, summaries.load(book, sweep), launched_of(book, sweep), promoting, name)
        is_lost = summaries.load(book, name).state in (SweepState.STOPPED, SweepState.FAILED)
        return None if is_lost or _is_over(plan) else plan
    return None


def forecast(plan: Plan) -> dict[str, Any]:
    """What a promotion would do, without doing any of it: `--dry-run`."""
    source, settings = plan.source, plan.settings
    readings = len(plan.place.book().readings(plan.manifest.test_set))
    chosen = [source.trials[number] for number in plan.promoting.finalists]
    full = source.spec.budget.epochs.max
    seconds = sum(trial.device_s / max(trial.epoch, 1) * full for trial in chosen) * plan.promoting.seeds
    return {
        "sweep": plan.promoting.sweep,
        "promotion": plan.name,
        "model": plan.promoting.model,
        "champion": promotion.champion(plan.place.tracking_uri, plan.promoting.model),
        "finalists": [
            {"trial": trial.number, "reported": trial.last_values[0], "parameters": dict(trial.parameters)}
            for trial in chosen
        ],
        "seeds": plan.promoting.seeds,
        "trainings": len(chosen) * plan.promoting.seeds,
        "device_s": round(seconds, 1),
        "test": {"samples": plan.manifest.rows.get("test", 0), "reading": readings + 1},
        "settings": settings.model_dump(mode="json"),
    }


def _name(sweep: str, number: int) -> str:
    return f"{sweep[:MOST_NAME]}-promotion-{number}"


def launched_of(book: Book, sweep: str) -> Launched:
    """How a sweep was launched."""
    event = next(iter(book.rows(sweep))).event
    assert isinstance(event, Launched)
    return event


def promoting_of(book: Book, name: str) -> Promoting | None:
    """What a sweep promotes: noted right after its launch."""
    for row in book.rows(name):
        if row.sequence > 1:
            break
        if isinstance(row.event, Promoting):
            return row.event
    return None


def _require_promotable(place: Place, machine: Machine, launched: Launched) -> None:
    spec = machine.spec
    if not machine.is_ended or machine.state is SweepState.INTERRUPTED:
        raise Refused(f"sweep {spec.sweep!r} is {machine.state}; it can be promoted once it has ended")
    manifest = networks.load_manifest(place, launched)
    if manifest is None:
        raise DataError(f"sweep {spec.sweep!r} has no data, and a promotion needs a test split to judge by")
    if manifest.folds:
        raise DataError(
            f"sweep {spec.sweep!r} is over folds, each of which trained a network; launch it with one validation split "
            "to promote a network"
        )
    if not manifest.rows.get("test"):
        raise DataError(
            f"the data of sweep {spec.sweep!r} have no test samples, which a promotion is judged by; give data.split a "
            "share for `test`"
        )
    if not launched.fuses:
        raise TaskError(
            f"{spec.task} of sweep {spec.sweep!r} is a training function, and Podium cannot make a network of its "
            "checkpoints; a task of your own can be promoted"
        )


def _is_over(plan: Plan) -> bool:
    """Whether its verdict stands, and the alias has moved if it says so."""
    judged = [event for event in events_of_model(plan) if isinstance(event, Judged) and event.promotion == plan.name]
    if not judged:
        return False
    is_crowned = was_crowned(plan) and reigns(events_of_model(plan)).open is None
    return judged[-1].verdict != "promoted" or is_crowned


def was_crowned(plan: Plan) -> bool:
    """Whether the alias has moved, or begun to, by this promotion."""
    return any(
        getattr(event, "promotion", "") == plan.name for event in events_of_model(plan) if event.kind == "crowning"
    )


def events_of_model(plan: Plan) -> Iterator[Event]:
    """The ledger of the model that is promoted."""
    return (row.event for row in plan.place.book().rows(champions.ledger_of(plan.promoting.model)))
