"""Law 4 over ranks: a trial's curve does not depend on how many processes train it, nor on where that changed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from training_bench import DOUBLE, make_spec

from podium.errors import TaskError
from podium.sweep.messages import Lane
from podium.training.preflight import measure
from podium.training.seats import listen

pytestmark = pytest.mark.timeout(600)  # all stories are told in the first test, by up to four processes on few cores

CODE = (
    DOUBLE
    + """
from podium.training.metrics import Mean

class Own(nn.BatchNorm1d):
    pass

class Torchs(Double):
    def network(self, parameters, schema):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), Own(4), nn.Linear(4, 3))

class Stubborn(Mean):  # it has no rule for a stack
    def update(self, outputs, batch):
        self.state["total"] += float(outputs.argmax(1).eq(batch.targets).sum())
        self.state["count"] += len(outputs)

class Counts(Double):
    def metrics(self):
        return {"accuracy": Stubborn(None)}
"""
)
LOST = """
import torch.distributed as dist
from podium.training.tasks import Classification

class Leaves(Classification):
    def losses(self, outputs, batch):
        if dist.is_initialized() and dist.get_rank() == 1:
            os._exit(3)
        return super().losses(outputs, batch)
"""
COUNTS = (1, 2, 3, 4)

EPOCHS = 2

STORIES: dict[str, dict[str, Any]] = {
    "an mlp with batch norm and dropout": {
        "network": {"width": 6, "norm": "batch", "dropout": 0.3},
        "penalty": {"l1": 1e-3, "l2": 1e-3},
    },
    "a convnet with batch norm, clipped": {
        "network": {"kind": "convnet", "channels": 2, "depth": 2, "width": 6, "kernel": 3, "norm": "batch"},
        "optimizer": {"kind": "sgd", "learning_rate": 0.05, "clip": 0.5},
    },
    "a stack of two with dropout, clipped": {
        "network": {"width": 6, "depth": 2, "dropout": 0.3},
        "optimizer": {"kind": "sgd", "learning_rate": 0.05, "clip": 0.5},
        "fuse": 2,
    },
    "weighted losses": {"task": "task.py:Weighted", "network": {"width": 6, "norm": "layer"}},
    "a stack whose metrics are gathered one by one, saved at every step": {
        "task": "task.py:Counts",
        "network": {"width": 6},
        "fuse": 2,
        "checkpoints": {"every_s": 1e-9},
    },
    "sharded, with batch norm and dropout, clipped": {
        "network": {"width": 6, "depth": 2, "norm": "batch", "dropout": 0.3},
        "optimizer": {"kind": "adam", "learning_rate": 0.02, "clip": 0.5},
        "penalty": {"l1": 1e-3, "l2": 1e-3},
        "resources": {"strategy": "sharded"},
    },
    "sharded, in microbatches": {
        "task": "task.py:Weighted",
        "network": {"kind": "convnet", "channels": 2, "depth": 2, "width": 6, "kernel": 3, "norm": "layer"},
        "compute": {"microbatch": 2},
        "resources": {"strategy": "sharded"},
    },
    "augmented": {
        "network": {"width": 6},
        "augmentation": {"flip": "both", "rotation": 20.0, "shift": 2, "erasing": 0.2, "noise": 0.1, "mixup": 0.4},
    },
    "microbatches": {"network": {"width": 6, "dropout": 0.3}, "compute": {"microbatch": 2}},
}
"""What each changes in the sweep. Batches of 8 leave one sample for the last of 14 steps, so that ranks go empty."""


def story(folder: Path, name: str, changes: dict[str, Any], until: int, lanes: Sequence[Lane], **more: Any) -> Any:
    data = {**make_spec().model_dump()["data"], "batch_size": 8}
    settings = {"task": "task.py:Double", "initializer": {"scheme": "he_normal"}, "data": data}
    store = folder / name.replace(" ", "-")
    store.mkdir(parents=True, exist_ok=True)
    return {
        "spec": make_spec(**settings | {"resources": {}} | changes).written(),
        "store": str(store),
        "until": until,
        "halt_after": None,
        "lanes": [lane.model_dump(mode="json") for lane in lanes],
        **more,
    }


def train(folder: Path, data: Path, count: int, stories: Sequence[Any], code: str = CODE) -> list[Any]:
    """What each of `count` processes says of the stories, that they train together, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "task.py").write_text(code)
    with listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        plan = {"count": count, "port": port, "code": str(folder / "code"), "data": str(data), "stories": stories}
        (folder / "plan").write_text(json.dumps(plan))
        command = [sys.executable, str(Path(__file__).with_name("ranks_member.py")), str(folder / "plan")]
        command.append(str(listener.fileno()))
        kept = (listener.fileno(),)
        done = subprocess.run(command, pass_fds=kept, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"plan.{rank}").read_text()) for rank in range(count)]


def losses(told: Any, trial: int = 0) -> list[float]:
    """Of every epoch, train and validation."""
    names = ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy")
    return [metrics[name] for number, _, metrics in told["curve"] if number == trial for name in names]


@pytest.fixture(scope="module")
def told(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Any]]:
    """By number of ranks, what each said of the stories."""
    folder = tmp_path_factory.mktemp("ranks")
    lanes = [Lane(trial=0, parameters={}, seed=7), Lane(trial=1, parameters={"optimizer.learning_rate": 0.02}, seed=8)]
    return {
        count: train(
            folder / str(count),
            blobs,
            count,
            [story(folder / str(count), name, changes, EPOCHS, lanes) for name, changes in STORIES.items()],
        )
        for count in COUNTS
    }


