import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.sources import make_source
from podium.data.sources.pictures import MOST_PIXELS, decode, decode_mask
from podium.errors import DataError
from podium.spec.sweep import DataSettings

HALVES = {"train": 0.5, "validation": 0.5, "test": 0}
SPLITS = ("train", "validation", "test")


def pixels(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def of_classes(folder: Path, count: int = 12) -> dict[str, list[np.ndarray]]:
    """Writes `count` images of each of two classes, with endings of both cases; gives them by class."""
    made = {name: [pixels(count * place + each) for each in range(count)] for place, name in enumerate(("cat", "dog"))}
    for name, images in made.items():
        for each, image in enumerate(images):
            save(folder / name / f"{each:02}.{'PNG' if each % 2 else 'bmp'}", image)
    return made


def with_masks(folder: Path, count: int = 12, height: int = 7, width: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    """Writes images and their masks, which tell where red is bright; gives both, images channels first."""
    made = []
    for each in range(count):
        image = pixels(each, height, width)
        mask = (image[..., 0] > 127).astype(np.uint8) * 2
        save(folder / "images" / "deep" / f"{each:02}.a.bmp", image)
        save(folder / "masks" / "deep" / f"{each:02}.a.png", mask)
        made.append((np.moveaxis(image, -1, 0), mask))
    return made


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reader]:
    """Prepares images, as they are, and gives the reader of all splits."""

    def make(
        path: str = "images", steps: Any = (), masks: str | None = None, grey: bool = False, **rest: Any
    ) -> Reader:
        source = {"kind": "images", "path": path, "masks": masks, "grey": grey}
        settings = DataSettings(source=source, steps=steps, normalize=False, **{"split": HALVES} | rest)
        folder = prepare(settings, base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")
        return Reader(folder, purpose="promotion")

    return make


def samples(reader: Reader, split: str) -> list[tuple[np.ndarray, Any]]:
    batches = list(reader.sequential(split, 7))
    return [pair for batch in batches for pair in zip(batch.inputs, batch.targets, strict=True)]


def in_any_split(reader: Reader) -> list[tuple[np.ndarray, Any]]:
    return [pair for split in SPLITS for pair in samples(reader, split)]


def content(pairs: Any) -> list[tuple[list[Any], Any]]:
    return sorted((np.asarray(image, float).tolist(), np.asarray(target).tolist()) for image, target in pairs)


def test_folders_are_classes(read: Callable[..., Reader], tmp_path: Path) -> None:
    made = of_classes(tmp_path / "images")
    save(tmp_path / "images" / ".ipynb_checkpoints" / "00.png", pixels(99))
    (tmp_path / "images" / "cat" / "notes.txt").write_text("no image")
    reader = read()
    assert (reader.schema.inputs, reader.schema.input_dtype) == ((3, 6, 5), "uint8")
    assert (reader.schema.classes, reader.schema.class_names) == (2, ("cat", "dog"))
    expected = [(np.moveaxis(image, -1, 0), place) for place, name in enumerate(made) for image in made[name]]
    assert content(in_any_split(reader)) == content(expected)


def test_an_address_gives_the_same(read: Callable[..., Reader], tmp_path: Path) -> None:
    of_classes(tmp_path / "images")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "images"), "/podium-images", recursive=True)
    try:
        there, here = read("memory://podium-images"), read()
    finally:
        memory.rm("/podium-images", recursive=True)
    assert there.schema == here.schema
    assert content(in_any_split(there)) == content(in_any_split(here))


def test_folders_at_the_top_are_the_split_that_the_source_gives(read: Callable[..., Reader], tmp_path: Path) -> None:
    places = [(split, name) for split in ("train", "val", "Test") for name in ("cat", "dog")]
    for each in range(12):
        split, name = places[each % 6]
        save(tmp_path / "images" / split / name / f"{each}.png", pixels(each))
    reader = read(split={"by": "given"})
    assert reader.manifest.rows == {"train": 4, "validation": 4, "test": 4}
    assert all(counts == (2, 2) for counts in reader.manifest.classes.values())
    save(tmp_path / "images" / "more" / "cat" / "0.png", pixels(0))
    with pytest.raises(DataError, match=r"images has 'more' beside the folders Test, train, val.*move it elsewhere"):
        read(split={"by": "given"})


def test_a_class_may_be_called_like_a_split(read: Callable[..., Reader], tmp_path: Path) -> None:
    of_classes(tmp_path / "images")
    (tmp_path / "images" / "dog").rename(tmp_path / "images" / "train")
    assert read().schema.class_names == ("cat", "train")


def test_masks_are_targets(read: Callable[..., Reader], tmp_path: Path) -> None:
    made = with_masks(tmp_path)
    reader = read(masks="masks")
    schema = reader.schema
    assert (schema.inputs, schema.targets, schema.target_dtype, schema.classes) == ((3, 7, 9), (7, 9), "uint8", 3)
    assert content(in_any_split(reader)) == content(made)
    counts = np.sum(list(reader.manifest.classes.values()), axis=0)
    assert counts.tolist() == np.bincount(np.ravel([mask for _, mask in made]), minlength=3).tolist()


