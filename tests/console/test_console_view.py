"""What the screen shows, from events alone: at all sizes, with and without colours and signs beyond ASCII."""

import io

import pytest
from console_bench import METRIC, Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from podium.console.ink import ASCII, BLOCKS, COLOURLESS, LETTERS, OWN, Ink, ink_of
from podium.console.view import View, bar
from podium.drawing.palette import DARK, LIGHT
from podium.sweep.messages import GangReady
from podium.sweep.trial import TrialState

COLOURED = Ink(BLOCKS, OWN)


def test_the_headline_says_counts_best_speed_and_time_left() -> None:
    bench = Bench(trials=40, gangs=8)
    assert bench.view.headline(bench.machine) == "8/40 trials · 8 running"
    bench.at_s = 10.0
    bench.finish(0.75)
    headline = bench.view.headline(bench.machine)
    assert headline.startswith("9/40 trials · 8 running · 1 paused · 6 trials/min · about ")
    assert headline.endswith("left · best validation/accuracy 0.75 (trial 0, epoch 1)")


def pace(bench: Bench, view: View | None = None) -> str:
    view = view or bench.view
    return " · ".join(view.pace(bench.machine, view.survey(bench.machine)))


def test_the_trials_of_a_cohort_count_one_by_one() -> None:
    bench = Bench(trials=40, gangs=1, fuses=True)
    assert [len(advance.lanes) for advance in bench.open] == [6], "a lead, and 40 // 8 mates"
    assert bench.view.headline(bench.machine) == "6/40 trials · 6 running"
    bench.progress(bench.open[0], 1, 0.25)
    rows = bench.view.rows(bench.machine, bench.view.survey(bench.machine), 12)
    assert [(row.epoch, row.metrics) for row in rows] == [(1, {METRIC: 0.25})] * 6
    bench.at_s = 10.0
    bench.finish(0.75)
    assert pace(bench).startswith("36 trials/min")


def test_running_trials_stand_with_their_last_metric() -> None:
    bench = Bench(trials=4, gangs=2)
    bench.progress(bench.open[0], 1, 0.25)
    first, second = bench.view.rows(bench.machine, bench.view.survey(bench.machine), 12)
    assert (first.trial.number, first.epoch, first.metrics) == (0, 1, {METRIC: 0.25})
    assert (second.trial.number, second.epoch, second.metrics) == (1, 0, {})


@pytest.fixture(scope="module", params=[(2, 1), (40, 8), (4000, 500)], ids=str)
def busy(request: pytest.FixtureRequest) -> Bench:
    """A sweep under way, with a best trial, a failure and a trial that has long been silent."""
    bench = Bench(*request.param)
    bench.progress(bench.open[0], 1, 0.91)
    bench.finish(0.912345)
    if bench.machine.budget > 2:
        bench.fail("the batch holds no\nsamples")
    bench.drawn(80)
    bench.at_s = 5.0
    for advance in bench.open[2:]:
        bench.progress(advance, 1, 0.9 - advance.lanes[0].trial / 10_000)
    return bench


@pytest.mark.parametrize("ink", [ASCII, COLOURLESS, COLOURED])
@pytest.mark.parametrize("height", [10, 24, 50])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_screen_is_readable_at_any_size(busy: Bench, width: int, height: int, ink: Ink) -> None:
    machine, lines = busy.machine, busy.drawn(width, height, ink)
    text = "\n".join(lines)
    assert len(lines) < height, "the last line of the screen stays free"
    assert max(map(len, lines)) <= width
    assert len(lines[0]) == width
    assert f"/{machine.budget} trials" in text
    for state, count in machine.count().items():
        assert f"{ink.marks[TrialState(state)]} {count} {state}" in text
    assert "best " in text
    assert "0.91234" in text
    assert f"gangs {len(machine.gangs)}/{len(machine.gangs)} busy" in text
    rows = [line for line in lines if "/9  " in line]
    assert 1 <= len(rows) <= min(len(machine.gangs), 12)
    assert height == 10 or len(rows) == min(len(machine.gangs), 12), "there is room for more"
    assert text.isascii() == ink.is_ascii
    if machine.budget > 2 and height > 10:
        assert "trial 1 failed: exception after 1" in text
        assert "the batch holds no samples" in text or width < 80


def test_few_rows_stand_for_many_the_best_the_silent_and_the_newest(busy: Bench) -> None:
    gangs = len(busy.machine.gangs)
    rows = busy.view.rows(busy.machine, busy.view.survey(busy.machine), 12)
    assert len(rows) == min(gangs, 12)
    text = "\n".join(busy.drawn(120, 40))
    if gangs != 500:
        assert not any(row.why for row in rows)
        assert "more running" not in text
        return
    reasons = [row.why for row in rows]
    assert reasons == sorted(reasons, key=["best", "silent", "newest"].index)
    newest = max(trial.number for trial in busy.view.survey(busy.machine).running)
    assert [row.trial.number for row in rows[8:]] == [newest, newest - 1, newest - 2, newest - 3]
    assert rows[0].metrics[METRIC] == max(row.metrics.get(METRIC) or 0 for row in rows)
    assert rows[4].silent_s == max(row.silent_s for row in rows) == 5.0
    assert "and 488 more running" in text


