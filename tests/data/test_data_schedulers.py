"""The same shards, whoever carries out Dask's graphs."""

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data import build, scheduler
from podium.data.manifest import load_manifest
from podium.data.prepare import prepare
from podium.data.sources import arrays
from podium.errors import TaskError, UserError
from podium.spec.data import DataSettings

Scheduler = Callable[[], AbstractContextManager[Any]]

FLIP = """
def flip(picture, label):
    return 255 - picture, label
"""


@pytest.fixture
def same_shards(
    save: Callable[..., DataSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Scheduler], None]:
    """Checks a scheduler against this process's threads, with a function of the user's among the steps."""
    monkeypatch.setattr(build, "SHARD_BYTES", 50 * 83)
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 30 * 75)
    (tmp_path / "steps.py").write_text(FLIP)
    x = np.random.default_rng(0).integers(0, 256, (200, 3, 5, 5), dtype=np.uint8)
    settings = save(x, np.arange(200) % 4, steps=[{"kind": "apply", "function": "steps.py:flip"}])

    def check(other: Scheduler) -> None:
        make = functools.partial(prepare, settings, base=tmp_path, cache=tmp_path)
        here, there = make(store=str(tmp_path / "here")), make(store=str(tmp_path / "there"), scheduler=other)
        assert len(load_manifest(here).shards) > 6
        assert [file.read_bytes() for file in sorted(here.iterdir())] == [
            file.read_bytes() for file in sorted(there.iterdir())
        ]
        (tmp_path / "steps.py").write_text(FLIP.replace("255", "1 / 0"))
        with pytest.raises(TaskError, match=r"^steps\.py:flip failed on a record: ZeroDivisionError"):
            make(store=str(tmp_path / "broken"), scheduler=other)

    return check


@pytest.mark.ray
@pytest.mark.parametrize("everywhere", [True, False])
def test_on_ray(everywhere: bool, same_shards: Callable[[Scheduler], None], running_ray: str) -> None:
    from podium.execution.tasks import make_get

    @contextmanager
    def ray() -> Iterator[Any]:
        yield make_get(everywhere=everywhere)

    same_shards(ray)


@pytest.mark.slow
def test_by_a_scheduler_of_dask_s(same_shards: Callable[[Scheduler], None]) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        same_shards(lambda: scheduler.joined(cluster.scheduler_address))


def test_a_scheduler_that_is_not_there_is_named(
    same_shards: Callable[[Scheduler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "ANSWER_S", 1)
    with pytest.raises(UserError, match=r"no Dask scheduler at data.dask, 'tcp://127.0.0.1:9'.*data.dask: threads"):
        same_shards(lambda: scheduler.joined("tcp://127.0.0.1:9"))
