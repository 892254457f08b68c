"""The search plots as PNG files, drawn by matplotlib without a screen or a browser."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from podium.drawing.charts import Bars, Chart, Parallel
from podium.drawing.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write(folder: Path, charts: Mapping[str, Chart | Bars | Parallel]) -> None:
    """Writes every plot as `<name>.png`, 130 dots an inch."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        draw(chart).savefig(folder / f"{name}.png", dpi=130)


def draw(chart: Chart | Bars | Parallel) -> "Figure":
    """One picture."""
    from matplotlib.figure import Figure

    width = max(8.0, 1.6 * len(chart.axes)) if isinstance(chart, Parallel) else 8.0
    figure = Figure(figsize=(width, 5.0), layout="constrained")
    axes = figure.add_subplot()
    if isinstance(chart, Chart):
        _chart(axes, chart)
    elif isinstance(chart, Bars):
        axes.barh(chart.names, chart.lengths, color=LIGHT.series[0])
        axes.invert_yaxis()
        axes.set_xlabel(chart.x_label)
    else:
        _parallel(figure, axes, chart)
    axes.set_title(chart.title)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _chart(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import MaxNLocator

    for series in chart.series:
        y = [float("nan") if value is None else value for value in series.y]
        if series.kind == "points":
            axes.scatter(series.x, y, color=series.colour, label=series.name, s=28)
        elif series.kind == "steps":
            axes.step(series.x, y, where="post", color=series.colour, label=series.name, linewidth=1.8)
        else:
            axes.plot(series.x, y, color=series.colour, label=series.name, linewidth=1.0, marker=".")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _parallel(figure: "Figure", axes: "Axes", chart: Parallel) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    columns = range(len(chart.axes))
    plate = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    colours = colormaps["cividis"]
    for trial in sorted(range(len(chart.goodness)), key=chart.goodness.__getitem__):
        places = [axis.positions[trial] for axis in chart.axes]
        axes.plot(columns, places, color=colours(chart.goodness[trial]), linewidth=1.2)
    for column, axis in enumerate(chart.axes):
        axes.axvline(column, color="#444444", linewidth=0.8)
        for place, text in axis.ticks:
            axes.annotate(
                text, (column, place), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center", bbox=plate
            )
    axes.set_xticks(list(columns), [axis.label for axis in chart.axes], rotation=20, ha="right")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    bar = figure.colorbar(ScalarMappable(cmap=colours), ax=axes, ticks=[0, 1], pad=0.02)
    bar.ax.set_yticklabels(["worst", "best"])