@settings(deadline=None, max_examples=60)
@given(
    trials=st.integers(1, 60),
    gangs=st.integers(1, 12),
    fuses=st.booleans(),
    values=st.lists(st.floats(0, 1) | st.none(), max_size=30),
    width=st.integers(1, 220),
    height=st.integers(2, 60),
)
def test_no_screen_is_overrun(
    trials: int, gangs: int, fuses: bool, values: list[float | None], width: int, height: int
) -> None:
    bench = Bench(trials, gangs, fuses=fuses)
    for value in values:
        bench.at_s += 1.0
        if not bench.open:
            break
        if value is None:
            bench.fail("bad \x1b[31m luck 運\n\n")
        else:
            bench.finish(value)
    for ink in (ASCII, COLOURLESS, COLOURED):
        lines = bench.view.draw(bench.machine, width, height, ink)
        assert len(lines) < height
        assert all(line.cell_len <= width for line in lines)
        assert "\x1b" not in "".join(line.plain for line in lines)
        assert all(counted in "".join(line.plain for line in lines) for counted in _counted(bench, width, height))


def _counted(bench: Bench, width: int, height: int) -> list[str]:
    """What no screen of a bearable size leaves out."""
    if width < 40 or height < 12:
        return []
    return [f"/{bench.machine.budget} trials", *(f" {count} {state}" for state, count in bench.machine.count().items())]


def test_rungs_show_how_few_get_far() -> None:
    bench = Bench(trials=30, gangs=1)
    for number in range(20):
        bench.finish(number / 20)
    line = next(line for line in bench.drawn(80) if line.startswith("at rung"))
    reached = bench.view.survey(bench.machine).reached
    assert line == f"at rung 1: {reached[1]} -> 3: {reached[3]} -> 9: {reached[9]}"
    assert not any("rung" in line for line in Bench(trials=30, gangs=1, policy="none").drawn(80))


def test_the_bar_covers_the_budget_and_shows_every_state() -> None:
    bench = Bench(trials=4000, gangs=1)

    def drawn(width: int) -> str:
        return bar(bench.view.survey(bench.machine), 4000, width, COLOURED).plain

    assert drawn(40) == "▒" + "·" * 39
    for _ in range(3):
        bench.finish()
    assert drawn(40).startswith("▓▒·")
    while not bench.machine.is_ended and len(bench.machine.trials) < 400:
        bench.finish()
    assert set(BLOCKS.values()) >= set(drawn(40)) - {"·"}
    assert len(drawn(40)) == 40


def test_a_full_bar_has_nothing_left() -> None:
    bench = Bench(trials=7, gangs=2)
    while not bench.machine.is_ended:
        bench.finish()
    assert set(bench.drawn(33, ink=COLOURED)[0]) == {"█"}
    assert "left" not in bench.view.headline(bench.machine)


def test_time_left_is_exact_where_every_trial_takes_the_same() -> None:
    bench = Bench(trials=10, gangs=1, policy="none")
    for seconds in range(1, 5):
        bench.at_s = 9.0 * seconds
        bench.finish()
    assert pace(bench) == "6.7 trials/min · about 54 s left"


def test_time_left_is_never_less_than_what_is_under_way() -> None:
    bench = Bench(trials=1, gangs=1)
    for at_s in (1.0, 3.0):
        bench.at_s = at_s
        bench.finish()
    assert pace(bench) == "20 trials/min · about 6 s left"


def test_time_left_ends_with_the_wall_time() -> None:
    bench = Bench(trials=1000, gangs=1, budget={"wall_time": 20.0})
    bench.at_s = 1.0
    bench.finish()
    assert pace(bench).endswith("about 20 s left")


def test_speed_counts_this_launch_only() -> None:
    bench = Bench(trials=40, gangs=1, policy="none")
    for _ in range(20):
        bench.finish()
    later = View(lambda: bench.at_s)
    bench.at_s = 100.0
    later.take(bench.machine, [GangReady(gang="g0")])
    assert pace(bench, later) == ""
    bench.at_s = 110.0
    assert pace(bench, later) == ""
    bench.view = later
    bench.finish()
    assert pace(bench).startswith("6 trials/min")


def test_no_two_states_look_alike() -> None:
    assert len(set(LETTERS.values())) == len(TrialState) == len(LETTERS)
    assert "".join(LETTERS.values()).isascii()
    assert list(BLOCKS) == list(LETTERS)
    looks = {(BLOCKS[state], OWN[state]) for state in TrialState}
    assert len(looks) == len(TrialState)


@pytest.mark.parametrize(("light", "states"), [(True, LIGHT.states), (False, DARK.states), (None, OWN)])
@pytest.mark.parametrize("colours", ["truecolor", "256"])
def test_states_have_the_colours_of_all_that_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, light: bool | None, states: dict[TrialState, str], colours: str
) -> None:
    from podium.console import ink

    ink._styles.cache_clear()
    monkeypatch.setattr(ink.ground, "is_light", lambda: light)
    console = Console(file=io.StringIO(), force_terminal=True, color_system=colours)  # type: ignore[arg-type]
    assert ink_of(console) == Ink(BLOCKS, states)
    ink._styles.cache_clear()


def test_few_colours_are_the_terminals_own() -> None:
    assert ink_of(Console(file=io.StringIO(), force_terminal=True, color_system="standard")) == Ink(BLOCKS, OWN)


def test_nothing_is_coloured_where_colours_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    assert ink_of(console) == COLOURLESS
    monkeypatch.delenv("NO_COLOR")
    assert ink_of(Console(file=io.StringIO())) == COLOURLESS


def test_an_encoding_without_blocks_gets_letters() -> None:
    ascii_file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=ascii_file, force_terminal=True, color_system="standard")
    assert ink_of(console).is_ascii
    assert ink_of(console).styles == OWN, "letters may have colours"