def test_masks_are_cropped_and_resized_with_their_images(read: Callable[..., Reader], tmp_path: Path) -> None:
    made = with_masks(tmp_path)
    crop = {"kind": "crop", "height": 4, "width": 4, "overlap": 1}
    reader = read(masks="masks", steps=[crop])
    windows = [(slice(top, top + 4), slice(left, left + 4)) for top in (0, 3) for left in (0, 3, 5)]
    assert content(in_any_split(reader)) == content(
        (image[:, *window], mask[window]) for image, mask in made for window in windows
    )
    assert (reader.manifest.records, sum(reader.manifest.rows.values())) == (12, 72)

    resized = read(masks="masks", steps=[{"kind": "resize", "height": 14, "width": 18}, crop])
    assert (resized.schema.targets, resized.schema.classes) == ((4, 4), 3)
    doubled = read(masks="masks", steps=[{"kind": "resize", "height": 14, "width": 18}])
    assert sorted(target.tolist() for _, target in in_any_split(doubled)) == sorted(
        mask.repeat(2, axis=0).repeat(2, axis=1).tolist() for _, mask in made
    )


@pytest.mark.parametrize("alone", ["images", "masks"])
def test_an_image_and_its_mask_come_together(alone: str, read: Callable[..., Reader], tmp_path: Path) -> None:
    with_masks(tmp_path)
    save(tmp_path / alone / "more.png", np.zeros((7, 9), np.uint8))
    with pytest.raises(DataError, match=rf"no {'mask' if alone == 'images' else 'image'} for \S+/{alone}/more\.png;"):
        read(masks="masks")


def test_masks_that_are_not_there_are_refused(read: Callable[..., Reader], tmp_path: Path) -> None:
    with_masks(tmp_path)
    with pytest.raises(DataError, match=r"mask does not exist; data\.source\.masks \('mask'\) is relative"):
        read(masks="mask")


def test_grey_images_have_one_channel(read: Callable[..., Reader], tmp_path: Path) -> None:
    made = of_classes(tmp_path / "images")
    reader = read(grey=True)
    assert reader.schema.inputs == (1, 6, 5)
    expected = np.concatenate([images @ np.array([0.299, 0.587, 0.114]) for images in made.values()])
    found = np.stack([image[0] for image, _ in in_any_split(reader)])
    for each in found:
        assert np.abs(expected - each).max(axis=(1, 2)).min() <= 1


def test_a_corrupt_image_is_refused_or_skipped(read: Callable[..., Reader], tmp_path: Path) -> None:
    of_classes(tmp_path / "images")
    broken = tmp_path / "images" / "cat" / "03.PNG"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"^1 records cannot be read.*: {broken}: it cannot be decoded") as refusal:
        read()
    assert "\n" not in str(refusal.value)
    reader = read(unreadable=1)
    ((name, reason),) = reader.manifest.skipped
    assert (name, reason.startswith("it cannot be decoded")) == (str(broken), True)
    assert sum(reader.manifest.rows.values()) == 23


def test_a_mask_that_does_not_fit_is_a_record_that_cannot_be_read(read: Callable[..., Reader], tmp_path: Path) -> None:
    with_masks(tmp_path)
    masks = tmp_path / "masks" / "deep"
    save(masks / "04.a.png", np.zeros((9, 7), np.uint8))
    save(masks / "05.a.png", pixels(0, 7, 9))
    (masks / "06.a.png").write_bytes(b"no image")
    reasons = dict(read(masks="masks", unreadable=3).manifest.skipped)
    assert [Path(name).name for name in reasons] == ["04.a.bmp", "05.a.bmp", "06.a.bmp"]
    for reason, expected in zip(
        reasons.values(), ("9 x 7 pixels, and it has 7 x 9", "it is RGB;", "no image"), strict=True
    ):
        assert expected in reason


def test_nothing_but_corrupt_images_says_why(read: Callable[..., Reader], tmp_path: Path) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "0.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"cat/0\.png: it is no image of a known format"):
        read()


def test_images_of_several_shapes_are_refused_unless_resized(read: Callable[..., Reader], tmp_path: Path) -> None:
    of_classes(tmp_path / "images")
    save(tmp_path / "images" / "cat" / "more.png", pixels(0, 8, 8))
    with pytest.raises(DataError, match=r"inputs have 2 shapes: \(3, 6, 5\), \(3, 8, 8\).*kind: resize"):
        read()
    assert read(steps=[{"kind": "resize", "height": 4, "width": 4}]).schema.inputs == (3, 4, 4)
    assert read(steps=[{"kind": "crop", "height": 4, "width": 4}]).schema.inputs == (3, 4, 4)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: save(path / "0.png", pixels(0)),
            r"images/0\.png lies in no folder of a class.*data\.source\.masks",
        ),
        (lambda path: save(path / "train" / "0.png", pixels(0)), r"train/0\.png lies in no folder of a class"),
        (lambda path: path.mkdir(), r"no file with one of the endings \.png"),
        (lambda path: None, "does not exist"),
        (lambda path: save(path.with_suffix(".png"), pixels(0)).rename(path), "so name the folder"),
    ],
)
def test_what_is_no_folder_of_images_is_refused(
    write: Callable[[Path], Any], message: str, read: Callable[..., Reader], tmp_path: Path
) -> None:
    write(tmp_path / "images")
    with pytest.raises(DataError, match=message):
        read()


