"""What goes on inside a trial's network, as metrics and as a picture, from what its training has left in the store."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.sweep.trial import Trial
from podium.tracking.entities import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "diagnosis.json"
"""The file in a trial's folder of artifacts: what was measured at each moment, layer by layer."""

MOST_SHOWN = 8
"""Ailing trials that are shown layer by layer, beside the best one; of the others there are the extremes alone."""

PANELS = {
    "gradient": "norm of gradients",
    "weight": "norm of weights",
    "update": "norm of updates",
    "activation": "outputs, root mean square",
    "dead": "dead units",
    "saturated": "saturated outputs",
}
"""What is measured of a layer, and how its panel is called."""

SHARES = ("dead", "saturated")
"""Those between 0 and 1, on a linear axis."""

Moments = Sequence[Mapping[str, Any]]
"""One mapping a moment: its `epoch`, its `loss` and its `layers`, each with what `PANELS` names."""


def shown(trials: Iterable[Trial], best: Trial | None) -> list[Trial]:
    """The trials that are shown layer by layer: the best one, and the first ones that ail."""
    ailing = [trial for trial in trials if trial.verdict and trial is not best]
    return [*([best] if best is not None else []), *ailing[:MOST_SHOWN]]


def read(paths: Iterable[Path]) -> Moments:
    """What is found in the first of some folders that has any; nothing if none has."""
    for path in paths:
        if path.is_dir() and (path / FILE).is_file():
            found: Moments = json.loads((path / FILE).read_text())
            return found
    return []


def points(moments: Moments, at_ms: int) -> Iterator[Point]:
    """The metrics `diagnosis/gradient/layer_01` and so on, the layers in the order in which samples go through them."""
    for moment in moments:
        for number, layer in enumerate(moment["layers"], 1):
            for name in PANELS:
                if layer[name] is not None:
                    yield Point(f"diagnosis/{name}/layer_{number:02d}", layer[name], at_ms, moment["epoch"])


def draw(moments: Moments, title: str) -> "Figure":
    """A picture with a panel for each measure and a line for each layer, from dark (the first) to bright."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    known = [name for name in PANELS if any(layer[name] is not None for each in moments for layer in each["layers"])]
    names = [layer["name"] or "network" for layer in moments[-1]["layers"]]
    figure = Figure(figsize=(12.0, 3.4 * math.ceil(len(known) / 3)), layout="constrained")
    panels = figure.subplots(math.ceil(len(known) / 3), min(3, len(known)), squeeze=False).ravel().tolist()
    epochs = [moment["epoch"] for moment in moments]
    for axes, name in zip(panels, known, strict=False):
        for number, label in enumerate(names):
            values = [moment["layers"][number][name] for moment in moments]
            numbers = [math.nan if value is None else value for value in values]
            colour = colormaps["viridis"](0.9 * number / max(len(names) - 1, 1))
            axes.plot(epochs, numbers, marker="o", markersize=3, color=colour, label=f"{number + 1}: {label}")
        if name in SHARES:
            axes.set_ylim(-0.02, 1.02)
        elif any(value for moment in moments for layer in moment["layers"] if (value := layer[name])):
            axes.set_yscale("log")
        axes.set_title(PANELS[name], fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
    for axes in panels[len(known) :]:
        axes.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title="layer", loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11, wrap=True)
    return figure
