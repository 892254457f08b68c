"""The report of one sweep: one page of HTML for readers who were not there, with no script and nothing to load."""

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from podium.drawing import palette, words
from podium.drawing.pages import environment
from podium.drawing.panels import Panel
from podium.drawing.report_figures import figures
from podium.sweep.gain import advice
from podium.sweep.spans import Use
from podium.sweep.timeline import Timeline

MOST_LEADING = 3
"""Parameters that the first page names."""


@dataclass(frozen=True)
class Report:
    """What is said of one sweep, as plain data.

    Attributes:
        made_at: When it was collected, in seconds since 1970.
        note: What the sweep is for; empty if nobody has said.
        panel: What charts draw.
        summary: What `podium status --json` prints.
        certainty: How far the values can be trusted, in sentences.
        is_repeated: Whether points of the sweep were tried with several trial seeds.
        promotions: Of its best: `name`, `model`, `seeds`, `state`, and once judged `verdict`, `said` and `reasons`.
        best: The best trials, as `podium compare --json` tells them.
        varying: The parameters that differ among them.
        endings: Why trials ended: `state`, `why`, `count`, `varies`, and some `trials`.
        logs: Of some failed trials `trial`, `reason` and the last lines of the `log`.
        origin: Code, packages, machine and data.
        text: The sweep file as it was written.
        timeline: What its gangs did.
        epochs: How many were trained.
    """

    made_at: float
    note: str
    panel: Panel
    summary: Mapping[str, Any]
    certainty: Sequence[str]
    is_repeated: bool
    promotions: Sequence[Mapping[str, Any]]
    best: Sequence[Mapping[str, Any]]
    varying: Sequence[str]
    endings: Sequence[Mapping[str, Any]]
    logs: Sequence[Mapping[str, Any]]
    origin: Mapping[str, Any]
    text: str
    timeline: Timeline
    epochs: int

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.panel.spec.sweep

    @property
    def question(self) -> str:
        """What the sweep is for: its note, or what it searches."""
        if self.note:
            return self.note
        goals = " and ".join(
            f"the {'highest' if one.direction == 'maximize' else 'lowest'} {one.metric}"
            for one in self.panel.spec.search.objectives
        )
        return f"Which parameters lead to {goals}?"

    @property
    def driven_s(self) -> float:
        """Seconds for which it had a driver."""
        away = sum(wait.end - wait.begin for wait in self.timeline.all_waits if wait.use is Use.AWAY)
        return self.timeline.at - self.timeline.begin - away

    @property
    def is_over(self) -> bool:
        """Whether the sweep has ended for good."""
        return self.summary["state"] not in ("running", "interrupted")

    @property
    def can_be_promoted(self) -> bool:
        """Whether its best could be judged on a test split."""
        return bool(self.origin.get("rows", {}).get("test"))

    @property
    def num_rivals(self) -> int:
        """How many trials reached the rung that the best one is the best of."""
        best = self.summary["best"]
        return 0 if best is None else sum(trial.rung == best["rung"] for trial in self.panel.trials)

    @property
    def leading(self) -> list[tuple[str, str]]:
        """The parameters that decide most, with their shares in words."""
        return [(name, words.percent(share)) for name, share in list(self.panel.importances.items())[:MOST_LEADING]]

    def counts(self) -> str:
        """How many trials are in which state."""
        trials = self.summary["trials"].items()
        return words.counted({state: count for state, count in trials if state not in ("total", "budget")})

    def policy(self) -> str:
        """Who goes on, and when that is decided."""
        policy, (*rungs, last) = self.panel.spec.budget.policy, self.panel.spec.rungs()
        compared = f", trials are compared after {words.listed(rungs)}" if policy != "none" and rungs else ""
        return f"{policy}{compared}; the full budget is {last} {'epoch' if last == 1 else 'epochs'}"

    def goals(self) -> str:
        """What counts."""
        return "; ".join(
            f"{one.direction} {one.metric}, of the {one.at} epoch" for one in self.panel.spec.search.objectives
        )

    def space(self) -> Iterator[dict[str, Any]]:
        """A row for each searched parameter: its name, range, condition, the best trial's value, its share."""
        best = (self.summary["best"] or {}).get("params", {})
        for one in self.panel.spec.space().parameters:
            conditions = [f"{key} is {' or '.join(map(words.short, allowed))}" for key, allowed in one.when.items()]
            share = self.panel.importances.get(one.name)
            yield {
                "name": one.name,
                "range": words.domain(one),
                "when": " and ".join(conditions),
                "best": words.short(best.get(one.name)),
                "share": "–" if share is None else words.percent(share),
            }


def page(report: Report) -> str:
    """The report as HTML."""
    templates = environment("podium.drawing")
    templates.filters |= {
        name: getattr(words, name) for name in ("counted", "duration", "moment", "number", "percent", "short", "size")
    }
    here = importlib.resources.files("podium.drawing")
    style = "".join((here / name).read_text(encoding="utf-8") for name in ("style.css", "templates/report.css"))
    return templates.get_template("report.html").render(
        report=report,
        summary=report.summary,
        spec=report.panel.spec,
        origin=report.origin,
        figures=figures(report.panel, report.timeline),
        advice=advice(report.timeline),
        style=Markup(palette.style() + style),  # noqa: S704 - our own files
    )
