import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.drawing import pictures, plots
from podium.drawing.charts import COLOURS, INACTIVE, Bars, Chart, Parallel, charts
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

MakeSpec = Callable[..., SweepSpec]


def trial(number: int, *values: float | None, rung: int = 3, state: str = "complete", **parameters: Any) -> Trial:
    return Trial(
        number=number,
        parameters={"rate": 0.01, "kind": "a"} | parameters,
        seed=number,
        state=TrialState(state),
        values={rung: values} if values else {},
    )


def numbered(*trials: Trial) -> dict[int, Trial]:
    return {one.number: one for one in trials}


def searching(make_spec: MakeSpec, *objectives: tuple[str, str], **space: Any) -> SweepSpec:
    goals = [{"metric": metric, "direction": direction} for metric, direction in objectives]
    domains = space or {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}}
    return make_spec(search={"objective": goals if len(goals) > 1 else goals[0], "space": domains})


@pytest.mark.parametrize(("direction", "best"), [("maximize", [0.2, 0.5, 0.5]), ("minimize", [0.2, 0.2, 0.1])])
def test_history_follows_the_direction(make_spec: MakeSpec, direction: str, best: list[float]) -> None:
    trials = numbered(trial(0, 0.2), trial(1, 0.5), trial(2, 9.0, rung=1, state="stopped"), trial(3, 0.1))
    chart = charts(searching(make_spec, ("loss", direction)), trials, {}, {})["history"]
    assert isinstance(chart, Chart)
    lines = {series.name: series for series in chart.series}
    assert (list(lines["best so far at 3 epochs"].x), list(lines["best so far at 3 epochs"].y)) == ([0, 1, 3], best)
    assert list(lines["stopped"].x) == [2]
    assert lines["complete"].colour == COLOURS[TrialState.COMPLETE]
    assert chart.y_label == f"loss ({direction})"


def test_curves_of_one_state_are_one_line_with_gaps(make_spec: MakeSpec) -> None:
    curves = {
        0: {"loss": [(1, 0.5), (2, None)]},
        1: {"loss": [(1, 0.4)]},
        2: {"loss": [(1, 0.3)]},
        3: {"loss": [(1, None)]},
    }
    trials = numbered(trial(0, 0.5), trial(1, 0.4), trial(2, 0.3, state="stopped"), trial(3, state="diverged"))
    chart = charts(searching(make_spec, ("loss", "minimize")), trials, curves, {})["learning_curves"]
    assert isinstance(chart, Chart)
    assert [series.name for series in chart.series] == ["complete", "stopped"]
    assert list(chart.series[0].y) == [0.5, None, None, 0.4, None]
    assert [step for step in chart.series[0].x if not math.isnan(step)] == [1, 2, 1]


def test_parallel_coordinates_show_what_varies(make_spec: MakeSpec) -> None:
    spec = searching(
        make_spec,
        ("loss", "minimize"),
        rate={"log": [0.001, 0.1]},
        fixed={"float": [0, 1]},
        kind={"choice": ["a", "b"]},
        depth={"int": [1, 3], "when": {"kind": "b"}},
    )
    trials = numbered(
        trial(0, 1.0, rate=0.001, fixed=0.5, kind="b", depth=1),
        trial(1, 3.0, rate=0.01, fixed=0.5),
        trial(2, 2.0, rate=0.1, fixed=0.5, kind="b", depth=3),
    )
    chart = charts(spec, trials, {}, {})["parallel_coordinates"]
    assert isinstance(chart, Parallel)
    axes = {axis.label: axis for axis in chart.axes}
    assert list(axes) == ["rate (log)", "kind", "depth", "loss"]
    assert axes["rate (log)"].positions == pytest.approx((0, 0.5, 1))
    assert axes["depth"].positions == (0, INACTIVE, 1)
    assert chart.goodness == (1, 0, 0.5)


def test_importance_is_ranked(make_spec: MakeSpec) -> None:
    chart = charts(searching(make_spec, ("loss", "minimize")), {}, {}, {"kind": 0.2, "rate": 0.8})["importance"]
    assert isinstance(chart, Bars)
    assert (chart.names, chart.lengths) == (("rate", "kind"), (0.8, 0.2))


@pytest.mark.parametrize(
    "trials",
    [{}, numbered(trial(0)), numbered(trial(0, None, state="diverged"))],
    ids=["no trials", "no values", "not a number"],
)
def test_nothing_to_show(make_spec: MakeSpec, trials: dict[int, Trial]) -> None:
    assert charts(searching(make_spec, ("loss", "minimize")), trials, {}, {}) == {}


def test_one_trial(make_spec: MakeSpec) -> None:
    assert set(charts(searching(make_spec, ("loss", "minimize")), numbered(trial(0, 0.1)), {}, {})) == {"history"}


@pytest.mark.slow
def test_both_renderers_draw_every_plot(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = searching(make_spec, ("loss", "minimize"), ("speed", "maximize"))
    trials = numbered(trial(0, 0.2, 5.0), trial(1, 0.1, 6.0, kind="b", rate=0.1), trial(2, None, 1.0))
    curves = {0: {"loss": [(1, 0.5), (2, 0.2)], "speed": [(1, 5.0)]}}
    drawn = charts(spec, trials, curves, {"rate": 0.7, "kind": 0.3})
    names = {"history_loss", "history_speed", "learning_curves_loss", "learning_curves_speed"}
    assert set(drawn) == names | {"importance", "parallel_coordinates"}
    plots.write(tmp_path / "new", drawn)
    pictures.write(tmp_path / "new", drawn)
    for name in drawn:
        assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "Plotly.newPlot" in (tmp_path / "new" / f"{name}.html").read_text()
    assert set(plots.figures(spec, trials, curves, {})) == names | {"parallel_coordinates"}
