"""The timeline as it is drawn."""

import random
import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, tostring

import numpy as np
import pytest

from podium.drawing.timeline import LEFT, MOST_LINES, MOST_PIECES, RIGHT, WIDTH, _covered, timeline, totals
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    Enqueued,
    Event,
    GangLost,
    GangReady,
    Launched,
    Proposed,
    Report,
    Resumed,
)
from podium.sweep.spans import Span, Use
from podium.sweep.timeline import Timeline
from podium.testing.simulation import simulate, toy_spec


def played(trials: int, gangs: int, policy: str = "asha", more: Sequence[tuple[float, Event]] = ()) -> Timeline:
    """A simulated sweep whose events come at random moments."""
    events = simulate(toy_spec(trials=trials, policy=policy), gangs, lambda lane: [lane.parameters["x"]] * 9).events
    dice, at = random.Random(0), 1e9
    assert isinstance(events[0], Launched)
    found = Timeline(Machine(SweepSpec.model_validate(events[0].spec)))
    for event in events:
        at += 3 * dice.random()
        found.take(at, event)
    for after, event in more:
        found.take(at + after, event)
    return found


def drawn(of: Timeline, **how: object) -> tuple[Element, str]:
    figure = Element("figure")
    return figure, timeline(figure, of, **how)  # type: ignore[arg-type]


def runs(figure: Element, kind: str) -> list[Element]:
    return [each for each in figure.iter("path") if {"run", kind} <= {*each.get("class", "").split()}]


def test_nothing_is_drawn_before_a_gang_is_there() -> None:
    spec = toy_spec(trials=2)
    found = Timeline(Machine(spec))
    assert drawn(found)[1] == totals(Element("figure"), found) == ""


def test_each_advance_is_drawn_in_the_colour_of_its_trial_and_leads_to_it() -> None:
    found = played(10, 3)
    figure, caption = drawn(found, link=lambda number: f"/trials/{number}")
    spans = [piece for row in found.rows for piece in row.pieces if isinstance(piece, Span)]
    assert caption.startswith(f"3 gangs, {len(spans)} advances.")
    assert sorted(anchor.get("href", "") for anchor in figure.iter("a")) == sorted(
        f"/trials/{span.trials[0]}" for span in spans
    )
    for state in {found.machine.trials[span.trials[0]].state for span in spans}:
        of_state = [span for span in spans if found.machine.trials[span.trials[0]].state is state]
        assert len(runs(figure, state)) == len(of_state)
    assert runs(figure, "use-proposals")
    assert "this ledger does not tell" in caption


@pytest.mark.parametrize(("colour", "kinds"), [("trial", "s"), ("cohort", "s"), ("lanes", "g")])
def test_advances_may_have_other_colours(colour: str, kinds: str) -> None:
    figure, _ = drawn(played(10, 3), colour=colour)
    found = {each.get("class", "").split()[1] for each in figure.iter("path") if "run" in each.get("class", "")}
    assert {kind for kind in found if re.fullmatch(rf"{kinds}\d", kind)}
    assert not found & {"complete", "stopped", "paused"}


def test_many_gangs_share_lines_and_many_advances_share_cells() -> None:
    found = played(600, 90)
    figure, caption = drawn(found, link=lambda number: f"/trials/{number}")
    assert sum(len(pieces) for _, pieces in found.pieces) > MOST_PIECES
    assert "what most of its time went into" in caption
    assert len(tostring(figure)) < 60_000
    names = [text.text or "" for text in figure.iter("text") if re.search(r"\+\d+$", text.text or "")]
    assert len(names) == MOST_LINES
    assert next(figure.iter("a"), None) is None


def test_times_without_a_driver_are_cut_out() -> None:
    away = played(4, 1, more=[(1e6, Resumed(holder="b"))])
    written = tostring(drawn(away)[0], encoding="unicode")
    assert "without the times that had no driver" in written
    assert "no driver for 278 h" in written
    assert "time since the launch (s)" in written


def test_a_wait_for_a_gang_that_is_still_open_is_drawn() -> None:
    found, spec = Timeline(Machine(toy_spec(trials=2))), toy_spec(trials=2)
    for at, event in (
        (0, Launched(identity="i", spec=spec.written())),
        (9, GangReady(gang="a")),
        (10, GangLost(gang="a")),
    ):
        found.take(at, event)
    found.take(70, Enqueued(parameters={}))
    (waiting,) = runs(drawn(found)[0], "use-gang")
    left, right = map(float, re.findall(r"M([\d.]+) .*H([\d.]+)", waiting.get("d", ""))[0])
    assert (right - left) / (WIDTH - RIGHT - LEFT) == pytest.approx(60 / 70, abs=0.01)


def test_waits_for_data_are_drawn_before_the_training_and_checkpoints_after_it() -> None:
    spec = toy_spec(trials=1, policy="none")
    found = Timeline(Machine(spec))
    found.take(0, Launched(identity="i", spec=spec.written()))
    found.take(0, GangReady(gang="a"))
    (advance,) = found.take(0, Proposed(number=0, parameters={"x": 0.0}))
    assert isinstance(advance, Advance)
    report = Report(trial=0, epoch=advance.until, values=(0.5,))
    found.take(100, Advanced(key=advance.key, gang="a", reports=(report,), data_s=60, checkpoint_s=10))
    figure, _ = drawn(found)
    (data,), (trained,), (written,) = (runs(figure, kind) for kind in ("use-data", "complete", "use-checkpoint"))
    starts = [float((each.get("d") or "")[1:].split()[0]) for each in (data, trained, written)]
    shares = [(start - LEFT) / (WIDTH - RIGHT - LEFT) for start in starts]
    assert shares == pytest.approx([0, 0.6, 0.9], abs=0.01)
    assert {"waiting for data", "checkpoints"} <= {each.text for each in figure.iter("span")}


def test_a_gang_that_replaces_another_has_its_line() -> None:
    spec, found = toy_spec(trials=2), Timeline(Machine(toy_spec(trials=2)))
    found.take(0, Launched(identity="i", spec=spec.written()))
    found.take(1, GangReady(gang="a"))
    found.take(9, Resumed(holder="b"))
    found.take(10, GangReady(gang="b"))
    figure, _ = drawn(found)
    assert "a +1" in [text.text for text in figure.iter("text")]


def test_the_bar_tells_the_share_of_every_use() -> None:
    found = played(20, 3)
    figure = Element("figure")
    caption = totals(figure, found)
    told = [re.fullmatch(r"(.+) ([\d.]+)%", element.text or "") for element in figure.iter("span")]
    shares = {match[1]: float(match[2]) for match in told if match}
    whole = sum(seconds for use, seconds in found.totals.items() if use is not Use.AWAY)
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    for use, share in shares.items():
        assert share == pytest.approx(100 * found.totals[Use(use)] / whole, abs=0.06)
    assert caption.endswith("of gangs in all.")


def test_cells_cover_as_much_as_the_parts_that_they_show() -> None:
    random = np.random.default_rng(0)
    begin = random.uniform(0, 50, 200)
    ends = np.stack([begin, np.minimum(begin + random.exponential(3, 200), 50)], 1)
    of = random.integers(0, 4, 200)
    found = _covered(of, ends, 50)
    for kind in range(4):
        for column in range(50):
            inside = np.clip(ends[of == kind], column, column + 1)
            assert found[column, kind] == pytest.approx((inside[:, 1] - inside[:, 0]).sum(), abs=1e-9)
