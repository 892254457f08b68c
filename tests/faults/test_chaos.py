"""Nothing is lost, whoever is killed and when; chaos.py plays more rounds by hand."""

import random
import signal
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chaos import FINISHED, Kill, Round, Stage, assert_same_trials, plan, play
from forked import Process
from services import Services
from verdict import assert_nothing_lost

from podium.sweep.machine import Machine
from podium.sweep.trial import NOTHING, Trial
from podium.wiring import summaries
from podium.wiring.place import Place

CLOUDS = """
sweep: {name}
task: classification
data:
  source: {{kind: arrays, path: clouds.npz}}
  batch_size: 32
network: {{kind: mlp, width: 64}}
search:
  objective: {{metric: validation/accuracy, direction: maximize}}
  sampler: tpe
  space:
    network.depth: {{int: [1, 3]}}
    network.dropout: {{float: [0.0, 0.5]}}
    optimizer.kind: {{choice: [sgd, adam]}}
    optimizer.learning_rate: {{log: [1e-3, 1e-1]}}
budget: {{trials: 10, epochs: {{min: 1, max: 9, factor: 3}}, policy: asha}}
checkpoints: {{every_s: 0.05}}
fuse: 4
tracking: {{plots: false, model: false}}
"""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="session")
def undisturbed(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Round:
    """A round in which nobody is killed."""
    return play(services, tmp_path_factory.mktemp("undisturbed"), "undisturbed")


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost(services: Services, undisturbed: Round, tmp_path: Path, seed: int) -> None:
    played = play(services, tmp_path, f"chaos-{seed}", plan(seed), seed)
    assert_same_trials(played.machine, undisturbed.machine)


def test_a_resume_shows_what_a_killed_driver_and_tracker_did_not(services: Services, tmp_path: Path) -> None:
    both = [Kill(victim, signal.SIGKILL, "end", 0, 0.0) for victim in ("tracker", "driver")]
    played = play(services, tmp_path, "both", both)
    assert played.struck == both


def one_gang(services: Services, folder: Path, name: str) -> Stage:
    """A sweep of the built-in classification in one process, yet to be driven."""
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, 3000)
    points = np.eye(3, 4)[labels] + source.normal(0, 0.8, (3000, 4))
    np.savez(folder / "clouds.npz", x=points.astype(np.float32), y=labels)
    (folder / "sweep.yaml").write_text(CLOUDS.format(name=name))
    place = Place.of(folder / "home", tracking_uri=services.tracking_uri, cluster="inline")
    return Stage(folder, name, place, services.environment, Process)


def story(stage: Stage) -> tuple[Machine, dict[int, dict[str, Any]]]:
    """A sweep that has ended, and its curves but for those of speed."""
    machine = assert_nothing_lost(stage.place, stage.name)
    with closing(stage.place.book()) as book:
        curves = summaries.curves(book, stage.name)
    return machine, {number: untimed(metrics) for number, metrics in curves.items()}


def untimed(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics without those of speed."""
    return {name: value for name, value in metrics.items() if not name.endswith("_per_s")}


def timeless(trial: Trial) -> Trial:
    """A trial without what a clock measured, and without names in which holders and broken advances are counted."""
    untimed_values = {"spent": NOTHING, "lost": NOTHING, "device_s": 0.0, "metrics": untimed(trial.metrics)}
    return replace(trial, **untimed_values, usage=(), folder="", cohort="")


@pytest.fixture(scope="session")
def untouched(
    services: Services, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Machine, dict[int, dict[str, Any]]]:
    """The sweep in one process if nobody kills it."""
    with closing(one_gang(services, tmp_path_factory.mktemp("untouched"), "untouched")) as stage:
        stage.drive()
        stage.wait([FINISHED])
        return story(stage)


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_driver_changes_no_trial_and_no_curve(
    services: Services, untouched: tuple[Machine, dict[int, dict[str, Any]]], tmp_path: Path, seed: int
) -> None:
    source = random.Random(seed)
    with closing(one_gang(services, tmp_path, f"killed-{seed}")) as stage:
        for _ in range(2):
            stage.drive()
            after = stage.sequence() + source.randrange(3, 60)
            stage.wait_until(lambda after=after: stage.sequence() >= after)  # type: ignore[misc]
            time.sleep(source.uniform(0, 0.3))
            stage.driver.kill()
            stage.wait([FINISHED, -signal.SIGKILL])
        stage.drive()
        stage.wait([FINISHED])
        machine, curves = story(stage)
    whole, expected = untouched
    for number, trial in machine.trials.items():
        assert timeless(trial) == timeless(whole.trials[number])
    assert (machine.state, machine.reason) == (whole.state, whole.reason)
    assert curves == expected
