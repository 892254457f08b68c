import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_bench import Bench, make_spec

from podium.data.reader import Reader
from podium.errors import SpecError, TaskError
from podium.sweep.messages import Lane
from podium.training.code import load
from podium.training.preflight import measure
from podium.training.trainer import load_best, load_task

MakeBench = Callable[..., Bench]

LANE = Lane(trial=3, parameters={"size": 5}, seed=7)

TASK = """
    import torch
    from torch import nn
    from parts import last
    from podium.training.metrics import Mean
    from podium.training.task import Task

    class MyTask(Task):
        def network(self, parameters, schema):
            size = parameters["size"]
            return nn.Sequential(nn.Flatten(), nn.Linear(36, size), nn.Tanh(), nn.Dropout(0.4), last(size, schema))

        def losses(self, outputs, batch):
            losses = nn.functional.cross_entropy(outputs, batch.targets, reduction="none")
            return losses, 1.0 + batch.targets

        def metrics(self):
            return {"error": Mean(lambda outputs, batch: outputs.argmax(1) != batch.targets)}

        def log(self, log, outputs, batch):
            import matplotlib.figure

            log.log_metrics({"first": float(len(batch.inputs))})
            log.log_figure("plots/empty", matplotlib.figure.Figure())
"""

PARTS = """
    from torch import nn

    def last(size, schema):
        return nn.Linear(size, schema.classes)
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


def task_spec(**settings: Any) -> Any:
    objective = {"metric": "validation/error", "direction": "minimize"}
    return make_spec(**{"task": "task.py:MyTask", "search": {"objective": objective}, **settings})


def test_a_user_s_task_is_trained_resumed_and_loaded(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    code = write(tmp_path / "code", task=TASK, parts=PARTS)
    spec = task_spec(optimizer={"learning_rate": 0.02})
    whole = bench(spec, data=blobs, code=code, store=tmp_path / "whole")
    report = whole.advance(4, LANE)
    assert report.values[0] is not None
    assert report.values[0] < 0.3
    assert report.metrics["first"] == 31.0
    assert (tmp_path / "whole/artifacts/toy/00003/plots/empty.png").stat().st_size > 0

    first = bench(spec, data=blobs, code=code)
    first.advance(4, LANE, halt_after=9)
    second = bench(spec, data=blobs, code=code, holder=2)
    second.advance(4, first.lane(LANE))
    assert first.curve(3) | second.curve(3) == whole.curve(3)

    store, folder = str(tmp_path / "store"), second.lane(LANE).folder
    schema = Reader(blobs).schema
    network = load_best(spec, code=code, schema=schema, store=store, folder=folder, parameters=LANE.parameters)
    (batch,) = Reader(blobs).sequential("validation", 1000)
    wrong = network(torch.from_numpy(batch.inputs)).argmax(1) != torch.from_numpy(batch.targets)
    assert float(wrong.double().mean()) == pytest.approx(report.values[0])


def test_losses_are_weighted_over_all_samples(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    code = write(tmp_path / "code", task=TASK, parts=PARTS)
    spec = task_spec(optimizer={"kind": "sgd", "learning_rate": 1e-30})
    trained = bench(spec, data=blobs, code=code)
    report = trained.advance(1, LANE)
    network = load_best(
        spec,
        code=code,
        schema=Reader(blobs).schema,
        store=str(tmp_path / "store"),
        folder=trained.lane(LANE).folder,
        parameters=LANE.parameters,
    )
    (batch,) = Reader(blobs).sequential("validation", 1000)
    targets = torch.from_numpy(batch.targets)
    with torch.no_grad():
        outputs = network(torch.from_numpy(batch.inputs))
    losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
    expected = (losses * (1 + targets)).sum() / (1 + targets).sum()
    assert report.metrics["validation/loss"] == pytest.approx(float(expected), rel=1e-5)


def test_the_initializer_acts_on_a_user_s_network_only_if_asked(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    code = write(tmp_path / "code", task=TASK, parts=PARTS)
    curves = []
    for settings in ({}, {"initializer": {"scheme": "he_normal"}}):
        trained = bench(task_spec(**settings), data=blobs, code=code, store=tmp_path / str(len(curves)))
        trained.advance(1, LANE)
        curves.append(trained.curve(3))
    assert curves[0] != curves[1]


BATCH_LOSS = """
    from podium.training.task import Task

    class MyTask(Task):
        batch_loss = True

        def losses(self, outputs, batch):
            return outputs.std()
