"""Descriptions in MLflow, as Markdown: what a sweep and each of its trials are about, with links to what belongs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial
from podium.tracking import pages, views
from podium.tracking.entities import run_name

KEY = "mlflow.note.content"
"""The tag that the MLflow UI shows as a description."""

LIMIT = 8000
"""Characters that a tag holds."""

MOST_PARAMETERS, MOST_ENDINGS, REASON_LIMIT, OWN_LIMIT = 30, 12, 120, 2000
"""Lines of the two lists, and the characters of a reason and of the sweep's own note, so that a description fits."""

CURVES = "plots/learning_curves.png"
"""The picture among the parent's artifacts that its description links to; the others lie beside it."""

_SPECIAL = re.compile(r"[\\`*\[\]<>|&~]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Shown:
    """Where a sweep is shown.

    Attributes:
        experiment: Its experiment's id.
        parent: Its parent's run id.
        runs: By trial the run id.
        model: `name` and `version` of the registered best model, if there is one.
        has_plots: Whether the parent's artifacts have plots.
    """

    experiment: str
    parent: str
    runs: Mapping[int, str]
    model: Mapping[str, str] | None = None
    has_plots: bool = False


def experiment(spec: SweepSpec) -> str:
    """The experiment's description, which the list of experiments shows without its marks."""
    goals = " and ".join(f"{one.direction} {one.metric}" for one in spec.search.objectives)
    about = f"The sweep {spec.sweep} of the task {spec.task}: {goals} over {len(spec.search.space)} parameters."
    return f"{_own(spec)}\n\n{about}".strip()


def sweep(
    spec: SweepSpec,
    state: str,
    reason: str,
    trials: Mapping[int, Trial],
    leaders: Sequence[Trial],
    shown: Shown,
    at: float | None = None,
) -> str:
    """The parent run's description: what was searched, what is best, where to look on, and why trials ended.

    Args:
        spec: The sweep.
        state: Where it stands.
        reason: Why, in words.
        trials: All trials.
        leaders: The best of them, the best one first.
        shown: Where they are shown.
        at: When this was so, in Unix seconds, of a sweep that goes on.
    """
    counts = Counter(str(trial.state) for trial in trials.values())
    numbers = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    goals = ", ".join(f"{one.direction} `{one.metric}` ({one.at} epoch)" for one in spec.search.objectives)
    stands = f"**{spec.sweep}** is {state}{f': {_text(reason)}' if reason else ''}. "
    stands += f"{len(trials)} trials: {numbers}." if trials else "No trial has begun."
    best = leaders[0] if leaders and leaders[0].number in shown.runs else None
    if best is not None:
        link = f"[{run_name(spec, best.number)}]({pages.run(shown.experiment, shown.runs[best.number])})"
        among = f", among the trials that reached {best.rung} epochs"
        stands += f" Best{' so far' if at is not None else ''} is {link}: {_values(spec, best)}{among}."
    if at is not None:
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        stands += f" As of {when}; `podium status {spec.sweep}` knows more."
    lines = [
        _own(spec),
        stands,
        " · ".join(_links(spec, leaders, shown)),
        f"Searched {len(spec.search.space)} parameters with `{spec.search.sampler}` to {goals}, under "
        f"`{spec.budget.policy}`, at most {spec.budget.epochs.max} epochs each.",
    ]
    if best is not None:
        lines.append("Parameters of the best:\n\n" + "\n".join(_parameters(best.parameters)))
    endings = Counter((str(trial.state), trial.reason.partition(":")[0]) for trial in trials.values() if trial.reason)
    if endings:
        lines.append("Why trials ended:\n\n" + "\n".join(_endings(endings)))
    return _fit(lines)


def trial(spec: SweepSpec, one: Trial, experiment: str, parent: str) -> str:
    """A child run's description: what it is, how it ended, and where its log is."""
    of = f"Trial {one.number} of [{spec.sweep}]({pages.run(experiment, parent)})"
    log = f"`podium logs {spec.sweep}/{one.number}`"
    if not one.state.is_ended:
        return f"{of}, which is not over. Its log: {log}"
    lines = [f"{of}: {one.state}{f', {_text(one.reason)}' if one.reason else ''}."]
    if one.last_values:
        lines[0] += f" It came to {_values(spec, one)}."
    lines[0] += f" Its log: {log}"
    if one.verdict:
        lines.append(f"**Ailing**: {_text(one.verdict)}.")
    return _fit(lines)


def _links(spec: SweepSpec, leaders: Sequence[Trial], shown: Shown) -> list[str]:
    links = [f"[all trials by objective]({pages.view(shown.experiment, views.TRIALS)})"]
    links.append(f"[trials by state and rung]({pages.view(shown.experiment, views.ENDINGS)})")
    runs = [shown.runs[one.number] for one in leaders if one.number in shown.runs]
    if len(runs) > 1:
        links.append(f"[the best {len(runs)} compared]({pages.comparison(runs, [shown.experiment])})")
    if shown.model is not None:
        name, number = shown.model["name"], shown.model["version"]
        links.append(f"[model {name}, version {number}]({pages.version(name, number)})")
    links.append(f"[sweep file]({pages.file(shown.experiment, shown.parent, 'sweep.yaml')})")
    if shown.has_plots:
        links.append(f"[learning curves]({pages.file(shown.experiment, shown.parent, CURVES)})")
    return links


def _values(spec: SweepSpec, one: Trial) -> str:
    pairs = zip(spec.search.objectives, one.last_values, strict=True)
    values = ", ".join(f"{goal.metric} **{_number(value)}**" for goal, value in pairs)
    return f"{values} at epoch {one.best_epoch}"


def _parameters(parameters: Mapping[str, object]) -> list[str]:
    lines = [f"- {_text(name)} = {_text(str(value))}" for name, value in parameters.items()]
    more = len(lines) - MOST_PARAMETERS
    return [*lines[:MOST_PARAMETERS], *([f"- and {more} more, which its run has"] if more > 0 else [])]


def _endings(endings: Counter[tuple[str, str]]) -> list[str]:
    return [f"- {count} {state}: {_text(why)}" for (state, why), count in endings.most_common(MOST_ENDINGS)]


def _own(spec: SweepSpec) -> str:
    return spec.note if len(spec.note) <= OWN_LIMIT else f"{spec.note[:OWN_LIMIT]}…"


def _text(text: str) -> str:
    """Text as it is, on one line, whatever Markdown would make of it."""
    line = " ".join(text.split())
    short = line if len(line) <= REASON_LIMIT else f"{line[:REASON_LIMIT]}…"
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", short)


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.6g}"


def _fit(parts: Sequence[str]) -> str:
    """Paragraphs, as many of the first as a tag holds."""
    note = ""
    for part in filter(None, parts):
        longer = f"{note}\n\n{part}".strip()
        if len(longer) <= LIMIT:
            note = longer
    return note