@pytest.mark.parametrize("number", range(len(STORIES)), ids=list(STORIES))
@pytest.mark.parametrize("count", COUNTS[1:])
def test_a_curve_is_the_same_whatever_the_number_of_ranks(told: dict[int, list[Any]], count: int, number: int) -> None:
    alone, together = told[1][0][number], told[count][0][number]
    for trial in (0, 1):
        assert len(losses(alone, trial)) == 4 * EPOCHS
        assert losses(together, trial) == pytest.approx(losses(alone, trial), abs=1e-9)
    assert [report["best_epoch"] for report in together["reports"]] == [
        report["best_epoch"] for report in alone["reports"]
    ]


def test_of_what_is_sharded_each_rank_holds_its_part(blobs: Path, tmp_path: Path) -> None:
    stories = [
        story(
            tmp_path,
            strategy,
            {"network": {"width": 64}, "resources": {"strategy": strategy}},
            1,
            [Lane(trial=0, parameters={}, seed=7)],
        )
        for strategy in ("replicated", "sharded")
    ]
    for replicated, sharded in train(tmp_path / "two", blobs, 2, stories):
        assert sharded["held"][0] == pytest.approx(replicated["held"][0] / 2, rel=0.02)
        assert sharded["reports"][0]["metrics"]["parameters"] == replicated["reports"][0]["metrics"]["parameters"]


def test_the_first_rank_alone_saves_and_tells(told: dict[int, list[Any]]) -> None:
    first, *others = (rank[0] for rank in told[3])
    assert len(first["saved"]) == 2
    assert len(first["curve"]) == 2 * EPOCHS
    for other in others:
        assert (other["saved"], other["curve"]) == ([], [])
        assert [each["values"] for each in other["reports"]] == [each["values"] for each in first["reports"]]


def test_lanes_and_ranks_compose_but_for_norms_that_need_the_whole_batch(told: dict[int, list[Any]]) -> None:
    for number, changes in enumerate(STORIES.values()):
        for rank in told[3]:
            widths = {report["width"] for report in rank[number]["reports"]}
            if "fuse" in changes or changes["network"].get("norm") == "batch":
                assert widths == ({2} if "fuse" in changes else {1})
            assert {report["ranks"] for report in rank[number]["reports"]} == {3}


def test_a_trial_goes_on_in_the_middle_of_an_epoch_on_another_number_of_ranks(blobs: Path, tmp_path: Path) -> None:
    names = ("an mlp with batch norm and dropout", "sharded, with batch norm and dropout, clipped")
    lanes = dict.fromkeys(names, Lane(trial=0, parameters={}, seed=7))

    def go_on(count: int, folder: str, halt_after: int | None) -> list[Any]:
        """What the first rank says of each story."""
        stories = [
            story(tmp_path, f"{folder} {name}", STORIES[name], 3, [lane], halt_after=halt_after)
            for name, lane in lanes.items()
        ]
        return train(tmp_path / folder / str(count), blobs, count, stories)[0]

    undisturbed = go_on(1, "one", None)
    curves: dict[str, dict[int, Any]] = {name: {} for name in names}
    for count, halt_after in ((2, 20), (3, 9), (1, 4), (2, None)):
        for name, told in zip(names, go_on(count, "moving", halt_after), strict=True):
            curves[name] |= {epoch: metrics for _, epoch, metrics in told["curve"]}
            (report,) = told["reports"]
            assert report["ending"] == ("until" if halt_after is None else "halted")
            saved = told["saved"][-1]
            assert halt_after is None or saved["step"] > 0
            place = {"epoch": saved["epoch"], "step": saved["step"], "folder": saved["folder"]}
            lanes[name] = lanes[name].model_copy(update=place)
    for curve, whole in zip(curves.values(), undisturbed, strict=True):
        moved = {"curve": [[0, epoch, curve[epoch]] for epoch in sorted(curve)]}
        assert losses(moved) == pytest.approx(losses(whole), abs=1e-9)


def test_a_rank_that_dies_leaves_nobody_waiting(blobs: Path, tmp_path: Path) -> None:
    changes = {"task": "task.py:Leaves"}
    lane = Lane(trial=0, parameters={}, seed=7)
    with pytest.raises(AssertionError, match=r"Connection closed by peer|Connection reset by peer"):
        train(tmp_path, blobs, 2, [story(tmp_path, "lost", changes, 3, [lane])], code=LOST)


def test_norms_that_know_only_a_rank_s_own_samples_are_refused(blobs: Path, tmp_path: Path) -> None:
    changes = {"task": "task.py:Torchs"}
    lane = Lane(trial=0, parameters={}, seed=7)
    with pytest.raises(AssertionError, match="is torch's Own, which sees a rank's own samples alone"):
        train(tmp_path, blobs, 2, [story(tmp_path, "torchs", changes, 3, [lane])])


def test_the_preflight_refuses_such_norms_before_anything_starts(blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(CODE)
    for ranks, refused in ((1, nullcontext()), (2, pytest.raises(TaskError, match="is torch's Own"))):
        spec = make_spec(task="task.py:Torchs", resources={"ranks": ranks})
        with refused:
            measure(spec, code=tmp_path, data=blobs, parameters={})
