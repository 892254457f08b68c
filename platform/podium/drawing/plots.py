"""The search plots as plotly figures, for the browser and for notebooks."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from podium.drawing.charts import Bars, Chart, Curves, Parallel, charts
from podium.drawing.palette import LIGHT
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def figures(
    spec: SweepSpec, trials: Mapping[int, Trial], curves: Curves, importances: Mapping[str, float]
) -> "dict[str, Figure]":
    """The figures by name: `history`, `learning_curves`, `importance`, `parallel_coordinates`.

    Args:
        spec: The sweep.
        trials: By number the snapshots.
        curves: By trial and objective's metric the value of every epoch.
        importances: By searched parameter its share of the objective's variance.

    Returns:
        Those that have something to show; with several objectives the first two have the metric in their name.
    """
    return {name: draw(chart) for name, chart in charts(spec, trials, curves, importances).items()}


def write(folder: Path, charts: Mapping[str, Chart | Bars | Parallel]) -> None:
    """Writes every plot as `<name>.html`, a page that needs no network."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        draw(chart).write_html(folder / f"{name}.html", include_plotlyjs=True)


def draw(chart: Chart | Bars | Parallel) -> "Figure":
    """One figure."""
    from plotly import graph_objects

    if isinstance(chart, Chart):
        figure = _chart(chart)
    elif isinstance(chart, Bars):
        bars = graph_objects.Bar(x=chart.lengths, y=chart.names, orientation="h", marker_color=LIGHT.series[0])
        figure = graph_objects.Figure(bars)
        figure.update_layout(xaxis_title=chart.x_label)
        figure.update_yaxes(autorange="reversed")
    else:
        figure = _parallel(chart)
    return figure.update_layout(title=chart.title, template="plotly_white", margin={"t": 90})


def _chart(chart: Chart) -> "Figure":
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for series in chart.series:
        figure.add_scatter(
            x=series.x,
            y=series.y,
            name=series.name,
            text=series.labels,
            mode={"points": "markers", "line": "lines+markers", "steps": "lines"}[series.kind],
            line_shape="hv" if series.kind == "steps" else "linear",
            line_width=2.5 if series.kind == "steps" else 1.2,
            marker_size=8 if series.kind == "points" else 4,
            marker_color=series.colour,
            line_color=series.colour,
            connectgaps=False,
            hovertemplate="%{text}<br>" + chart.x_label + " %{x}<br>%{y:.5g}",
        )
    return figure.update_layout(xaxis_title=chart.x_label, yaxis_title=chart.y_label, showlegend=True)


def _parallel(chart: Parallel) -> "Figure":
    from plotly import graph_objects

    return graph_objects.Figure(
        graph_objects.Parcoords(
            line={
                "color": chart.goodness,
                "colorscale": "Cividis",
                "cmin": 0,
                "cmax": 1,
                "showscale": True,
                "colorbar": {"tickvals": [0, 1], "ticktext": ["worst", "best"]},
            },
            dimensions=[
                {
                    "label": axis.label,
                    "values": axis.positions,
                    "range": [min(-0.05, *axis.positions), 1.05],
                    "tickvals": [place for place, _ in axis.ticks],
                    "ticktext": [text for _, text in axis.ticks],
                }
                for axis in chart.axes
            ],
            labelangle=-20,
        )
    )
