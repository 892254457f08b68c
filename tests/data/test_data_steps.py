import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.data.manifest import load_manifest
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.records import Records
from podium.data.splits import assign, content_digests
from podium.data.steps import Steps
from podium.errors import DataError, TaskError
from podium.spec.data import DataSettings

SPLITS = ("train", "validation", "test")


def steps(*settings: Any) -> Steps:
    return Steps(DataSettings(source="digits", steps=settings).steps, {})


def resized(image: Any, height: int, width: int, target: Any = 0) -> tuple[Any, Any]:
    records = Records([np.asarray(image)], [target])
    made = steps({"kind": "resize", "height": height, "width": width}).records(records)
    return made.inputs[0], made.targets[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_averages_where_images_shrink_and_interpolates_where_they_grow(dtype: Any) -> None:
    shrunk, _ = resized(np.array([[[0, 100], [100, 200]], [[8, 8], [8, 16]]], dtype), 1, 1)
    assert (shrunk.tolist(), shrunk.dtype) == ([[[100]], [[10]]], dtype)
    grown, _ = resized(np.array([[[0, 100]]], dtype), 1, 4)
    assert grown.tolist() == [[[0, 25, 75, 100]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_resize_makes_no_classes_that_a_mask_has_not(dtype: Any) -> None:
    mask = np.array([[0, 7], [1, 1]]).astype(dtype)
    _, grown = resized(np.zeros((1, 2, 2), np.uint8), 4, 6, mask)
    assert (grown.tolist(), grown.dtype) == (mask.repeat(2, axis=0).repeat(3, axis=1).tolist(), dtype)


def test_resize_takes_numbers_for_each_pixel_along() -> None:
    target = np.array([[[0.0, 0.5]], [[1.0, 2.0]]], np.float32)
    _, grown = resized(np.zeros((3, 1, 2), np.uint8), 1, 4, target)
    assert grown.tolist() == [[[0, 0.125, 0.375, 0.5]], [[1.0, 1.25, 1.75, 2.0]]]


@given(data=st.data())
def test_pieces_cover_every_pixel_and_overlap_as_much_as_is_asked(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    rows, columns = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    overlap = data.draw(st.integers(0, min(rows, columns) - 1))
    crop = steps({"kind": "crop", "height": rows, "width": columns, "overlap": overlap})
    image = np.arange(height * width).reshape(1, height, width)
    pieces = crop.pieces((image, image[0] * 2))
    assert len(pieces) == crop.num_pieces(image.shape)
    assert set(np.concatenate([piece.ravel() for piece, _ in pieces]).tolist()) == set(range(height * width))
    for piece, mask in pieces:
        assert piece.shape == (1, rows, columns)
        assert (mask == 2 * piece[0]).all()
    corners = [divmod(int(piece[0, 0, 0]), width) for piece, _ in pieces]
    for place, side in ((0, rows), (1, columns)):
        firsts = sorted({corner[place] for corner in corners})
        assert all(second - first <= side - overlap for first, second in itertools.pairwise(firsts))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reader]:
    """Prepares arrays, as they are, and gives the reader of all splits."""

    def make(x: Any, y: Any, *settings: Any, **others: Any) -> Reader:
        np.savez(tmp_path / "samples.npz", x=x, y=y)
        source = {"kind": "arrays", "path": "samples.npz"}
        settings = DataSettings(source=source, steps=settings, normalize=False, **others)
        return Reader(prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path), purpose="promotion")

    return make


def images(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (count, 2, 6, 7), dtype=np.uint8), np.arange(count) % 3


def test_pieces_stand_in_the_split_of_their_record(read: Callable[..., Reader]) -> None:
    x, y = images()
    x[:, 0] = np.arange(len(x))[:, None, None]
    reader = read(x, y, {"kind": "crop", "height": 4, "width": 4})
    numbers = assign(content_digests(x), (0.7, 0.15, 0.15))
    for number, split in enumerate(SPLITS):
        batches = list(reader.sequential(split, 9))
        assert all((batch.targets == batch.inputs[:, 0, 0, 0] % 3).all() for batch in batches)
        records = [int(sample[0, 0, 0]) for batch in batches for sample in batch.inputs]
        assert records == np.flatnonzero(numbers == number).repeat(4).tolist()


@pytest.mark.parametrize(
    ("x", "y", "step", "message"),
    [
        (np.ones((20, 4)), np.arange(20) % 2, "resize", r"`resize` takes images of shape .* has the shape \(4,\)"),
        (np.ones((20, 4)), np.arange(20) % 2, "crop", r"`crop` takes images of shape .* has the shape \(4,\)"),
        (np.ones((20, 1, 2, 5)), np.arange(20) % 2, "crop", r"3 x 3 pixels, and a record has a side of 2; resize"),
        (np.ones((20, 1, 5, 5)), np.zeros((20, 5, 6), int), "crop", r"image of \(1, 5, 5\) and a target of \(5, 6\)"),
        (np.ones((20, 1, 5, 5)), np.zeros((20, 5, 6), int), "resize", r"image of \(1, 5, 5\) and a target of \(5, 6\)"),
    ],
)
def test_steps_that_do_not_fit_the_records_are_refused(
    x: np.ndarray, y: np.ndarray, step: str, message: str, read: Callable[..., Reader]
) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read(x, y, {"kind": step, "height": 3, "width": 3})
    assert "\n" not in str(refusal.value)


def test_filter_keeps_some_values_of_a_column(read: Callable[..., Reader]) -> None:
    x, y = images()
    reader = read(x, y, {"kind": "filter", "column": "targets", "keep": [0, 1]})
    assert (reader.manifest.records, reader.schema.classes) == (int((y < 2).sum()), 2)
    records = Records(x, y, {"place": ["here", "there"] * 20, "list": [[1]] * 40})
    kept = steps({"kind": "filter", "column": "place", "keep": ["there"]}).records(records)
    assert (np.asarray(kept.inputs) == x[1::2]).all()
    assert kept.columns["place"] == ["there"] * 20
    with pytest.raises(DataError, match="column 'day'; the records have list, place, targets"):
        steps({"kind": "filter", "column": "day", "keep": [1]}).records(records)
    with pytest.raises(DataError, match="`filter` keeps texts and numbers, and 'list' holds something else"):
        steps({"kind": "filter", "column": "list", "keep": [1]}).records(records)
    with pytest.raises(DataError, match="no records, or the steps have left none"):
        read(x, y, {"kind": "filter", "column": "targets", "keep": [9]})


FUNCTIONS = """
def odd(image, target):
    return (image[:1] // 2, target // 2 % 2) if target % 2 else None

def fail(image, target):
    raise ValueError("no such pixel:\\nnone")

def half(image, target):
    return image
"""


def test_apply_changes_records_and_leaves_some_out(read: Callable[..., Reader], tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(FUNCTIONS)
    x, y = images()[0], np.arange(40)
    reader = read(x, y, {"kind": "apply", "function": "steps.py:odd"})
    assert reader.schema.inputs == (1, 6, 7)
    batches = [batch for split in SPLITS for batch in reader.sequential(split, 9)]
    inputs, targets = (
        np.concatenate([getattr(batch, what) for batch in batches]).tolist() for what in ("inputs", "targets")
    )
    assert sorted(zip(inputs, targets, strict=True)) == sorted(
        ((x[odd, :1] // 2).tolist(), odd // 2 % 2) for odd in range(1, 40, 2)
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [("fail", "ValueError: no such pixel: none;"), ("half", "it returned one ndarray; .* returns both, or None")],
)
def test_a_function_that_fails_is_one_error(
    function: str, message: str, read: Callable[..., Reader], tmp_path: Path
) -> None:
    (tmp_path / "steps.py").write_text(FUNCTIONS)
    with pytest.raises(TaskError, match=f"^steps.py:{function} failed on a record: .*{message}") as refusal:
        read(*images(), {"kind": "apply", "function": f"steps.py:{function}"})
    assert "\n" not in str(refusal.value)
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)


def test_classes_become_vectors() -> None:
    made_of = steps({"kind": "one_hot", "classes": 3})
    made = made_of.records(Records(np.zeros((3, 2)), np.array([2, 0, 1])))
    assert np.stack(made.targets).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    for target in (3, -1, 0.5):
        with pytest.raises(DataError, match=r"classes from 0 to 2, and a target is"):
            made_of.records(Records(np.zeros((1, 2)), np.array([target])))


def test_drawings_become_sequences() -> None:
    made_of = steps({"kind": "strokes", "scale": 2.0})
    drawing = np.array([[4, -2, 0], [6, 0, 1]], np.int16)
    (made,) = made_of.records(Records([drawing], np.array([0]))).inputs
    assert made.tolist() == [[2, -1, 1, 0, 0], [3, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    with pytest.raises(DataError, match=r"takes drawings \[points, 3\].*\(2, 2\)"):
        made_of.records(Records([drawing[:, :2]], np.array([0])))


def test_real_drawings_are_series(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "sketch" / "quickdraw_345x.npz"
    (tmp_path / "source.py").write_text(
        "import numpy as np\n\ndef drawings():\n"
        f"    found = np.load({str(file)!r}, allow_pickle=False)\n"
        "    strokes, ends = found['test_strokes'], found['test_offsets']\n"
        "    for number in range(len(ends) - 1):\n"
        "        yield strokes[ends[number] : ends[number + 1]], number % 2\n"
    )
    scaled = [{"kind": "strokes", "scale": 40.0}]
    settings = DataSettings.model_validate({"source": "source.py:drawings", "steps": scaled, "series": True})
    folder = prepare(settings, base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")
    schema = load_manifest(folder).schema
    assert (schema.inputs[1], schema.series) == (5, True)
    assert 0.9 < schema.mean[2] + schema.mean[3] + schema.mean[4] < 1.1
