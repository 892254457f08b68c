"""The live view as text: what matters most of a sweep on a screen of any size."""

from rich.text import Text

from podium.console.ink import ASCII, Ink
from podium.console.layout import cell, choose, fit, flow
from podium.console.survey import Listener, Row, Survey
from podium.drawing.words import duration, number, one_line, short
from podium.sweep.machine import Machine
from podium.sweep.trial import TrialState

MOST_ROWS = 12
LEAST_ROWS = 3
"""Running trials that come before what matters least."""

WIDE = 64
"""From so many columns on the table tells how long each trial has been silent, and why it is shown."""


class View(Listener):
    """What the screen shows of a machine: text, no terminal."""

    def headline(self, machine: Machine) -> str:
        """Counts, speed, time left and best in one line."""
        survey = self.survey(machine)
        parts = [f"{len(machine.trials)}/{machine.budget} trials"]
        parts += [f"{survey.counts[state]} {state}" for state in TrialState if survey.counts[state]]
        return " · ".join([*parts, *self.pace(machine, survey), *best(machine)[:1]])

    def draw(self, machine: Machine, width: int, height: int, ink: Ink = ASCII) -> list[Text]:
        """All of it in lines, for a screen of `width` by `height` cells, whose last line stays free."""
        survey = self.survey(machine)
        top = best(machine, width)
        blocks = [
            (0, [bar(survey, machine.budget, width, ink)]),
            (1, flow(_counts(machine, survey, ink), width, ink)),
            (2, flow(map(Text, self.pace(machine, survey)), width, ink)),
            (3, [fit(Text(text, style=ink.bold), width, ink) for text in top[:1]]),
            (7, [fit(Text(f"  {text}"), width, ink) for text in top[1:]]),
            (6, funnel(machine, survey, width, ink)),
            (4, flow(_gangs(machine), width, ink)),
            (5, self._failure(machine, survey, width, ink)),
        ]
        room = max(height - 1, 1)
        wanted = min(len(survey.running), LEAST_ROWS) + 2 if survey.running else 0
        least = max(room - wanted, sum(len(lines) for rank, lines in blocks if rank < 5))
        lines = [line for block in choose(blocks, min(least, room)) for line in block]
        return [*lines, *self._table(machine, survey, width, room - len(lines), ink)]

    def _failure(self, machine: Machine, survey: Survey, width: int, ink: Ink) -> list[Text]:
        trial = self.newest_failure(machine, survey)
        if trial is None:
            return []
        text = f" trial {trial.number} failed: {one_line(trial.reason)}"
        return [fit(_marked(TrialState.FAILED, text, ink), width, ink)]

    def _table(self, machine: Machine, survey: Survey, width: int, height: int, ink: Ink) -> list[Text]:
        """The running trials under a heading, and how many more there are."""
        if not survey.running or height < 2:
            return []
        most = min(MOST_ROWS, height - 1)
        if len(survey.running) > most:
            most = max(min(most, height - 2), 1)
        rows = self.rows(machine, survey, most)
        lines = table(machine, rows, width, ink, all_shown=len(rows) == len(survey.running))
        rest = len(survey.running) - len(rows)
        more = [fit(Text(f"and {rest} more running"), width, ink)] if rest and len(lines) < height else []
        return [*lines, *more]


def best(machine: Machine, width: int | None = None) -> list[str]:
    """The best trial so far, and its parameters; empty before the first. Metrics have short names in little width."""
    trial = machine.best()
    if trial is None:
        return []
    metrics = [objective.metric for objective in machine.spec.search.objectives]
    full, brief = (
        f"best {', '.join(f'{name} {number(x)}' for name, x in zip(names, trial.last_values, strict=True))} "
        f"(trial {trial.number}, epoch {trial.best_epoch})"
        for names in (metrics, [shorten(name, metrics) for name in metrics])
    )
    names = machine.spec.space().names
    parameters = " ".join(f"{shorten(key, names)}={one_line(short(x))}" for key, x in trial.parameters.items())
    return [full if width is None or len(full) <= width else brief, *([parameters] if parameters else [])]


