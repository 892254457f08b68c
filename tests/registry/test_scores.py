"""Losses, metrics, slices and baselines of models, against values by hand and the metrics that trials have."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from podium.data.manifest import Schema
from podium.errors import UserError
from podium.registry.answers import About, Head, about, joined
from podium.registry.metrics import confusions, metrics
from podium.registry.scores import baseline, counted, losses, slices
from podium.spec.sweep import SweepSpec
from podium.training.metrics import Mean, Metric, Skill
from podium.training.task import Batch
from podium.training.tasks import MultiOutput, Regression
from podium.training.tasks.segmentation import METRICS
from podium.training.toolbox.labels import F1, MeanAveragePrecision
from podium.training.toolbox.losses import square_error
from podium.training.toolbox.similarity import psnr, ssim

RNG = np.random.default_rng(0)
HEADS = {
    "sort": {"kind": "classification", "targets": [0], "classes": 3},
    "marks": {"kind": "multi_label", "targets": "1:3"},
    "size": {"kind": "regression", "targets": "3:5"},
}


def spec_of(task: str, metric: str = "loss", **settings: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "sweep": "s",
            "task": task,
            "data": {"source": "digits"},
            "search": {"objective": {"metric": f"validation/{metric}", "direction": "minimize"}},
            "budget": {"trials": 1, "epochs": {"max": 1}},
            **settings,
        }
    )


def meaning(task: str, schema: dict[str, Any], link: str, metric: str = "loss", **settings: Any) -> About:
    shape = {"inputs": (1, 6, 7), "input_dtype": "uint8", "targets": (), "target_dtype": "int64", "classes": 0}
    made = Schema(**{**shape, **schema}, mean=(0.0,), std=(1.0,), normalize=False)
    return about(spec_of(task, metric, **settings), made, link)


def of_trials(metric: Metric, outputs: Any, targets: Any, **given: Any) -> float:
    """What a trial's metric says, taken in by two batches."""
    outputs, targets = torch.as_tensor(outputs), torch.as_tensor(targets)
    for rows in (slice(0, 2), slice(2, None)):
        metric.update(outputs[rows], Batch(outputs[rows], targets[rows], {}, **given))
    return metric.compute()


def test_a_class_is_right_or_wrong() -> None:
    subject = meaning("classification", {"classes": 3}, "softmax", "accuracy")
    targets = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]], np.float32)
    for answers in (probabilities, np.array([0, 1, 0, 2]), joined([probabilities[:1], probabilities[1:]], subject)):
        name, found = losses(answers, targets, subject)
        assert (name, found.tolist()) == ("error", [0, 0, 1, 0])
        assert metrics(answers, targets, subject) == {"accuracy": 0.75}
        assert confusions(answers, targets, subject)[""].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_a_probability_of_its_own_is_that_of_the_second_class() -> None:
    subject = meaning("task.py:Own", {"classes": 2}, "sigmoid", "accuracy")
    assert losses(np.array([[0.5], [0.4]]), np.array([1, 1]), subject)[1].tolist() == [0, 1]
    assert losses(np.array([[1], [0]]), np.array([1, 1]), subject)[1].tolist() == [0, 1]


def test_items_of_a_class_that_is_ignored_do_not_count() -> None:
    subject = meaning("classification", {"classes": 3}, "softmax", loss={"ignore": 1, "class_weights": [1.0, 1.0, 0.0]})
    targets, answers = np.array([0, 1, 2, 0]), np.array([0, 0, 0, 1])
    assert losses(answers, targets, subject)[1].tolist() == [0, 0, 0, 1]
    assert counted(targets, subject).tolist() == [True, False, False, True]
    assert metrics(answers, targets, subject) == {"accuracy": 0.5}


@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_of_maps_are_those_of_the_trials(classes: int, ignore: int | None) -> None:
    if ignore == classes:
        return
    loss = {} if ignore is None else {"loss": {"ignore": ignore}}
    subject = meaning("segmentation", {"classes": classes, "targets": (6, 7)}, "softmax", "mean_iou", **loss)
    outputs = RNG.normal(size=(5, classes, 6, 7))
    targets = RNG.integers(0, classes, (5, 6, 7), np.uint8)
    weights = None
    if ignore is not None:
        outputs[:, ignore] = -9  # trials never answer with it
        weights = torch.tensor([float(number != ignore) for number in range(classes)])
    found = metrics(outputs, targets, subject)
    assert found == pytest.approx(
        {name: of_trials(kind(classes), outputs, targets, class_weights=weights) for name, kind in METRICS.items()}
    )
    assert metrics(joined([outputs[:2], outputs[2:]], subject), targets, subject) == found


