"""Sweeps side by side: how sure their values are, what they differ in, and a page with charts of it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import UserError
from podium.ledger import Book
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import Event, Launched, Progress
from podium.sweep.ranking import Ranking
from podium.sweep.seeds import SEEDS, repeated
from podium.sweep.trial import Trial, TrialState
from podium.tracking import pages
from podium.wiring import summaries
from podium.wiring.differences import ABOUT, differences, obstacles

if TYPE_CHECKING:
    from podium.drawing.panels import Panel

LEVEL = 0.95

UNREPEATED = (
    "where no point has values of several trial seeds at one epoch, that is the spread of the best trials, and no "
    "interval of one point's value: the best of many is also the luckiest, and fresh trial seeds tell by how much"
)

LOST = (TrialState.DIVERGED, TrialState.FAILED)

Curve = list[tuple[int, float | None]]


@dataclass(frozen=True)
class Side:
    """One sweep as its ledger has it.

    Attributes:
        launched: Its first event.
        machine: Its last state.
        facts: What is noted beside its events.
        curves: By trial the first objective's value after each epoch.
    """

    launched: Launched
    machine: Machine
    facts: Mapping[str, Any]
    curves: Mapping[int, Curve]

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.machine.spec.sweep

    def top(self, count: int) -> list[Trial]:
        """The best trials, those of the highest rung first."""
        ranking = self.machine.ranking
        return sorted(filter(ranking.is_candidate, self.machine.trials.values()), key=ranking.order)[:count]


def compare(
    book: Book,
    sweeps: Sequence[str],
    count: int,
    html: Path | None = None,
    stage: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Compares one or more sweeps: what `podium compare --json` prints.

    Args:
        book: Where they are.
        sweeps: Their names; the first is the one that the others are compared with.
        count: How many of the best trials of each are shown.
        html: The file to write a page with charts to; none is written without one.
        stage: Is told what is being done.

    Returns:
        `sweeps`, the names; `summaries`, how each stands; `comparable`, whether their values may be compared;
        `values`, what the values say, in sentences; `differences`, each with `sweeps`, `about` and `text`; `same`,
        what all have in common; `trials`, the best ones by the parameters in `varying`; `url`, their runs in MLflow;
        `html`, the page.

    Raises:
        LookupFailed: if there is no sweep of a name.
        UserError: if a sweep is named twice, or the page cannot be written.
    """
    for name in sweeps:
        book.require(name)
    _require_distinct(sweeps)
    if html is not None:
        require_writable(html)
    sides = []
    for name in sweeps:
        stage(f"Reading the ledger of {name}")
        sides.append(read(book, name))
    comparison = tell(book, sides, count)
    if html is not None:
        stage(f"Drawing {html}")
        _draw(comparison, sides, html)
    return comparison | {"html": None if html is None else str(html)}


def look(book: Book, sweeps: Sequence[str], count: int) -> tuple[dict[str, Any], list["Panel"]]:
    """Compares sweeps as `compare` does, and gives what is to be drawn of each.

    Raises:
        LookupFailed: if there is no sweep of a name.
        UserError: if a sweep is named twice.
    """
    for name in sweeps:
        book.require(name)
    _require_distinct(sweeps)
    sides = [read(book, name) for name in sweeps]
    return tell(book, sides, count), _panels(sides)


def read(book: Book, sweep: str) -> Side:
    """Reads a sweep's ledger once, for its state and for its learning curves."""
    launched: list[Launched] = []
    curves: dict[int, dict[int, float | None]] = {}

    def events() -> Iterator[Event]:
        metric = ""
        for row in book.rows(sweep):
            if isinstance(row.event, Launched):
                launched.append(row.event)
                metric = summaries.empty(row.event).spec.search.objectives[0].metric
            elif isinstance(row.event, Progress):
                for lane in row.event.lanes:
                    if metric in lane.metrics:
                        curves.setdefault(lane.trial, {})[lane.epoch] = lane.metrics[metric]
            yield row.event

    machine = replay(events())
    ordered = {trial: sorted(curve.items()) for trial, curve in curves.items()}
    return Side(launched[0], machine, book.facts(sweep).all(), ordered)


