"""How many trials of one sweep reached each rung, and what became of the others."""

from collections import Counter
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing.marks import legend
from podium.drawing.panels import Panel
from podium.drawing.svg import Scale, canvas, path, write
from podium.sweep.trial import TrialState

WIDTH, ROW, BAR, LEFT = 460, 52, 20, 82


def funnel(parent: Element, panel: Panel) -> str:
    """Draws a bar a rung: as long as there are trials that reached it, parted by what became of them there.

    Returns:
        How many reached the last rung of how many, in words; empty if there are no trials.
    """
    if not panel.everything:
        return ""
    rungs = sorted({panel.spec.rungs()[-1], *(rung for trial in panel.everything for rung in trial.values)})
    ended = Counter((trial.rung, trial.state) for trial in panel.everything)
    states = [state for state in TrialState if any(ended[rung, state] for rung in (0, *rungs))]
    legend(parent, [("whole", "went on"), *((state, str(state)) for state in states)])
    svg = canvas(parent, f"Trials of {panel.spec.sweep} at each rung", WIDTH, ROW * (len(rungs) + 1) + 4)
    scale = Scale(0, len(panel.everything), LEFT, WIDTH - 4)
    reached = len(panel.everything)
    for row, rung in enumerate((0, *rungs)):
        top = row * ROW + 6
        here = [(str(state), str(state), ended[rung, state]) for state in states if ended[rung, state]]
        on = reached - sum(count for _, _, count in here)
        parts = [("whole", "went on", on), *here] if on else here
        write(svg, (LEFT - 8, top + BAR - 5), f"{reached:,}", "label end")
        write(svg, (LEFT - 8, top + BAR + 11), f"epoch {rung}" if rung else "proposed", "tick end")
        passed = 0
        for kind, name, count in parts:
            _bar(svg, scale(passed), scale(passed + count), top, kind, f"{count:,} {name}")
            passed += count
        if on:
            path(svg, [(scale(on), top + BAR), (scale(on), top + ROW)], "guide")
        told = ", ".join(f"{count:,} {name}" for _, name, count in parts)
        write(svg, (LEFT, top + BAR + 14), told, "tick halo")
        reached = on
    last = sum(count for (rung, _), count in ended.items() if rung == rungs[-1])
    return f"{last:,} of {len(panel.everything):,} trials reached epoch {rungs[-1]}."


def _bar(parent: Element, left: float, right: float, top: float, kind: str, title: str) -> None:
    """A part of a bar, at least as wide as can be seen."""
    box = {"x": f"{left:g}", "y": f"{top:g}", "width": f"{max(right - left - 0.6, 0.8):g}", "height": f"{BAR}"}
    rectangle = SubElement(parent, "rect", {**box, "class": f"bar {kind}"})
    SubElement(rectangle, "title").text = title
