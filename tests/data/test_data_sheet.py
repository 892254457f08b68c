from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from podium.data.manifest import load_manifest
from podium.data.reader import Reader
from podium.data.sheet import draw, write
from podium.errors import DataError, UserError

SOURCE = np.random.default_rng(0)
CLASSES = np.arange(90) % 3
MASKS = """
import numpy as np


def cut_off(image, target):
    return image[:3], image[3].astype(np.int64)
"""


def cells(figure) -> list:
    """What is drawn of the samples, one after the other."""
    return [axes for part in figure.subfigs for axes in part.axes if axes.has_data()]


def test_classes_stand_above_images_as_they_are_stored(make_shards: Callable[..., Path]) -> None:
    reader = Reader(make_shards(SOURCE.integers(0, 256, (90, 3, 6, 7), dtype=np.uint8), CLASSES))
    drawn = cells(draw(reader))
    (inputs, targets), *_ = reader.stored("train")
    assert drawn[0].get_title() == str(targets[0])
    assert np.allclose(drawn[0].images[0].get_array(), inputs[0].transpose(1, 2, 0) / 255)
    assert len(drawn) == 24 + min(16, reader.size("validation"))


def test_the_samples_are_spread_over_the_split(make_shards: Callable[..., Path]) -> None:
    reader = Reader(make_shards(SOURCE.normal(size=(900, 4)), np.arange(900.0)))
    drawn = [float(axes.get_title()) for axes in cells(draw(reader))[:24]]
    (_, targets), *_ = reader.stored("train")
    assert (drawn[0], drawn[-1]) == (targets[0], targets[-1])
    assert len(set(np.searchsorted(targets, drawn) * 24 // len(targets))) >= 23


def test_masks_lie_over_their_images_and_a_legend_names_the_classes(
    make_shards: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "masks.py").write_text(MASKS)
    images = SOURCE.integers(0, 200, (60, 4, 8, 9), dtype=np.uint8)
    images[:, 3] = np.array([0, 1, 4], dtype=np.uint8)[images[:, 3] % 3]
    folder = make_shards(images, np.arange(60.0), steps=[{"kind": "apply", "function": "masks.py:cut_off"}])
    figure = draw(Reader(folder))
    assert all(len(axes.images) == 2 for axes in cells(figure))
    (_, masks), *_ = Reader(folder).stored("train")
    overlay = cells(figure)[0].images[1].get_array()
    colours = [np.unique(overlay[masks[0] == each], axis=0) for each in (0, 1, 4)]
    assert [len(each) for each in colours] == [1, 1, 1]
    assert len(np.unique(np.concatenate(colours), axis=0)) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "4"]


@pytest.mark.parametrize(
    ("shape", "bars", "lines"), [((5,), 5, 1), ((40,), 0, 1)], ids=["short vectors", "long vectors"]
)
def test_vectors_are_plots(make_shards: Callable[..., Path], shape: tuple[int, ...], bars: int, lines: int) -> None:
    first = cells(draw(Reader(make_shards(SOURCE.normal(size=(90, *shape)), SOURCE.normal(size=(90, 5))))))[0]
    assert (len(first.patches), len(first.lines)) == (bars, lines)
    assert first.get_title().count(", ") == 3
    assert first.get_title().endswith("…")


def test_pictures_to_predict_are_drawn_below_their_inputs(make_shards: Callable[..., Path]) -> None:
    x, y = SOURCE.normal(size=(90, 1, 4, 4)), SOURCE.normal(size=(90, 1, 8, 8))
    reader = Reader(make_shards(x, y))
    titles = [axes.get_title() for axes in cells(draw(reader))]
    assert titles.count("its target") == len(titles) // 2 == 24 + min(16, reader.size("validation"))


def test_the_middle_of_a_volume_is_drawn(make_shards: Callable[..., Path]) -> None:
    volumes = SOURCE.integers(0, 256, (90, 1, 3, 5, 5), dtype=np.uint8)
    reader = Reader(make_shards(volumes, CLASSES))
    (inputs, _), *_ = reader.stored("train")
    assert np.allclose(cells(draw(reader))[0].images[0].get_array(), inputs[0, 0, 1] / 255)


def test_the_test_split_is_not_read(make_shards: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_shards(SOURCE.normal(size=(90, 4)), CLASSES)
    shards = {shard.split: folder / shard.name for shard in load_manifest(folder).shards}
    shards["test"].write_bytes(bytes(shards["test"].stat().st_size))
    write(folder, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    shards["train"].write_bytes(bytes(shards["train"].stat().st_size))
    with pytest.raises(DataError, match="cannot be read"):
        write(folder, tmp_path / "sheet.png")


@pytest.mark.parametrize(
    ("file", "message"), [("sheet.jpg", r"does not end with \.png"), ("absent/sheet.png", "cannot be written")]
)
def test_a_sheet_goes_into_a_png_that_can_be_written(
    make_shards: Callable[..., Path], tmp_path: Path, file: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write(make_shards(SOURCE.normal(size=(90, 4)), CLASSES), tmp_path / file)