def tell(book: Book, sides: Sequence[Side], count: int) -> dict[str, Any]:
    """What `compare` returns but for the page, of sweeps that were read already."""
    first, *others = sides
    found = {other.name: differences(first.launched, other.launched) for other in others}
    why_not = [
        f"the values of {first.name} and {other.name} cannot be compared: {reason}"
        for other in others
        for reason in obstacles(found[other.name], first.launched, other.launched)
    ]
    told = [
        {"sweeps": [first.name, name], "about": each.about, "text": each.text}
        for about in ABOUT
        for name, several in found.items()
        for each in several
        if each.about == about
    ]
    described = [_summary(book, side, count) for side in sides]
    values = [*why_not, *map(_certainty, described), *([] if why_not else _contests(described, first.machine.ranking))]
    values += [UNREPEATED] if any(summary["spread"] for summary in described) else []
    differing = {each["about"] for each in told}
    return {
        "sweeps": [side.name for side in sides],
        "summaries": described,
        "comparable": not why_not,
        "values": values,
        "differences": told,
        "same": [about for about in ABOUT if others and about not in differing],
        **best_trials(sides, count),
    }


def _summary(book: Book, side: Side, count: int) -> dict[str, Any]:
    """How a sweep stands; what repeated points came to, or where none was repeated, how far the best trials differ."""
    whole = summaries.summarize(book, side.name, side.machine)
    keys = ("sweep", "state", "reason", "trials", "objectives", "best", "startup_s", "wall_s", "device_s")
    repeated = repetitions(side)
    values = [trial.last_values[0] for trial in side.top(count) if trial.last_values[0] is not None]
    spread = {"count": len(values), "low": min(values), "high": max(values)} if len(values) > 1 else None
    return {
        **{key: whole[key] for key in keys},
        "epochs": sum(trial.epoch for trial in side.machine.trials.values()),
        "repeated": repeated[:count],
        "num_repeated": len(repeated),
        "num_lost": sum(each["lost"] for each in repeated),
        "spread": None if repeated else spread,
    }


def repetitions(side: Side) -> list[dict[str, Any]]:
    """The points that were tried with several trial seeds, the best mean first, after those that lost no seed.

    Their values are those at the highest epoch that all of their trials have values at: of seeds that a policy chose by
    their values, a mean would be too good.

    Returns:
        Of each `params`, `trials`, `epoch`, `values` (the first objective's), `lost` (how many of its trials diverged,
        failed or broke a constraint), the values' `mean`, and `low` and `high`, the ends of Student's interval of it at
        `level`. None of points with fewer than two values.
    """
    several = repeated(side.machine.trials.values())
    ranking = side.machine.ranking
    valued = [[trial for trial in trials if ranking.is_candidate(trial)] for trials in several]
    epochs = [{*trial.values} for trials in valued for trial in trials]
    epoch = max(set.intersection(*epochs), default=0) if epochs else 0
    if not epoch:
        return []
    found = [
        _repetition(kept, epoch, sum(trial.state in LOST or bool(trial.values) for trial in trials) - len(kept))
        for trials, kept in zip(several, valued, strict=True)
        if len(kept) > 1
    ]
    return sorted(found, key=lambda each: (each["lost"] > 0, ranking.loss((each["mean"],))))


def _repetition(trials: Sequence[Trial], epoch: int, lost: int) -> dict[str, Any]:
    from podium.registry.evidence import mean_interval

    values = [float(trial.values[epoch][0] or 0.0) for trial in trials]
    interval = mean_interval(values)
    return {
        "params": {key: value for key, value in trials[0].parameters.items() if key not in SEEDS},
        "trials": sorted(trial.number for trial in trials),
        "epoch": epoch,
        "values": values,
        "lost": lost,
        "mean": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
    }


def _certainty(summary: Mapping[str, Any]) -> str:
    name, metric = summary["sweep"], summary["objectives"][0]
    if summary["repeated"]:
        best = summary["repeated"][0]
        lost = summary["num_lost"]
        said = f"; points that lost seeds come last ({lost} diverged, failed or broke a constraint)" if lost else ""
        return (
            f"{name}: {_which(summary)} has a mean {metric} of {best['mean']:.5g} over {len(best['values'])} trial "
            f"seeds, {_interval(best)}{said}"
        )
    if summary["spread"] is None:
        return f"{name}: fewer than two trials have a value"
    count, low, high = summary["spread"].values()
    return f"{name}: the best {count} trials lie between {low:.5g} and {high:.5g} in {metric}"


