"""Trials as rows of a table: chosen, sorted and cut into pages by what an address asks for. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podium.spec.sweep import SweepSpec
from podium.sweep.ranking import Ranking
from podium.sweep.trial import Trial, TrialState
from podium_board.pictures import Picture

PER_PAGE = 50

MOST_DIGITS = 30
"""Of a number in an address; there are no such pages and trials."""

SORTS = ("number", "state", "value", "epoch", "rung", "device_s", "attempts")
"""What a table can be sorted by, beside the searched parameters."""


@dataclass(frozen=True)
class Query:
    """What is asked of the table.

    Attributes:
        state: Trials in this state alone; empty for all.
        text: Trials in which this is found: the number, the reason, what ails it, or `key=value` of a parameter.
        sort: By what; a leading minus turns the order.
        page: Which page, from 1.
    """

    state: str = ""
    text: str = ""
    sort: str = "number"
    page: int = 1

    @classmethod
    def of(cls, asked: Mapping[str, str], spec: SweepSpec) -> "Query":
        """Reads the parameters of an address; what makes no sense is left out."""
        state, sort, page = asked.get("state", ""), asked.get("sort", "number"), asked.get("page", "1")
        known = sort.removeprefix("-") in (*SORTS, *spec.search.space)
        return cls(
            state if state in set(TrialState) else "",
            asked.get("text", "").strip(),
            sort if known else "number",
            max(1, int(page[:MOST_DIGITS])) if page.isdecimal() else 1,
        )


@dataclass(frozen=True)
class Page:
    """One page of the table.

    Attributes:
        trials: Its trials.
        number: Which page it is, from 1.
        pages: How many there are.
        matching: How many trials there are on all of them.
    """

    trials: Sequence[Trial]
    number: int
    pages: int
    matching: int


def select(trials: Iterable[Trial], query: Query) -> Page:
    """The page that a query asks for; the last one if it asks for one beyond."""
    found = [trial for trial in trials if _matches(trial, query)]
    found = _sorted(found, query.sort)
    pages = max(1, -(-len(found) // PER_PAGE))
    number = min(query.page, pages)
    return Page(found[(number - 1) * PER_PAGE : number * PER_PAGE], number, pages, len(found))


def best_rows(picture: Picture, most: int) -> list[Trial]:
    """The best trials, the best first."""
    ranking = Ranking(picture.spec)
    import heapq

    return heapq.nsmallest(most, filter(ranking.is_candidate, picture.trials.values()), key=ranking.order)


def _matches(trial: Trial, query: Query) -> bool:
    if query.state and trial.state != query.state:
        return False
    words = query.text.casefold().split()
    if not words:
        return True
    text = " ".join(
        [str(trial.number), trial.reason, trial.verdict, *(f"{k}={v}" for k, v in trial.parameters.items())]
    )
    return all(word in text.casefold() for word in words)


def _sorted(trials: list[Trial], sort: str) -> list[Trial]:
    """Sorted by a key, those that lack it last, whichever way; equal ones by number."""
    name, is_turned = sort.removeprefix("-"), sort.startswith("-")
    key = _key(name)
    have = [trial for trial in trials if key(trial) is not None]
    lack = [trial for trial in trials if key(trial) is None]
    return [*sorted(have, key=lambda trial: _comparable(key(trial)), reverse=is_turned), *lack]


def _key(name: str) -> Callable[[Trial], Any]:
    match name:
        case "value":
            return lambda trial: trial.last_values[0] if trial.last_values else None
        case "attempts":
            return lambda trial: sum(trial.attempts.values())
        case "state":
            return lambda trial: list(TrialState).index(trial.state)
        case "number" | "epoch" | "rung" | "device_s":
            return lambda trial: getattr(trial, name)
        case _:
            return lambda trial: trial.parameters.get(name)


def _comparable(value: Any) -> tuple[bool, Any]:
    """Numbers first, then everything else by its text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number, value if is_number else str(value)