def test_losses_of_maps_are_of_each_image() -> None:
    targets = np.array([[[0, 1], [1, 1]], [[0, 0], [0, 0]]], np.uint8)
    answers = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])

    def found(metric: str) -> tuple[str, list[float]]:
        subject = meaning("segmentation", {"classes": 2, "targets": (2, 2)}, "softmax", metric)
        name, each = losses(answers, targets, subject)
        return name, each.tolist()

    assert found("accuracy") == ("share of wrong pixels", [0.25, 0])
    assert found("dice") == ("1 - Dice", [pytest.approx(1 - 4 / 5), 0])
    assert found("mean_iou") == ("1 - mean IoU", [pytest.approx(1 - (1 / 2 + 2 / 3) / 2), 0])


def test_labels() -> None:
    schema = {"targets": (3,), "target_dtype": "float32"}
    subject = meaning("multi_label", schema, "sigmoid", "f1")
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    scores = RNG.permutation(15).reshape(5, 3) - 6.5
    answers = 1 / (1 + np.exp(-scores))
    right = Mean(lambda outputs, batch: ((outputs > 0) == (batch.targets > 0.5)).all(dim=1))
    assert metrics(answers, targets, subject) == pytest.approx(
        {
            "mean_average_precision": of_trials(MeanAveragePrecision(3), scores, targets),
            "f1": of_trials(F1(), scores, targets),
            "subset_accuracy": of_trials(right, scores, targets),
        }
    )
    wrong = (scores > 0) != (targets > 0.5)
    name, found = losses((scores > 0).astype(np.int64), targets, subject)
    assert (name, found.tolist()) == ("share of wrong labels", pytest.approx(wrong.mean(axis=1).tolist()))
    name, found = losses(answers, targets, meaning("multi_label", schema, "sigmoid", "subset_accuracy"))
    assert (name, found.tolist()) == ("any label wrong", wrong.any(axis=1).tolist())


@pytest.mark.parametrize(("task", "names"), [("regression", 2), ("forecasting", 3), ("reconstruction", 1)])
def test_numbers(task: str, names: int) -> None:
    schema = {"classes": 3} if task == "reconstruction" else {"targets": (4,), "target_dtype": "float32"}
    subject = meaning(task, schema, "identity")
    assert subject.repeats_inputs == (task == "reconstruction")
    targets, outputs = RNG.normal(size=(2, 6, 4)).astype(np.float32)
    trials = {**Regression().metrics(), "skill": Skill()}
    trials["mse"] = Mean(lambda outputs, batch: square_error(outputs, batch.targets))
    found = metrics(outputs, targets, subject)
    assert len(found) == names
    assert found == pytest.approx({name: of_trials(trials[name], outputs, targets) for name in found}, rel=1e-5)
    name, each = losses(outputs, targets, subject)
    assert (name, each) == ("squared error", pytest.approx(((outputs - targets) ** 2).mean(axis=1)))
    subject = meaning(task, schema, "identity", "mean_absolute_error")
    name, each = losses(outputs, targets, subject)
    assert (name, each) == ("absolute error", pytest.approx(np.abs(outputs - targets).mean(axis=1)))


@pytest.mark.parametrize("sides", [(6, 9), (13, 20)])
def test_images_are_as_alike_as_trials_say(sides: tuple[int, int]) -> None:
    subject = meaning("image_to_image", {"targets": (2, *sides), "target_dtype": "float32"}, "identity", "psnr")
    targets = RNG.uniform(0, 255, size=(5, 2, *sides)).astype(np.float32)
    outputs = targets + RNG.normal(0, 20, size=targets.shape).astype(np.float32)
    found = metrics(outputs, targets, subject)
    assert found.pop("mean_absolute_error") == pytest.approx(np.abs(outputs - targets).mean(), rel=1e-5)
    for name, function in (("psnr", psnr), ("ssim", ssim)):
        expected = function(torch.from_numpy(outputs), torch.from_numpy(targets), 255.0).mean()
        assert found.pop(name) == pytest.approx(float(expected), rel=1e-4)
    assert not found