def bar(survey: Survey, budget: int, width: int, ink: Ink) -> Text:
    """A line over all trials of the budget, by state; a state that has any trials has at least one character."""
    text, drawn, seen = Text(no_wrap=True), 0, 0
    for state, mark in ink.marks.items():
        count = survey.counts[state]
        seen += count
        length = min(max(round(width * seen / budget) - drawn, 1 if count else 0), width - drawn)
        text.append(mark * length, ink.styles[state])
        drawn += length
    return text.append(ink.rest * (width - drawn))


def funnel(machine: Machine, survey: Survey, width: int, ink: Ink) -> list[Text]:
    """How many trials reached each rung; nothing if there is but one."""
    rungs = machine.spec.rungs()
    if len(rungs) == 1 or machine.spec.budget.policy == "none" or not survey.reached:
        return []
    parts = [f"{rung}: {survey.reached[rung]}" for rung in rungs]
    return [fit(Text(f"at rung {ink.arrow.join(parts)}"), width, ink)]


def table(machine: Machine, rows: list[Row], width: int, ink: Ink, *, all_shown: bool) -> list[Text]:
    """A heading, and a line for each row."""
    metric, names, last = machine.spec.search.objectives[0].metric, machine.spec.space().names, machine.spec.rungs()[-1]
    is_wide = width >= WIDE
    cells = [("trial", "epoch", shorten(metric, (metric,)), "silent")]
    cells += [
        (str(row.trial.number), f"{row.epoch}/{last}", number(row.metrics.get(metric)), duration(round(row.silent_s)))
        for row in rows
    ]
    if ink.is_ascii:
        cells = [tuple(text.replace("–", "-") for text in line) for line in cells]  # type: ignore[misc]
    widths = [min(max(len(line[column]) for line in cells), 12) for column in range(3 + is_wide)]
    rests = ["parameters"]
    for row in rows:
        pairs = (f"{shorten(key, names)}={one_line(short(value))}" for key, value in row.trial.parameters.items())
        rests.append(" ".join(pairs))
    whys = [""] * len(cells) if all_shown or not is_wide else ["", *(row.why for row in rows)]
    lines: list[Text] = []
    for texts, rest, why in zip(cells, rests, whys, strict=True):
        left = "  ".join(cell(text, size, ink, right=True) for text, size in zip(texts, widths, strict=False))
        right = width - len(left) - 2 - (8 if any(whys) else 0)
        full = f"{why:<6}  {left}" if any(whys) else left
        line = f"{full}  {cell(rest, right, ink)}" if right > 0 else full
        lines.append(fit(Text(line.rstrip()), width, ink))
    heading = lines[0].plain
    lines[0].stylize("underline", len(heading) - len(heading.lstrip()))
    return lines


def shorten(name: str, names: "tuple[str, ...] | list[str]") -> str:
    """The last part of a dotted or slashed name, unless another of the `names` ends the same."""

    def last(full: str) -> str:
        return full.replace("/", ".").rpartition(".")[2]

    return last(name) if sum(last(each) == last(name) for each in names) == 1 else name


def _counts(machine: Machine, survey: Survey, ink: Ink) -> list[Text]:
    """How many trials there are, and in which states, with the marks of the bar."""
    parts = [Text(f"{len(machine.trials)}/{machine.budget} trials")]
    parts += [_marked(state, f" {survey.counts[state]} {state}", ink) for state in ink.marks if survey.counts[state]]
    return parts


def _marked(state: TrialState, text: str, ink: Ink) -> Text:
    return Text().append(ink.marks[state], ink.styles[state]).append(text)


def _gangs(machine: Machine) -> list[Text]:
    """How many of the gangs train; nothing before there are any, and when none is needed any more."""
    if not machine.gangs or machine.is_ended:
        return []
    busy = sum(key is not None for key in machine.gangs.values())
    return [Text(f"gangs {busy}/{len(machine.gangs)} busy")]
