"""How a dashboard is described here, and what Grafana reads of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from podium.drawing.palette import DARK
from podium.sweep.trial import TrialState

STATES = {str(state): colour for state, colour in DARK.states.items()}
"""The colours of states; Grafana draws on a dark ground by default, and a panel has the same colours on both."""

GOOD, BAD, RESERVED = (DARK.states[state] for state in (TrialState.RUNNING, TrialState.DIVERGED, TrialState.WAITING))
SERIES = DARK.series

WIDTH = 24
"""Columns of Grafana's grid."""

SOURCE = {"type": "prometheus", "uid": "prometheus"}
"""The data source that provisioning/datasources makes."""

SCHEMA = 41
"""Grafana's own number for this layout of a dashboard; newer ones read it."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What one panel shows.

    Attributes:
        title: In a few words.
        text: What it means, and what to look for.
        unit: By Grafana's name: `s`, `bytes`, `short`, `percentunit`, `none`, …
        queries: By legend, in PromQL; `{{label}}` in a legend stands for a label's value.
        axis: What its vertical axis counts.
        colours: By series, a colour; the others get one of Grafana's.
        is_stacked: Whether the series add up to something.
        is_number: Whether only the last value is shown, in large.
        limit: From where on it is drawn as bad, in `bad`.
        bad: The colour of that.
        most: The upper end of the axis, where there is one by nature.
        width: In columns.
        height: In rows.
    """

    title: str
    text: str
    unit: str
    queries: Mapping[str, str]
    axis: str = ""
    colours: Mapping[str, str] = field(default_factory=dict)
    is_stacked: bool = False
    is_number: bool = False
    limit: float | None = None
    bad: str = ""
    most: float | None = None
    width: int = 8
    height: int = 8


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A page of panels, row after row.

    Attributes:
        uid: Its name in addresses.
        title: As Grafana lists it.
        text: What it is for.
        rows: Headings, and the panels below each.
        variables: By name, the label and the query whose answers it is chosen from.
    """

    uid: str
    title: str
    text: str
    rows: Mapping[str, Sequence[Panel]]
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict)


NUMBER: dict[str, Any] = {"is_number": True, "width": 4, "height": 4, "bad": BAD}
"""What panels that show one number have in common."""


def rate(metric: str, *, by: str, where: str = "") -> str:
    """What a counter grows by in a second, in sum over what is not named."""
    chosen = f"{metric}{{{where}}}" if where else metric
    return f"sum by ({by}) (rate({chosen}[$__rate_interval]))"


def to_grafana(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it from a file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["podium"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {
                "title": "Podium",
                "type": "dashboards",
                "tags": ["podium"],
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": [_variable(name, *about) for name, about in dashboard.variables.items()]},
        "annotations": {"list": []},
        "panels": _laid_out(dashboard.rows),
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": False,
        "includeAll": False,
    }


def _laid_out(rows: Mapping[str, Sequence[Panel]]) -> list[dict[str, Any]]:
    """The panels from left to right and from top to bottom, below their headings."""
    laid, numbers, top = list[dict[str, Any]](), count(1), 0
    for heading, panels in rows.items():
        place = {"h": 1, "w": WIDTH, "x": 0, "y": top}
        laid.append(
            {"id": next(numbers), "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}
        )
        left, top, tallest = 0, top + 1, 0
        for panel in panels:
            if left + panel.width > WIDTH:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            laid.append({"id": next(numbers), "gridPos": place, **_panel(panel)})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return laid


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend,
                "range": not panel.is_number,
                "instant": panel.is_number,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [*map(_coloured, panel.colours.items())]},
        "options": _number() if panel.is_number else _curves(panel),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    if panel.limit is not None:
        steps.append({"color": panel.bad, "value": panel.limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.is_number else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if not panel.is_number:
        defaults |= {} if panel.most is None else {"min": 0, "max": panel.most}
        defaults["custom"] = {
            "axisLabel": panel.axis,
            "drawStyle": "line",
            "lineWidth": 1 if panel.is_stacked else 2,
            "fillOpacity": 60 if panel.is_stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.is_stacked else "none"},
            "thresholdsStyle": {"mode": "off" if panel.limit is None else "line"},
        }
    return defaults


def _coloured(series: tuple[str, str]) -> dict[str, Any]:
    name, colour = series
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


def _number() -> dict[str, Any]:
    return {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }


def _curves(panel: Panel) -> dict[str, Any]:
    return {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none" if panel.is_stacked else "desc"},
    }
