"""What the champion's code does before and after its network, against direct computations."""

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # MLflow warns of hints in its own code
    from podium.registry import predict
from podium.data.manifest import Schema
from podium.data.steps import Steps
from podium.registry.models import Model, export
from podium.registry.predict import Champion, falling, places, resized, stitched, without_small
from podium.registry.thresholds import best_thresholds
from podium.spec.data import Resize
from podium.training.answers import Answering
from podium.training.tasks import Reconstruction
from podium.training.toolbox.networks import make_network

RANDOM = np.random.default_rng(0)
DESCRIPTION = {
    "input_dtype": "uint8",
    "series": False,
    "takes_lengths": False,
    "free": [],
    "resize": None,
    "normalize": False,
    "mean": [0.0],
    "std": [1.0],
    "link": "identity",
    "heads": [],
    "windows": None,
    "answer": "probabilities",
    "threshold": [0.5],
    "smallest": 0,
}


class Fixed(nn.Module):
    """Outputs that are the inputs times a matrix."""

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor(matrix, dtype=torch.float32))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.matrix


class Maps(nn.Module):
    """As many copies of an image as there are factors, each times its own."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors).reshape(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.factors


class Total(nn.Module):
    """The sum over the first `lengths` steps of series."""

    takes_lengths = True

    def forward(self, series: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        counts = torch.arange(series.shape[1]) < lengths.unsqueeze(1)
        return (series * counts.unsqueeze(2)).sum(dim=1)


@pytest.fixture
def champion(tmp_path: Path) -> Callable[..., Champion]:
    def make(module: nn.Module, inputs: tuple[int, ...], **about: Any) -> Champion:
        schema: Any = SimpleNamespace(inputs=inputs, series=about.get("series", False))
        network = tmp_path / "network.pt2"
        export(Model(module, schema, "", takes_lengths=about.get("takes_lengths", False)), None, network)
        told = {**DESCRIPTION, "inputs": inputs, "sha256": hashlib.sha256(network.read_bytes()).hexdigest(), **about}
        (tmp_path / "description.json").write_text(json.dumps(told))
        made = Champion()
        made.load_context(
            SimpleNamespace(artifacts={"network": str(network), "description": str(tmp_path / "description.json")})
        )
        return made

    return make


def ask(model: Champion, samples: Any) -> Any:
    return model.predict(None, samples)


def softmax(outputs: Any) -> Any:
    raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def test_classes_of_vectors(champion: Callable[..., Champion]) -> None:
    matrix, samples = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(6, 3)).astype(np.float32)
    expected = softmax(((samples - 2) / 3) @ matrix)
    settings = {"link": "softmax", "normalize": True, "mean": [2.0] * 3, "std": [3.0] * 3}
    np.testing.assert_allclose(ask(champion(Fixed(matrix), (3,), **settings), samples), expected, atol=1e-6)
    classes = ask(champion(Fixed(matrix), (3,), **settings, answer="class"), samples)
    assert classes.dtype == np.int64
    assert classes.tolist() == expected.argmax(axis=1).tolist()


def test_the_second_of_two_classes_has_to_reach_the_threshold(champion: Callable[..., Champion]) -> None:
    model = champion(Fixed([[0.0, 1.0]]), (1,), link="softmax", answer="class", threshold=[0.3])
    odds = np.array([[0.2], [0.29], [0.31], [0.6]])
    assert ask(model, np.log(odds / (1 - odds)).astype(np.float32)).tolist() == [0, 0, 1, 1]


def test_each_label_has_its_own_threshold(champion: Callable[..., Champion]) -> None:
    model = champion(Fixed(np.eye(2)), (2,), link="sigmoid", answer="class", threshold=[0.3, 0.7])
    odds = np.array([[0.2, 0.8], [0.4, 0.6]])
    assert ask(model, np.log(odds / (1 - odds)).astype(np.float32)).tolist() == [[0, 1], [1, 0]]


def test_many_samples_go_through_in_parts(champion: Callable[..., Champion], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "NUMBERS", 12)
    samples = RANDOM.normal(size=(11, 3)).astype(np.float32)
    np.testing.assert_allclose(ask(champion(Fixed(2 * np.eye(3)), (3,)), samples), 2 * samples, rtol=1e-6)


@pytest.mark.parametrize("blending", ["linear", "hann"])
@pytest.mark.parametrize(
    ("shape", "window", "overlap"), [((17, 23), 8, 3), ((8, 8), 8, 0), ((30, 9), 8, 7), ((3, 5), 8, 2)]
)
def test_a_stitched_identity_gives_the_image_back(
    shape: tuple[int, int], window: int, overlap: int, blending: str
) -> None:
    images = RANDOM.normal(size=(2, 3, *shape)).astype(np.float32)
    seen = []

    def run(windows: Any) -> Any:
        seen.append(windows.shape)
        return windows

    np.testing.assert_allclose(stitched(run, images, (window, window), overlap, blending), images, atol=1e-6)
    assert {each[1:] for each in seen} == {(3, window, window)}


@pytest.mark.parametrize("blending", ["linear", "hann"])
def test_answers_of_windows_are_averaged_with_weights_that_sum_to_one(blending: str) -> None:
    """Each window answers with its number: what an image gets is the weighted mean of the windows over a pixel."""
    images = np.zeros((1, 1, 4, 10), np.float32)
    calls = []

    def run(windows: Any) -> Any:
        calls.append(len(windows))
        return np.arange(len(windows), dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 1, 4, 4))

    found = stitched(run, images, (4, 4), 2, blending)
    assert calls == [len(places(10, 4, 2))] == [4]
    weights = falling(4, blending)
    assert weights.min() > 0
    assert weights.argmax() in (1, 2)
    for row in range(4):
        for column in range(10):
            over = [
                (number, weights[column - left]) for number, left in enumerate([0, 2, 4, 6]) if 0 <= column - left < 4
            ]
            total = sum(weight for _, weight in over)
            expected = sum(number * weight / total for number, weight in over)
            assert found[0, 0, row, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("side", "window", "overlap"), [(10, 4, 0), (10, 4, 3), (4, 4, 2), (13, 5, 1), (5, 4, 0)])
def test_windows_cover_a_side_and_stay_within_it(side: int, window: int, overlap: int) -> None:
    begin = places(side, window, overlap)
    assert begin == sorted(set(begin))
    assert {pixel for place in begin for pixel in range(place, place + window)} == set(range(side))
    assert all(later - earlier <= window - overlap for earlier, later in itertools.pairwise(begin))


def test_a_network_of_maps_answers_for_a_larger_image(champion: Callable[..., Champion]) -> None:
    windows = {"size": [6, 6], "overlap": 2, "blending": "hann"}
    options: dict[str, Any] = {"link": "softmax", "windows": windows, "free": [1, 2]}
    image = RANDOM.integers(0, 5, (2, 1, 15, 11)).astype(np.uint8)
    model = champion(Maps(-1.0, 0.0, 1.0), (1, 6, 6), **options)
    np.testing.assert_allclose(
        ask(model, image), softmax(np.concatenate([-1.0 * image, 0.0 * image, image], 1)), atol=1e-6
    )
    classes = ask(champion(Maps(-1.0, 0.5, 1.0), (1, 6, 6), **options, answer="class"), image)
    assert classes.shape == (2, 15, 11)
    np.testing.assert_array_equal(classes == 2, image[:, 0] > 0)


def test_small_areas_become_background(champion: Callable[..., Champion]) -> None:
    drawn = ["220011", "220010", "000000", "010022", "000022", "000022"]
    classes = np.array([[int(letter) for letter in row] for row in drawn])
    kept = without_small(classes, 4)
    np.testing.assert_array_equal(kept, np.where((classes == 2), classes, 0))
    np.testing.assert_array_equal(without_small(classes, 3)[:2, 4:], [[1, 1], [1, 0]])
    np.testing.assert_array_equal(without_small(classes, 1), classes)
    assert ndimage.label(classes == 1)[1] == 2, "areas are connected along their sides"
    windows = {"size": [6, 6], "overlap": 0, "blending": "hann"}
    options: dict[str, Any] = {"link": "softmax", "windows": windows, "free": [1, 2], "answer": "class", "smallest": 4}
    model = champion(Maps(-1.0, 1.0), (1, 6, 6), **options, threshold=[0.6])
    found = ask(model, classes[None, None].astype(np.uint8))
    np.testing.assert_array_equal(found[0], without_small((classes > 0).astype(int), 4))


@pytest.mark.parametrize("size", [(9, 7), (40, 30), (20, 50)])
def test_images_are_resized_as_the_data_were(champion: Callable[..., Champion], size: tuple[int, int]) -> None:
    """Pillow rounds in between, so that grey levels may differ by one."""
    image = RANDOM.integers(0, 256, (1, 2, 20, 30)).astype(np.uint8)
    step = Resize(kind="resize", height=size[0], width=size[1])
    from podium.data.records import Records

    ((prepared, _),) = Steps([step], {}).records(Records(list(image), np.zeros(1, np.int64)))
    found = resized(image, size)[0]
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - np.asarray(prepared).astype(int)).max() <= 1
    model = champion(Maps(1.0), (2, *size), resize=size, free=[1, 2])
    np.testing.assert_array_equal(ask(model, image)[0], found.astype(np.float32))


def test_series_answer_for_their_own_lengths(champion: Callable[..., Champion]) -> None:
    """Zeros that fill a batch up are none before they are normalized, and count for nothing."""
    options = {
        "series": True,
        "takes_lengths": True,
        "free": [0],
        "normalize": True,
        "mean": [1.0, 2.0],
        "std": [2.0, 4.0],
    }
    model = champion(Total(), (9, 2), **options)
    series = RANDOM.normal(size=(3, 7, 2)).astype(np.float32)
    lengths = np.array([7, 2, 4])
    expected = [((one[:length] - [1, 2]) / [2, 4]).sum(axis=0) for one, length in zip(series, lengths, strict=True)]
    np.testing.assert_allclose(ask(model, {"inputs": series, "lengths": lengths}), expected, atol=1e-5)
    whole = [((one - [1, 2]) / [2, 4]).sum(axis=0) for one in series]
    np.testing.assert_allclose(ask(model, series), whole, atol=1e-5)
    with pytest.raises(ValueError, match="takes series of up to 9 steps, and was given 10"):
        ask(model, np.zeros((1, 10, 2)))
    with pytest.raises(ValueError, match=r"lengths must be 3 numbers from 1 to 7, and are \[7, 0, 4\]"):
        ask(model, {"inputs": series, "lengths": [7, 0, 4]})


def test_a_recurrent_network_answers_as_it_does_in_training(champion: Callable[..., Champion]) -> None:
    torch.manual_seed(0)
    network = make_network({"network.kind": "lstm", "network.depth": 2, "network.width": 5}, (9, 2), 3).eval()
    model = champion(network, (9, 2), series=True, takes_lengths=True, free=[0], mean=[0.0, 0.0], std=[1.0, 1.0])
    series, lengths = RANDOM.normal(size=(3, 7, 2)).astype(np.float32), np.array([7, 2, 4])
    with torch.no_grad():
        expected = [
            network(torch.from_numpy(one[None, :n]), torch.tensor([n]))[0].numpy()
            for one, n in zip(series, lengths, strict=True)
        ]
    np.testing.assert_allclose(ask(model, {"inputs": series, "lengths": lengths}), expected, atol=1e-5)


@pytest.mark.parametrize("answer", ["probabilities", "class"])
def test_several_heads_answer_each_for_itself(champion: Callable[..., Champion], answer: str) -> None:
    heads = [["digit", "softmax", 0, 3], ["labels", "sigmoid", 3, 5], ["size", "identity", 5, 6]]
    model = champion(Fixed(np.eye(6)), (6,), heads=heads, answer=answer)
    outputs = RANDOM.normal(size=(4, 6)).astype(np.float32)
    found = ask(model, outputs)
    expected = {"digit": softmax(outputs[:, :3]), "labels": 1 / (1 + np.exp(-outputs[:, 3:5])), "size": outputs[:, 5:]}
    if answer == "class":
        expected |= {"digit": outputs[:, :3].argmax(axis=1), "labels": (outputs[:, 3:5] >= 0).astype(np.int64)}
    assert set(found) == set(expected)
    for name, own in expected.items():
        np.testing.assert_allclose(found[name], own, atol=1e-6)


def test_a_coder_answers_with_the_inputs_again(champion: Callable[..., Champion]) -> None:
    """And keeps what it gives beside them to itself."""
    task, parameters = Reconstruction(), {"network.kind": "sparse_autoencoder"}
    schema = Schema((1, 8, 8), "uint8", (), "float32", 0, (0.0,), (1.0,), True)
    network = task.network(parameters, schema).eval()
    samples = RANDOM.normal(size=(3, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(samples)).decoded.numpy()
    np.testing.assert_allclose(ask(champion(Answering(network, task), (1, 8, 8)), samples), expected, atol=1e-5)


def test_larger_maps_are_stitched_likewise() -> None:
    images = RANDOM.normal(size=(1, 2, 9, 7)).astype(np.float32)
    found = stitched(lambda windows: windows.repeat(3, axis=2).repeat(3, axis=3), images, (4, 4), 1, "hann")
    np.testing.assert_allclose(found, images.repeat(3, axis=2).repeat(3, axis=3), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros((2, 4)), r"samples \[batch, 3\], at least one, and was given \(2, 4\)"),
        (np.zeros(3), r"was given \(3,\)"),
        (np.zeros((0, 3)), r"at least one, and was given \(0, 3\)"),
        (np.full((1, 3), np.nan), "no finite numbers"),
        (np.array([[1, np.inf, 0]]), "no finite numbers"),
        (np.array([["a", "b", "c"]]), "takes numbers, and was given <U1"),
    ],
)
def test_what_is_no_sample_is_refused(champion: Callable[..., Champion], samples: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ask(champion(Fixed(np.eye(3)), (3,)), samples)


def test_an_image_of_another_size_is_refused_where_nothing_brings_it_to_size(
    champion: Callable[..., Champion],
) -> None:
    with pytest.raises(ValueError, match=r"\[batch, 1, 6, 6\], at least one, and was given \(1, 1, 7, 6\)"):
        ask(champion(Maps(1.0), (1, 6, 6)), np.zeros((1, 1, 7, 6)))
    with pytest.raises(ValueError, match=r"\[batch, 1, any, any\], at least one, and was given \(1, 2, 7, 6\)"):
        ask(champion(Maps(1.0), (1, 6, 6), free=[1, 2], resize=[6, 6]), np.zeros((1, 2, 7, 6)))


def f1(scores: Any, truths: Any, threshold: float) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truths, scores >= threshold, zero_division=0))


def test_the_chosen_threshold_has_the_highest_f1() -> None:
    truths = RANDOM.integers(0, 2, (500, 2))
    scores = np.clip(0.35 + 0.2 * truths + RANDOM.normal(0, 0.15, truths.shape), 0, 1).round(3)
    parts = [(scores[rows], truths[rows]) for rows in (slice(200), slice(200, None))]
    chosen = best_thresholds(parts)
    for label, threshold in enumerate(chosen):
        values = {step / 100: f1(scores[:, label], truths[:, label], step / 100) for step in range(1, 100)}
        assert values[threshold] == pytest.approx(max(values.values()))
    assert chosen != (0.5, 0.5)


def test_of_equal_thresholds_the_middle_one_is_chosen() -> None:
    scores, truths = np.array([[0.1], [0.2], [0.8], [0.9]]), np.array([[0], [0], [1], [1]])
    assert best_thresholds([(scores, truths)]) == (0.5,)
    assert best_thresholds([(scores, np.zeros((4, 1)))]) == (0.5,)
    assert best_thresholds([(np.array([[0.29], [0.28]]), np.array([[1], [0]]))]) == (0.29,)
