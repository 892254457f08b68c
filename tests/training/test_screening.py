"""The screen: hopeless trials are refused before their first epoch, all others are trained as ever."""

from collections.abc import Callable
from pathlib import Path

from training_bench import Bench, make_spec

from podium.sweep.messages import Advance, Lane

HOPELESS = {"network.depth": 40, "initializer.scheme": "small_normal"}


def test_the_hopeless_are_refused_and_the_others_trained_as_ever(
    bench: Callable[..., Bench], blobs: Path, tmp_path: Path
) -> None:
    lanes = (
        Lane(trial=0, parameters=HOPELESS, seed=0),
        Lane(trial=1, parameters={"network.depth": 40, "initializer.scheme": "he_normal"}, seed=1),
    )
    screened = bench(make_spec(screen=True, fuse=1), data=blobs)
    refused, report = screened.trainer.advance(Advance(key="key", gang="gang", until=1, lanes=lanes))
    assert (refused.ending, refused.epoch, refused.values) == ("infeasible", 0, (None,))
    assert refused.reason.startswith("screened: ")
    assert (report.ending, report.epoch) == ("until", 1)
    trained = bench(make_spec(fuse=1), data=blobs, store=tmp_path / "other")
    unscreened, same = trained.trainer.advance(Advance(key="key", gang="gang", until=1, lanes=lanes))
    assert (unscreened.ending, same.values) == ("until", report.values)
    assert "nothing learned" in unscreened.verdict or "vanish" in unscreened.verdict
    assert trained.curve(1) == screened.curve(1), "to the last bit"


def test_a_trial_that_has_begun_is_not_screened_again(bench: Callable[..., Bench], blobs: Path) -> None:
    lane = Lane(trial=0, parameters=HOPELESS, seed=0)
    begun = bench(make_spec(), data=blobs)
    begun.advance(1, lane)
    screened = bench(make_spec(screen=True, fuse=1), data=blobs)
    assert screened.advance(2, begun.lane(lane)).ending == "until"
