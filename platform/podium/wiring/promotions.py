"""Promotion: the best of a sweep are trained again, the best of those is judged, and the alias moves if that is shown.

Everything that was decided is an event before the next step, so that a promotion that was cut off anywhere goes on when
the same command is given again: the old champion stays in force until the very last step.
"""

from collections.abc import Mapping
from typing import Any

from podium.errors import Interrupted, PodiumError, Refused
from podium.masking import without_logins
from podium.registry import promotion
from podium.sweep.machine import SweepState
from podium.sweep.messages import Chosen, Judged
from podium.tracking.client import explain, is_fault
from podium.wiring import champions, launch, summaries, tracker
from podium.wiring.candidates import attach_card, choose, judge, require_judgeable
from podium.wiring.launch import Watcher
from podium.wiring.place import Place
from podium.wiring.plans import Plan, events_of_model, find_open, make_plan, was_crowned

EXIT_CODES = {"promoted": 0, "refused": Refused.exit_code, "undecided": Refused.exit_code}


def promote(
    place: Place,
    sweep: str,
    watcher: Watcher,
    *,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    anew: bool = False,
) -> dict[str, Any]:
    """Promotes the best of a sweep, or goes on with the promotion of it that was begun; returns what came of it.

    Args:
        place: Where the sweep lives.
        sweep: Its name; it must have ended.
        watcher: Is told how it goes.
        model: The registered model whose champion the candidate is compared with; the sweep's name without it.
        settings: Settings of the promotion, in the place of those of the sweep file.
        anew: Whether another promotion is begun even if one was cut off.

    Returns:
        `verdict`, `reasons`, `model`, `version`, `previous` (champion), `promotion` (the sweep), `evidence`, `card`.

    Raises:
        UserError: for a sweep that cannot be promoted.
        Refused: if the sweep still runs.
        Interrupted: if it was interrupted; the same command goes on.
    """
    tracker.require_answer(place.tracking_uri)
    plan = None if anew else find_open(place, sweep)
    if plan is None:
        plan = make_plan(place, sweep, model, settings)
        require_judgeable(plan)
    else:
        watcher.warn(f"going on with {plan.name} as it was begun; `--anew` begins another promotion")
    try:
        return _promote(plan, watcher)
    except Exception as error:
        if not is_fault(error) or isinstance(error, PodiumError):
            raise
        where, why = without_logins(place.tracking_uri), explain(error)
        raise Interrupted(f"MLflow at {where} fails: {why}; the same command goes on with {plan.name}") from error


def _promote(plan: Plan, watcher: Watcher) -> dict[str, Any]:
    _train(plan, watcher)
    chosen = choose(plan, watcher)
    while True:
        before = champions.champion(plan.place, plan.promoting.model)
        if was_crowned(plan):
            return _told(plan, _promoting_verdict(plan))
        judged = _judged(plan, chosen, before, watcher)
        if judged.verdict == "promoted" and not _crown(plan, chosen, before):
            watcher.warn("another promotion has changed the champion meanwhile; this one is judged against the new one")
            continue
        return _told(plan, judged)


def _train(plan: Plan, watcher: Watcher) -> None:
    """Trains the finalists with fresh seeds, as a sweep of its own."""
    place = plan.place
    book = place.book()
    if book.has(plan.name) and summaries.load(book, plan.name).state is SweepState.FINISHED:
        return
    summary = launch.launch_again(plan.spec, plan.launched, place, watcher, plan.promoting)
    if summary["state"] != "finished":
        is_over = summary["state"] != "interrupted"
        next_time = "begins another" if is_over else "goes on with it"
        raise (PodiumError if is_over else Interrupted)(
            f"the promotion sweep {plan.name!r} is {summary['state']} ({summary['reason']}); "
            f"`podium promote {plan.promoting.sweep}` {next_time}"
        )


def _judged(plan: Plan, chosen: Chosen, champion: str, watcher: Watcher) -> Judged:
    """The verdict on the candidate against this champion."""
    for event in events_of_model(plan):
        if isinstance(event, Judged) and event.promotion == plan.name and event.champion == champion:
            return event
    watcher.stage("Judging the candidate on the test split")
    judged, confusions = judge(plan, chosen, champion)
    attach_card(plan, judged, confusions)
    with champions.throne(plan.place, plan.promoting.model) as throne:
        throne.note(judged)
    return judged


def _promoting_verdict(plan: Plan) -> Judged:
    """The verdict by which the alias has moved."""
    told = [event for event in events_of_model(plan) if isinstance(event, Judged) and event.promotion == plan.name]
    return next(event for event in reversed(told) if event.verdict == "promoted")


def _crown(plan: Plan, chosen: Chosen, before: str) -> bool:
    """Moves the alias, unless the champion is another one than the candidate was compared with."""
    with champions.throne(plan.place, plan.promoting.model) as throne:
        if was_crowned(plan):
            return True
        if throne.reigns.champion != before:
            return False
        throne.crown(chosen.version, "promotion", plan.name)
    return True


def _told(plan: Plan, judged: Judged) -> dict[str, Any]:
    return {
        "verdict": judged.verdict,
        "reasons": list(judged.reasons),
        "model": plan.promoting.model,
        "version": judged.version,
        "previous": judged.champion or None,
        "promotion": plan.name,
        "card": promotion.card_of(plan.place.tracking_uri, plan.promoting.model, judged.version),
        "evidence": judged.evidence,
    }
