"""Saved views of the MLflow UI: its table of runs with the columns, the order and the charts that fit a sweep.

The UI keeps such a view in a tag of the experiment, lists it under Views, and opens it by its key in an address.
One that does not know a view shows its plain table.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from podium.spec.sweep import SweepSpec
from podium.tracking.entities import objective_names

TAG = "mlflow.sharedViewState."
"""How the tag of a view begins; its key follows."""

TRIALS, ENDINGS = "podium-trials", "podium-endings"
"""The keys of the two views."""

ONLY_TRIALS = "tags.rung != ''"
"""The parent has no rung."""

FIRST = {"attributes.`Run Name`": 220, "runDateAndNestInfo": 130}
"""The columns that are always there, and how many pixels wide they are."""

MOST_PARAMETERS = 8
"""Searched parameters that have columns, and axes of the parallel coordinates."""


def views(spec: SweepSpec, at_ms: int) -> dict[str, str]:
    """The tags of an experiment with its views.

    Args:
        spec: The sweep.
        at_ms: When the sweep was launched, in milliseconds; the UI shows it.
    """
    objective, *_ = objective_names(spec.search.objectives)
    is_ascending = spec.search.objectives[0].direction == "minimize"
    columns = dict(_columns(spec))
    base = {
        "searchFilter": ONLY_TRIALS,
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": is_ascending,
        "selectedColumns": list(columns),
        "columnOrder": [*FIRST, *columns],
        "columnWidths": FIRST | columns,
        "runsHiddenMode": "FIRST_20_RUNS",
        **_charts(spec, objective),
    }
    keys = [{"mode": "tag", "groupByData": name} for name in ("state", "rung")]
    grouped = base | {"groupBy": {"aggregateFunction": "min" if is_ascending else "max", "groupByKeys": keys}}
    return {
        TAG + TRIALS: _saved("Trials by objective", base, at_ms + 1),
        TAG + ENDINGS: _saved("Trials by state and rung", grouped, at_ms),
    }


def _saved(name: str, state: Mapping[str, Any], at_ms: int) -> str:
    return json.dumps({"name": name, "createdAt": at_ms, "state": json.dumps(state)})


def _columns(spec: SweepSpec) -> Iterator[tuple[str, int]]:
    """The columns in their order, and how many pixels wide they are."""
    yield from ((f"metrics.`{name}`", 100) for name in objective_names(spec.search.objectives))
    yield "metrics.`best_epoch`", 100
    yield from (("tags.`state`", 90), ("tags.`rung`", 70))
    yield from ((f"params.`{name}`", 130) for name in list(spec.search.space)[:MOST_PARAMETERS])
    yield "metrics.`spending/device_s`", 130
    yield "tags.`reason`", 260


def _charts(spec: SweepSpec, objective: str) -> dict[str, Any]:
    """The objectives' curves and parallel coordinates, above what the UI draws by itself."""
    section = "podium-section"
    curves: list[dict[str, Any]] = [
        {"type": "LINE", "uuid": f"podium-curve-{index}", "metricKey": one.metric, "selectedMetricKeys": [one.metric]}
        for index, one in enumerate(spec.search.objectives)
    ]
    parallel: dict[str, Any] = {
        "type": "PARALLEL",
        "uuid": "podium-parallel",
        "selectedParams": list(spec.search.space)[:MOST_PARAMETERS],
        "selectedMetrics": [objective],
        "showAllRuns": True,
    }
    common: dict[str, Any] = {"metricSectionId": section, "deleted": False, "isGenerated": False}
    return {
        "isAccordionReordered": True,  # else the UI sorts the sections
        "compareRunCharts": [common | chart for chart in (*curves, parallel)],
        "compareRunSections": [{"uuid": section, "name": "Trials", "display": True, "isReordered": False}],
    }