def test_several_heads() -> None:
    schema = {"targets": (5,), "target_dtype": "float32"}
    subject = meaning("multi_output", schema, "identity", heads=HEADS)
    targets = np.array([[0, 1, 0, 2.0, 3.0], [2, 0, 0, 1.0, 1.0], [1, 1, 1, 0.0, 0.0]], np.float32)
    scores = RNG.normal(size=(3, 7)).astype(np.float32)
    answers = {"sort": scores[:, :3], "marks": 1 / (1 + np.exp(-scores[:, 3:5])), "size": scores[:, 5:]}
    name, found = losses(answers, targets, subject)
    assert name == "mean of error of sort, share of wrong labels of marks, squared error of size"
    each = [
        answers["sort"].argmax(axis=1) != targets[:, 0],
        ((answers["marks"] >= 0.5) != targets[:, 1:3]).mean(axis=1),
        ((answers["size"] - targets[:, 3:]) ** 2).mean(axis=1),
    ]
    assert found == pytest.approx(np.mean(each, axis=0))
    named = meaning("multi_output", schema, "identity", "size/mean_absolute_error", heads=HEADS)
    name, found = losses(answers, targets, named)
    assert (name, found) == ("absolute error of size", pytest.approx(np.abs(answers["size"] - targets[:, 3:]).mean(1)))

    task = MultiOutput.made_for(spec_of("multi_output", heads=HEADS))
    trials = {name: metric for name, metric in task.metrics().items() if not name.endswith("/loss")}
    assert metrics(answers, targets, subject) == pytest.approx(
        {name: of_trials(metric, scores, targets) for name, metric in trials.items()}, rel=1e-5
    )
    assert [each.by for each in slices(targets, None, subject)] == ["class of sort"] * 3
    words, trivial = baseline([targets[:2], targets[2:]], targets, subject)
    assert words == (
        "always answers the most frequent class of sort, the labels that most samples have of marks, the mean of size"
    )
    assert losses(trivial, targets, subject)[1].shape == (3,)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (np.zeros(3, np.int64), "was made for other data"),
        (np.zeros(2), "was made for other data"),
        (np.zeros((2, 2, 2)), "was made for other data"),
        ({"a": np.zeros(2)}, "other heads than one: a"),
        (np.full((2, 2), np.nan), "no numbers: it has diverged"),
    ],
)
def test_answers_to_something_else_are_refused(answers: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        losses(answers, np.array([0, 1]), About("classification", (Head("", "classes", 2),)))


NUMBERS = st.lists(st.integers(0, 4), min_size=1, max_size=40)


@given(NUMBERS | st.just([]))
def test_slices_hold_every_item_once_by_class_and_once_by_group(values: list[int]) -> None:
    targets, groups = np.array(values, np.int64), np.array([f"g{value % 3}" for value in values], np.str_)
    found = list(slices(targets, groups, About("classification", (Head("", "classes", 5),)), "abcde"))
    for by, labels in (("class", np.array(list("abcde"))[targets]), ("group", groups)):
        own = [each for each in found if each.by == by]
        assert sorted(row for each in own for row in each.rows) == list(range(len(values)))
        assert all(set(labels[each.rows]) == {each.name} for each in own)


@given(NUMBERS, NUMBERS, st.sampled_from(["classes", "labels", "numbers"]), st.integers(1, 40))
def test_no_constant_answer_is_better_on_what_the_baseline_was_made_of(
    train: list[int], test: list[int], kind: Any, size: int
) -> None:
    subject = About("own", (Head("", kind, 5 if kind == "classes" else 0),))
    dtype = np.int64 if kind == "classes" else np.float64
    targets = np.minimum(np.array(train, dtype), 1 if kind == "labels" else 4)
    _, answers = baseline(np.split(targets, range(size, len(train), size)), targets, subject)
    own = losses(answers, targets, subject)[1].mean()
    for value in range(5):
        constant = np.full(len(train), value, np.int64 if kind == "classes" else np.float64)
        assert own <= losses(constant, targets, subject)[1].mean() + 1e-12
    unseen = np.minimum(np.array(test, dtype), 1 if kind == "labels" else 4)
    assert np.unique(np.asarray(baseline([targets], unseen, subject)[1])).tolist() == np.unique(answers).tolist()


def test_a_baseline_answers_with_no_class_that_is_ignored() -> None:
    subject = About("segmentation", (Head("", "classes", 3, ignored=(0,)),))
    words, answers = baseline([np.array([[[0, 0], [0, 2]]], np.uint8)], np.zeros((2, 2, 2), np.uint8), subject)
    assert (words, np.asarray(answers).tolist()) == ("always answers the most frequent class", [[[2, 2], [2, 2]]] * 2)


def test_equal_images_have_no_noise() -> None:
    images = np.zeros((2, 1, 4, 4))
    assert math.isinf(metrics(images, images, About("image_to_image", (Head("", "numbers", 0),)))["psnr"])
