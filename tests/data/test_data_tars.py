import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.sources import make_source
from podium.errors import DataError
from podium.spec.sweep import DataSettings

SPLITS = ("train", "validation", "test")
HALVES = {"train": 0.5, "validation": 0.5, "test": 0}
Members = Mapping[str, bytes]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def write(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def of_classes(first: int, last: int) -> dict[str, bytes]:
    """Samples with an image, a class, its name and a json each."""
    members: dict[str, bytes] = {}
    for each in range(first, last):
        members |= {
            f"./some.folder/{each:03}.png": png(pixels(each)),
            f"./some.folder/{each:03}.cls": b"%d\n" % (each % 3),
            f"./some.folder/{each:03}.txt": ("ant", "bee", "cat")[each % 3].encode(),
            f"./some.folder/{each:03}.json": json.dumps({"split": SPLITS[each % 4 // 3], "more": [each]}).encode(),
        }
    return members


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reader]:
    """Prepares tars, as they are, and gives the reader of all splits."""

    def make(path: str = "*.tar", inputs: str = "png", targets: str = "cls", **settings: Any) -> Reader:
        source = {"kind": "webdataset", "path": path, "inputs": inputs, "targets": targets}
        settings = DataSettings(source=source, normalize=False, **{"split": HALVES} | settings)
        folder = prepare(settings, base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")
        return Reader(folder, purpose="promotion")

    return make


def content(reader: Reader) -> list[tuple[list[Any], Any]]:
    """All samples, ordered by what they are."""
    batches = [batch for split in SPLITS for batch in reader.sequential(split, 7)]
    return sorted(
        (image.tolist(), target.tolist())
        for batch in batches
        for image, target in zip(batch.inputs, batch.targets, strict=True)
    )


def test_members_of_one_name_are_a_sample(read: Callable[..., Reader], tmp_path: Path) -> None:
    write(tmp_path / "0.tar", of_classes(0, 20))
    write(tmp_path / "1.tar", of_classes(20, 30) | {"README": b"", "._009.png": b"of a Mac", "z/.hidden.cls": b"0"})
    expected = sorted((np.moveaxis(pixels(each), -1, 0).astype(float).tolist(), each % 3) for each in range(30))
    reader = read()
    assert content(reader) == expected
    assert (reader.schema.input_dtype, reader.schema.class_names) == ("uint8", ())
    named = read(targets="txt")
    assert content(named) == expected
    assert named.schema.class_names == ("ant", "bee", "cat")


def test_a_large_tar_is_read_in_parts(
    read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "0.tar", of_classes(0, 30))
    settings = DataSettings(source={"kind": "webdataset", "path": "0.tar", "inputs": "png"})
    (whole,) = make_source(settings, tmp_path).blocks("")
    monkeypatch.setattr("podium.data.sources.tars.BLOCK_BYTES", 1000)
    parts = [block.read() for block in make_source(settings, tmp_path).blocks("")]
    assert len(parts) > 5
    records = whole.read()
    assert [target for part in parts for target in part.targets] == list(records.targets)
    assert (np.concatenate([part.inputs for part in parts]) == np.stack(records.inputs)).all()


def test_an_address_gives_the_same(read: Callable[..., Reader], tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for each in range(2):
        path = write(tmp_path / f"{each}.tar", of_classes(10 * each, 10 * each + 10))
        memory.put(str(path), f"/podium-tars/{each}.tar")
    try:
        there = read("memory://podium-tars/*.tar")
    finally:
        memory.rm("/podium-tars", recursive=True)
    assert content(there) == content(read())


def test_texts_and_numbers_of_a_json_are_columns(read: Callable[..., Reader], tmp_path: Path) -> None:
    write(tmp_path / "0.tar", of_classes(0, 30))
    given = {"by": "given", "train": 0.7, "validation": 0.3, "test": 0}
    assert read(split=given).manifest.rows == {"train": 23, "validation": 7, "test": 0}
    kept = read(steps=[{"kind": "filter", "column": "split", "keep": ["train"]}])
    assert kept.manifest.records == 23
    with pytest.raises(DataError, match="column 'more'; the source's columns are: split"):
        read(split={"by": "group", "column": "more"})


def test_arrays_are_inputs_and_numbers_to_predict(read: Callable[..., Reader], tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).normal(size=(20, 3, 2)).astype(np.float32)
    members = {f"{each}.x.npy": npy(arrays[each]) for each in range(20)}
    members |= {f"{each}.Y.npy": npy([arrays[each].sum(), each]) for each in range(20)}
    write(tmp_path / "0.tar", members)
    reader = read(inputs="x.npy", targets="y.npy")
    assert (reader.schema.inputs, reader.schema.targets, reader.schema.target_dtype) == ((1, 3, 2), (2,), "float32")
    assert content(reader) == sorted(
        ([each.tolist()], [float(each.sum()), float(place)]) for place, each in enumerate(arrays)
    )


def test_images_are_masks(read: Callable[..., Reader], tmp_path: Path) -> None:
    masks = [(pixels(each)[..., 0] > 99).astype(np.uint8) for each in range(20)]
    members = {f"{each}.png": png(pixels(each)) for each in range(20)}
    members |= {f"{each}.mask.png": png(mask) for each, mask in enumerate(masks)}
    write(tmp_path / "0.tar", members | {"19.mask.png": png(np.zeros((4, 5), np.uint8))})
    reader = read(targets="mask.png", unreadable=1)
    assert content(reader) == sorted(
        (np.moveaxis(pixels(each), -1, 0).astype(float).tolist(), masks[each].tolist()) for each in range(19)
    )
    assert dict(reader.manifest.skipped) == {f"{tmp_path}/0.tar: 19": "its mask has 4 x 5 pixels, and it has 5 x 4"}


BROKEN = {
    "no image": ({"png": None}, "cls", "it has no 'png'; it has cls, json, txt"),
    "no class": ({"cls": None}, "cls", "it has no 'cls'; it has json, png, txt"),
    "half an image": ({"png": png(pixels(0))[:60]}, "cls", "it cannot be decoded"),
    "text for a class": ({"cls": b"cat"}, "cls", "its class is b'cat'; write an integer"),
    "no name": ({"txt": b" \n"}, "txt", "the name of its class is empty"),
    "objects": ({"npy": npy(np.array([{}], dtype=object))}, "npy", "Object arrays cannot be loaded"),
    "text": ({"npy": npy("cat")}, "npy", "its array holds no numbers"),
    "half an array": ({"npy": npy(np.ones(9))[:-1]}, "npy", "its array cannot be read"),
    "a huge shape": (
        {"npy": npy(np.ones(9)).replace(b"(9,), }" + b" " * 15, b"(9%s,), }" % (b"0" * 15))},
        "npy",
        "PiB",
    ),
    "half a json": ({"json": b"{"}, "cls", "its json cannot be read"),
    "a list": ({"json": b"[]"}, "cls", "its json holds a list; write an object"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_sample_is_refused_or_skipped(case: str, read: Callable[..., Reader], tmp_path: Path) -> None:
    change, targets, reason = BROKEN[case]
    members = of_classes(0, 20) | {f"./some.folder/{each:03}.npy": npy(each / 2) for each in range(20)}
    for each in range(20):
        if targets != "npy":
            del members[f"./some.folder/{each:03}.npy"]
    for ending, content in change.items():
        name = f"./some.folder/004.{ending}"
        members[name] = content
        if content is None:
            del members[name]
    write(tmp_path / "0.tar", members)
    name = f"{tmp_path}/0.tar: ./some.folder/004"
    with pytest.raises(DataError, match="1 records cannot be read") as refusal:
        read(targets=targets)
    assert f"{name}: " in str(refusal.value)
    assert reason in str(refusal.value)
    reader = read(targets=targets, unreadable=1)
    assert [skipped for skipped, _ in reader.manifest.skipped] == [name]
    assert sum(reader.manifest.rows.values()) == 19


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def overwrite(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + 512] = b"x" * 512
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "in a header": (
        lambda path: cut(path, 1024 + 100),
        "0.tar is not whole: it breaks off, or is damaged, at byte 1024",
    ),
    "after a member": (lambda path: cut(path, 1024), "0.tar is not whole: .* at byte 1024"),
    "in a member": (lambda path: cut(path, 600), r"0.tar cannot be read as a tar file \(unexpected end of data\)"),
    "overwritten": (lambda path: overwrite(path, 1024), "0.tar is not whole: .* at byte 1024"),
    "text": (lambda path: path.write_bytes(b"text" * 1000), "0.tar cannot be read as a tar file"),
    "empty": (lambda path: path.write_bytes(b""), r"0.tar cannot be read as a tar file \(empty file\)"),
    "compressed": (lambda path: tarfile.open(path, "w:gz").close(), "whole one that is not compressed"),
    "absent": (lambda path: path.unlink(), "there is no file"),
}


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_tar_is_refused(
    case: str, is_large: bool, read: Callable[..., Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, message = DAMAGE[case]
    damage(write(tmp_path / "0.tar", of_classes(0, 20)))
    if is_large:
        monkeypatch.setattr("podium.data.sources.tars.BLOCK_BYTES", -1)
    with pytest.raises(DataError, match=message) as refusal:
        read()
    assert "\n" not in str(refusal.value)


def test_names_that_point_elsewhere_write_nothing(read: Callable[..., Reader], tmp_path: Path) -> None:
    members = {name.replace("./some.folder", "../../outside"): content for name, content in of_classes(0, 20).items()}
    write(tmp_path / "in" / "side" / "0.tar", members)
    assert sum(read("in/side/*.tar").manifest.rows.values()) == 20
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize(("key", "ending"), [("inputs", "cls"), ("inputs", "mp3"), ("targets", "json")])
def test_an_ending_that_is_not_read_is_refused(key: str, ending: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is '{ending}'; it ends in .*npy, png"):
        DataSettings(source={"kind": "webdataset", "path": "x.tar", key: ending})
