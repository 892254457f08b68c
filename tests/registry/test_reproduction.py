"""What the ledger tells of a trial, and whether it came out again: plain values in, plain values out."""

import math

from hypothesis import given
from hypothesis import strategies as st

from podium.registry.reproduction import (
    CAP,
    FACTOR,
    Leg,
    Verdict,
    changed,
    compare,
    differences,
    is_time,
    legs,
    past,
    with_endings,
)
from podium.sweep.messages import Advanced, Event, LaneProgress, Progress, Report, Stretch

METRICS = st.dictionaries(
    st.sampled_from(["train/loss", "validation/loss", "validation/accuracy"]),
    st.none() | st.floats(-1e6, 1e6),
    min_size=1,
)
CURVES = st.lists(METRICS, min_size=1, max_size=4).map(lambda each: dict(enumerate(each, start=1)))


def told(number: int, epoch: int, loss: float) -> Event:
    return Progress(gang="g", lanes=(LaneProgress(trial=number, epoch=epoch, metrics={"loss": loss}),))


def test_an_epoch_that_was_trained_again_counts_as_it_was_told_last() -> None:
    events = [
        told(0, 1, 3.0),
        told(0, 2, 2.0),
        told(1, 2, 9.0),
        told(0, 2, 2.5),
        Advanced(key="a", gang="g", reports=(Report(trial=0, epoch=2, values=(1.0,)),), conditions={"threads": 1}),
        told(0, 3, 1.0),
    ]
    found = past(events, 0)
    assert found.curve == {1: {"loss": 3.0}, 2: {"loss": 2.5}}, "what nobody reported was lost with its advance"
    assert found.report is not None
    assert found.conditions == {"threads": 1}
    assert past(events, 1).report is None


def test_legs_are_where_the_ranks_change() -> None:
    history = [
        Stretch(epoch=0, stack=(0, 1)),
        Stretch(epoch=0, step=6, stack=(0,)),
        Stretch(epoch=1, step=3, stack=(0,), ranks=2),
        Stretch(epoch=3, stack=(0,), ranks=2, strategy="sharded"),
        Stretch(epoch=0, stack=(0,), ranks=4, fold=1),
    ]
    assert legs(history) == [Leg(1, "replicated"), Leg(2, "replicated"), Leg(2, "sharded")]


@given(CURVES)
def test_a_curve_is_identical_to_itself_whatever_the_clock_says(curve: dict[int, dict[str, float | None]]) -> None:
    timed = {epoch: {**metrics, "train/samples_per_s": 1.0 * epoch} for epoch, metrics in curve.items()}
    found = compare(timed, curve)
    assert (found.verdict, found.first_epoch, found.distance) == (Verdict.IDENTICAL, None, 0.0)
    assert found.epochs == len(curve)


@given(CURVES, st.data())
def test_one_bit_is_found_where_it_is(curve: dict[int, dict[str, float | None]], data: st.DataObject) -> None:
    epoch = data.draw(st.sampled_from(sorted(curve)))
    name = data.draw(st.sampled_from(sorted(curve[epoch])))
    value = curve[epoch][name]
    other = 1.0 if value is None else math.nextafter(value, math.inf)
    again = {**curve, epoch: {**curve[epoch], name: other}}
    found = compare(curve, again)
    assert found.verdict is Verdict.DIFFERENT, "nothing is within tolerance without a twin"
    assert (found.first_epoch, dict(found.metrics)) == (epoch, {name: (value, other)})


@given(st.floats(1e-5, 1e-3), st.floats(0.1, 3.0).filter(lambda times: abs(times - 1) > 1e-3))
def test_a_twin_says_how_far_off_is_near(spread: float, times: float) -> None:
    then, again = {1: {"validation/loss": 1.0}}, {1: {"validation/loss": 1.0 + FACTOR * times * spread}}
    value = again[1]["validation/loss"]
    twin = {1: {"validation/loss": value * (1 + spread)}}
    is_near = compare(then, again, twin).verdict is Verdict.WITHIN_TOLERANCE
    apart, allowed = 1 - 1 / value, FACTOR * (1 - 1 / (1 + spread))
    assert allowed < CAP
    if not math.isclose(apart, allowed, rel_tol=1e-3):
        assert is_near == (apart < allowed)


def test_a_missing_epoch_or_metric_is_different_in_spite_of_a_twin() -> None:
    then = {1: {"loss": 1.0}, 2: {"loss": 0.5}}
    assert compare(then, {1: {"loss": 1.0}}, then).first_epoch == 2
    near = {1: {"loss": 1.0}, 2: {"loss": 0.5 + 2**-25}}
    assert compare(then, near, near).verdict is Verdict.WITHIN_TOLERANCE, "a twin may come out like the trial by chance"
    found = compare(then, {1: {"loss": 1.0, "own": 0.0}, 2: {"loss": 0.5}}, then)
    assert (found.verdict, found.first_epoch, found.distance) == (Verdict.DIFFERENT, 1, math.inf)