def _which(summary: Mapping[str, Any]) -> str:
    several, epoch = summary["num_repeated"], summary["repeated"][0]["epoch"]
    return f"the {f'best of {several} points' if several > 1 else 'point'} repeated to epoch {epoch}"


def _contests(described: Sequence[Mapping[str, Any]], ranking: Ranking) -> Iterator[str]:
    """Which of two sweeps is better, where repeated points tell."""
    repeated = [summary for summary in described if summary["repeated"]]
    for pair in combinations(repeated, 2):
        better, worse = sorted(pair, key=lambda each: ranking.loss((each["repeated"][0]["mean"],)))
        good, bad = ([ranking.loss((v,)) for v in each["repeated"][0]["values"]] for each in (better, worse))
        gain = sum(bad) / len(bad) - sum(good) / len(good)
        chosen = max(summary["num_repeated"] for summary in pair) > 1
        yield (
            f"{_which(better)} of {better['sweep']} is better than {_which(worse)} of {worse['sweep']} by {gain:.5g} "
            f"on average, {_told_apart(good, bad)}"
            + ("; the best of several is a little luckier than it is good, which no interval knows" if chosen else "")
        )


def _told_apart(good: Sequence[float], bad: Sequence[float]) -> str:
    from scipy.stats import ttest_ind

    if len({*good}) == len({*bad}) == 1:
        return "but all seeds of either came to the same, so that they tell nothing of chance"
    low, high = ttest_ind(bad, good, equal_var=False).confidence_interval(LEVEL)
    tells = "more than trial seeds explain" if low > 0 else "which trial seeds alone can explain"
    return f"{LEVEL:.0%} interval {low:.5g} to {high:.5g} (Welch's t), {tells}"


def _interval(repeated: Mapping[str, Any]) -> str:
    if len({*repeated["values"]}) == 1:
        return "all alike"
    return f"{repeated['level']:.0%} interval {repeated['low']:.5g} to {repeated['high']:.5g} (Student's t)"


def best_trials(sides: Sequence[Side], count: int) -> dict[str, Any]:
    """`trials`, the best of each sweep with only the parameters that differ among them; `varying`; `url` in MLflow."""
    rows: list[dict[str, Any]] = []
    for side in sides:
        fixed = side.machine.spec.fixed()
        for trial in side.top(count):
            row = summaries.describe(trial, side.machine.spec, side.facts)
            rows.append(row | {"sweep": side.name, "experiment_id": side.facts.get("experiment")})
            rows[-1]["params"] = {**fixed, **trial.parameters}
    names = sorted({name for row in rows for name in row["params"]})
    varying = [name for name in names if len({repr(row["params"].get(name)) for row in rows}) > 1]
    for row in rows:
        row["params"] = {name: row["params"][name] for name in varying if name in row["params"]}
    return {"varying": varying, "trials": rows, "url": compare_url(rows)}


def compare_url(rows: Sequence[Mapping[str, Any]], base: str = pages.UI) -> str | None:
    """The page of the MLflow UI (as `podium ui` serves it) that shows the same runs side by side."""
    runs = [row["run_id"] for row in rows if row["run_id"]]
    experiments = sorted({str(row["experiment_id"]) for row in rows if row["experiment_id"]})
    if not runs:
        return None
    return f"{base}/{pages.comparison(runs, experiments)}"


def _draw(comparison: Mapping[str, Any], sides: Sequence[Side], path: Path) -> None:
    from podium.drawing.comparison import page

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(page(comparison, _panels(sides)), encoding="utf-8")
    draft.replace(path)


def _panels(sides: Sequence[Side]) -> list["Panel"]:
    from podium.drawing.panels import Panel
    from podium.search.importance import importance

    return [
        Panel(
            index,
            side.machine.spec,
            list(side.machine.trials.values()),
            side.curves,
            importance(side.machine.spec, side.machine.trials.values()),
        )
        for index, side in enumerate(sides)
    ]


def _require_distinct(sweeps: Sequence[str]) -> None:
    twice = [name for name in dict.fromkeys(sweeps) if sweeps.count(name) > 1]
    if twice:
        raise UserError(f"the sweep {twice[0]!r} is named more than once; name each sweep to compare once")


def require_writable(path: Path) -> None:
    """Refuses a file that could not be written, before any work is done.

    Raises:
        UserError: saying why not.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file to write, such as {path / 'report.html'}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"{path.parent} is no folder that can be written to; make it, or give another file")
