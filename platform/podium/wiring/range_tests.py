"""The learning-rate range test of a sweep's first point: made, drawn, and told in a terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from podium.errors import UserError
from podium.spec.files import SweepFile
from podium.wiring.launch import Watcher, prepare_data
from podium.wiring.place import Place
from podium.wiring.preflight import first_point

COLUMNS, ROWS = 72, 12
"""Characters of the curve in a terminal."""

ABOVE_START = 1.25
"""The curve is cut where the loss is so many times as high as at first; what follows says no more."""

RATE = "optimizer.learning_rate"

INK, FAINT, MARK, END = "#0072B2", "#BBBBBB", "#009E73", "#D55E00"


def make(
    file: SweepFile, place: Place, watcher: Watcher, *, lowest: float, highest: float, steps: int
) -> dict[str, Any]:
    """Trains the first point of a sweep's space at rising learning rates; gives what came of it, as plain data.

    Args:
        file: The sweep. Its first point is what it says above its space, and else the lower ends of the domains.
        place: Where data are prepared.
        watcher: Who is told.
        lowest: The first learning rate.
        highest: The last one, unless the loss diverges before.
        steps: How many there are, evenly spaced by their logarithms.

    Raises:
        UserError: for rates that do not rise, and for what would keep the sweep from being launched.
    """
    from podium.training.range_test import range_test

    if not 0 < lowest < highest:
        raise UserError(f"the learning rate goes from {lowest:g} to {highest:g}; it has to rise, and to start above 0")
    spec = file.spec
    place.require_writable()
    data = prepare_data(spec, file.folder, place, watcher)
    point = first_point(spec)
    watcher.stage(f"Training for {steps} steps")
    rates = [lowest * (highest / lowest) ** (step / (steps - 1)) for step in range(steps)]
    code = None if spec.is_built_in else file.folder
    found = range_test(spec, code=code, data=data, parameters=point, rates=rates)
    return {"sweep": spec.sweep, "params": {key: value for key, value in point.items() if key != RATE}, **asdict(found)}


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draws losses over learning rates to a file, in the format of its ending.

    Raises:
        UserError: if the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(found["rates"], found["losses"], color=FAINT, linewidth=1.0, label="loss of a batch")
    axes.plot(found["rates"], found["smoothed"], color=INK, linewidth=2.0, label="smoothed")
    for key, colour, label in (("suggestion", MARK, "suggested"), ("diverged", END, "diverged")):
        if found[key] is not None:
            axes.axvline(found[key], color=colour, linestyle="--", label=f"{label}: {found[key]:.2g}")
    axes.set_xscale("log")
    if found["smoothed"]:
        low, high = min(found["losses"]), _bounds(found["smoothed"])[1]
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title(f"{found['sweep']}: learning-rate range test")
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    try:
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the picture could not be written to {path}: {error}; name another file, such as lr.png"
        ) from error


def to_text(found: Mapping[str, Any]) -> str:
    """The smoothed curve and what follows from it, for a terminal."""
    point = ", ".join(f"{key}={value}" for key, value in found["params"].items()) or "the settings of the file"
    lines = [f"{found['sweep']}, {len(found['losses'])} steps with {point}", "", *_curve(found), ""]
    if found["diverged"] is not None:
        lines.append(f"The loss diverged at a learning rate of {found['diverged']:.2g}")
    if found["steepest"] is not None:
        lines.append(f"It fell fastest at {found['steepest']:.2g}")
    if found["suggestion"] is None:
        lines.append("The loss never fell, so there is nothing to suggest: look at `podium check`, or try other rates")
    else:
        lines.append(f"Try  {RATE}={found['suggestion']:.2g}")
    return "\n".join(lines)


def _bounds(smoothed: Sequence[float]) -> tuple[float, float]:
    return min(smoothed), max(ABOVE_START * smoothed[0], min(smoothed) + 1e-12)


def _curve(found: Mapping[str, Any]) -> list[str]:
    """The smoothed losses as dots, over the logarithm of the rates; `|` stands at the suggestion."""
    rates, smoothed = found["rates"], found["smoothed"]
    if len(rates) < 2:
        return []
    low, high = _bounds(smoothed)
    begin, width = math.log(rates[0]), math.log(rates[-1] / rates[0])

    def column(rate: float) -> int:
        return max(0, min(round((math.log(rate) - begin) / width * (COLUMNS - 1)), COLUMNS - 1))

    grid = [[" "] * COLUMNS for _ in range(ROWS)]
    if found["suggestion"] is not None:
        for row in grid:
            row[column(found["suggestion"])] = "|"
    for rate, loss in zip(rates, smoothed, strict=True):
        if loss <= high:
            grid[round((high - loss) / (high - low) * (ROWS - 1))][column(rate)] = "•"
    edge = {0: f"{high:.3g}", ROWS - 1: f"{low:.3g}"}
    lines = [f"{edge.get(number, ''):>8} ┤{''.join(row).rstrip()}" for number, row in enumerate(grid)]
    ends = f"{rates[0]:.1g}", f"{rates[-1]:.1g}"
    return [*lines, f"{'':>8} └{'─' * COLUMNS}", f"{'':>10}{ends[0]}{ends[1]:>{COLUMNS - len(ends[0])}}  learning rate"]