"""


def test_a_loss_of_the_whole_batch_says_so(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    objective = {"metric": "validation/loss", "direction": "minimize"}
    code = write(tmp_path / "code", task=BATCH_LOSS)
    curve = bench(task_spec(search={"objective": objective}), data=blobs, code=code)
    curve.advance(3, LANE)
    losses = [metrics["train/loss"] or 0.0 for metrics in curve.curve(3).values()]
    assert losses[2] < losses[0]

    code = write(tmp_path / "code", task=BATCH_LOSS.replace("True", "False"))
    with pytest.raises(TaskError, match=r"one loss a sample, shape \(16,\): it returned shape \(\).*batch_loss = True"):
        bench(task_spec(search={"objective": objective}), data=blobs, code=code).advance(1, LANE)


def test_an_objective_has_to_be_a_metric_of_the_task(tmp_path: Path) -> None:
    spec = make_spec(search={"objective": {"metric": "validation/acuracy", "direction": "maximize"}})
    with pytest.raises(SpecError, match="did you mean 'validation/accuracy'"):
        load_task(spec, None)
    code = write(tmp_path / "code", task=TASK, parts=PARTS)
    with pytest.raises(SpecError, match=r"'validation/accuracy' is no metric of the task task.py:MyTask"):
        load_task(make_spec(task="task.py:MyTask"), code)


@pytest.mark.parametrize(
    ("task", "message"),
    [("clasification", "did you mean 'classification'"), ("task.py:MyTask", "no code folder was given")],
)
def test_a_task_has_to_exist(task: str, message: str) -> None:
    with pytest.raises((SpecError, TaskError), match=message):
        load_task(make_spec(task=task), None)


@pytest.mark.parametrize(
    ("reference", "text", "message"),
    [
        ("tusk.py:A", "A = 1", r"in no file 'tusk.py'.*there is task.py"),
        ("task.py:MyTusk", "class MyTask: pass", "nothing named 'MyTusk'; did you mean 'MyTask'"),
        ("task.py:A", "x = 1\nA = (", r"task.py:2: SyntaxError"),
        ("task.py:A", "x = 1\nimport no_such_module", r"task.py:2: ModuleNotFoundError: No module named"),
        ("task.py:A", "def f():\n    return 1 / 0\nf()", r"task.py:2: ZeroDivisionError"),
    ],
)
def test_code_that_cannot_be_loaded_names_file_and_line(
    tmp_path: Path, reference: str, text: str, message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        load(reference, write(tmp_path / "code", task=text))


def test_changed_code_and_its_neighbours_are_loaded_anew(tmp_path: Path) -> None:
    one = write(tmp_path / "one", task="import near\nA = near.B", near="B = 1")
    two = write(tmp_path / "two", task="import near\nA = near.B", near="B = 2")
    assert [load("task.py:A", folder) for folder in (one, two, one)] == [1, 2, 1]
    write(one, near="B = 30")
    assert load("task.py:A", one) == 30


def test_a_task_without_arguments_is_made_once_its_class_is_whole(blobs: Path, tmp_path: Path) -> None:
    code = write(tmp_path / "code", task="from podium.training.task import Task\nclass MyTask(Task): pass")
    with pytest.raises(TaskError, match=r"MyTask\(\) failed.*abstract.*losses"):
        load_task(task_spec(), code)


def test_measure_counts_and_times_a_network(blobs: Path) -> None:
    measured = measure(make_spec(), code=None, data=blobs, parameters={"network.width": 10})
    assert measured.parameters_count == 370 + 110 + 33
    assert measured.epoch_s == pytest.approx(measured.step_s * Reader(blobs).steps("train", 16))
    wider = measure(make_spec(), code=None, data=blobs, parameters={"network.width": 200})
    assert wider.memory_bytes > measured.memory_bytes > 4 * 5 * measured.parameters_count


def test_measure_names_what_failed(blobs: Path, line: Path, tmp_path: Path) -> None:
    spec = make_spec(task="regression", search={"objective": {"metric": "train/loss", "direction": "minimize"}})
    with pytest.raises(SpecError, match=r"these are \(5,\)"):
        measure(spec, code=None, data=line, parameters={"network.kind": "convnet"})
    with pytest.raises(SpecError, match="use regression"):
        measure(make_spec(), code=None, data=line, parameters={})
    code = write(tmp_path / "code", task=TASK, parts=PARTS)
    with pytest.raises(TaskError, match=r"task.py:MyTask failed on its first batch with size=-1: RuntimeError"):
        measure(task_spec(), code=code, data=blobs, parameters={"size": -1})
    with pytest.raises(SpecError, match="data: is missing"):
        measure(task_spec(), code=code, data=None, parameters={"size": 3})
    function = write(tmp_path / "function", train="def train(trial): pass")
    with pytest.raises(TaskError, match="only a task has a network"):
        measure(make_spec(task="train.py:train"), code=function, data=None, parameters={})