@given(st.floats(0.02, 0.5), st.floats(0.02, 0.9))
def test_what_moves_a_twin_far_is_no_excuse(spread: float, off: float) -> None:
    then, again, twin = ({1: {"accuracy": value}} for value in (1 - off, 1.0, 1 - spread))
    is_near = compare(then, again, twin).verdict is Verdict.WITHIN_TOLERANCE
    if not any(math.isclose(off, each, rel_tol=1e-3) for each in (spread, CAP)):
        assert is_near == (off < max(CAP, spread))


def test_a_metric_is_no_excuse_for_another() -> None:
    then, again, twin = (
        {1: {"validation/accuracy": accuracy, "validation/recall_7": recall}}
        for accuracy, recall in [(0.98, 0.0), (0.10, 0.0), (0.10, 0.001)]
    )
    assert compare(then, again, twin).verdict is Verdict.DIFFERENT
    wrong, little = {1: {"recall": 0.9}}, {1: {"recall": 0.001}}
    assert compare(wrong, {1: {"recall": 0.0}}, little).verdict is Verdict.DIFFERENT, "near zero all is relatively far"


def test_the_loss_stands_in_for_what_counts_samples() -> None:
    then, again, twin = (
        {1: {"validation/loss": loss, "validation/accuracy": accuracy}}
        for loss, accuracy in [(0.5001, 0.95), (0.5, 0.951), (0.5002, 0.951)]
    )
    assert compare(then, again, twin).verdict is Verdict.WITHIN_TOLERANCE
    assert compare({1: then[1] | {"validation/accuracy": 0.9}}, again, twin).verdict is Verdict.DIFFERENT


@given(CURVES, st.sampled_from(["none", "absent", "empty"]))
def test_what_a_twin_does_not_tell_excuses_nothing(curve: dict[int, dict[str, float | None]], how: str) -> None:
    twin: dict[int, dict[str, float | None]] = {
        epoch: dict.fromkeys(metrics) if how == "none" else {} for epoch, metrics in curve.items()
    }
    other = {epoch: {name: 0.0 if value else 1.0 for name, value in each.items()} for epoch, each in curve.items()}
    found = compare(curve, other, {} if how == "empty" else twin)
    assert (found.verdict, found.spread) == (Verdict.DIFFERENT, 0.0)


def test_without_an_epoch_there_is_nothing_to_compare() -> None:
    found = compare({}, {1: {"loss": 1.0}})
    assert (found.verdict, found.epochs) == (Verdict.NOTHING, 0)
    assert with_endings(found, "failed", "failed").verdict is Verdict.NOTHING
    assert with_endings(found, "failed", "complete").verdict is Verdict.DIFFERENT


def test_who_diverges_only_once_is_different() -> None:
    same = compare({1: {"loss": 1.0}}, {1: {"loss": 1.0}})
    assert with_endings(same, "until", "diverged").verdict is Verdict.DIFFERENT
    stopped = with_endings(same, "stopped", "complete")
    assert (stopped.verdict, stopped.endings) == (Verdict.IDENTICAL, ("stopped", "complete")), "a policy decides that"


def test_names_of_times() -> None:
    assert all(map(is_time, ["train/samples_per_s", "train/communication_share", "epoch_s", "seconds"]))
    assert not any(map(is_time, ["train/loss", "validation/loss_spread", "axis"]))


def test_what_has_changed_is_told_in_words() -> None:
    then = {
        "source": "a" * 64,
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "Safe_Tensors": "1", "mlflow": "3"},
        "git": {"commit": "b" * 40},
        "hardware": {"cores": 2, "gpus": []},
    }
    now = {
        "source": "c" * 64,
        "python": "3.11.7",
        "packages": {"torch": "2.12.0", "safe-tensors": "1", "more": "1"},
        "git": {},
        "hardware": {"cores": 4, "gpus": []},
    }
    assert differences(then, now) == {
        "code": [f"Podium's own code: {'a' * 12} -> {'c' * 12}"],
        "packages": ["mlflow 3 -> absent", "torch 2.13.0 -> 2.12.0"],
        "hardware": ["cores: 2 -> 4"],
    }
    assert differences({}, now) == {"code": [], "packages": [], "hardware": []}, "an older ledger tells less"
    many = {"packages": {f"p{number:02}": "1" for number in range(20)}}
    assert differences(many, {})["packages"][-1] == "and 12 more"
    assert changed({"threads": 1, "device": "cpu"}, {"threads": 2}) == ["threads: 1 -> 2"]