def test_blocks_are_of_some_dozen_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.data.sources.images.BLOCK_FILES", 5)
    of_classes(tmp_path / "images")
    settings = DataSettings(source={"kind": "images", "path": "images"})
    assert [len(block.read()) for block in make_source(settings, tmp_path).blocks("")] == [5, 5, 5, 5, 4]
    monkeypatch.setattr("podium.data.sources.images.BLOCK_BYTES", 1)
    assert [len(block.read()) for block in make_source(settings, tmp_path).blocks("")] == [1] * 24


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_pictures_of_any_mode_become_bytes_channels_first(mode: str) -> None:
    content = encoded(Image.new("RGB", (4, 3), "white").convert("L" if mode == "I;16" else mode).convert(mode), "TIFF")
    if mode == "I;16":
        content = encoded(Image.fromarray(np.full((3, 4), 65535, np.uint16)))
    for grey, channels in ((False, 3), (True, 1)):
        image = decode(content, grey)
        assert (image.shape, image.dtype) == ((channels, 3, 4), np.uint8)
        assert (image == 255).all()


def test_pictures_are_turned_as_their_camera_was() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode(encoded(image, exif=turned), True).tolist() == [[[0], [255]]]


def test_masks_are_places_in_a_palette_or_values() -> None:
    classes = np.array([[0, 1, 7]], np.uint8)
    palette = Image.fromarray(classes)
    palette.putpalette(list(range(255, -1, -1)) * 3)
    assert palette.mode == "P"
    for image in (palette, Image.fromarray(classes), Image.fromarray(classes.astype(np.uint16))):
        assert decode_mask(encoded(image)).tolist() == classes.tolist()
    assert decode_mask(encoded(Image.fromarray(classes > 0))).tolist() == [[0, 1, 1]]
    with pytest.raises(DataError, match="classes run from 0 to 256"):
        decode_mask(encoded(Image.fromarray(np.array([[0, 256]], np.uint16))))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_of_too_many_pixels_is_refused() -> None:
    side = int(MOST_PIXELS**0.5) + 1
    with pytest.raises(DataError, match=f"it has {side} x {side} pixels, and at most 89,000,000 are read"):
        decode(encoded(Image.new("1", (side, side))), False)


@pytest.fixture
def real(real_data: Path) -> Callable[[str], zipfile.ZipFile]:
    return lambda name: zipfile.ZipFile(real_data / name)


def test_street_scenes_are_cut_into_pieces(
    real: Callable[[str], zipfile.ZipFile], read: Callable[..., Reader], tmp_path: Path
) -> None:
    with real("camvid_small/camvid_240x180.zip") as archive:
        for split in ("train", "val", "test"):
            names = sorted(
                name for name in archive.namelist() if name.startswith(f"{split}/") and name.endswith(".jpg")
            )
            for name in names[::20]:
                mask = f"{split}annot/{Path(name).stem}.png"
                for member, target in ((name, f"images/{name}"), (mask, f"masks/{split}/{Path(mask).name}")):
                    (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / target).write_bytes(archive.read(member))
    crop = {"kind": "crop", "height": 96, "width": 96, "overlap": 8}
    reader = read(masks="masks", steps=[crop], split={"by": "given"})
    counts = {split: len(list((tmp_path / "images" / split).iterdir())) for split in ("train", "val", "test")}
    assert list(reader.manifest.rows.values()) == [count * 2 * 3 for count in counts.values()]
    assert (reader.schema.inputs, reader.schema.targets, reader.schema.classes) == ((3, 96, 96), (96, 96), 12)


def test_tissue_with_nuclei_is_shrunk(
    real: Callable[[str], zipfile.ZipFile], read: Callable[..., Reader], tmp_path: Path
) -> None:
    with real("monuseg30/monuseg30_500px.zip") as archive:
        for split in ("train", "test"):
            names = sorted(name for name in archive.namelist() if name.startswith(f"{split}/images/"))
            for stem in [Path(name).stem for name in names[:4]]:
                for what, ending in (("images", "jpg"), ("masks", "png")):
                    target = tmp_path / what / split / f"{stem}.{ending}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(f"{split}/{what}/{stem}.{ending}"))
    shrink = {"kind": "resize", "height": 250, "width": 250}
    shares = {"by": "given", "train": 0.7, "validation": 0, "test": 0.3}
    reader = read(masks="masks", steps=[shrink, {"kind": "crop", "height": 128, "width": 128}], split=shares)
    assert reader.manifest.rows == {"train": 16, "validation": 0, "test": 16}
    assert (reader.schema.targets, reader.schema.classes) == ((128, 128), 2)
    background, nuclei = reader.manifest.classes["train"]
    assert 0.05 < nuclei / (background + nuclei) < 0.6
