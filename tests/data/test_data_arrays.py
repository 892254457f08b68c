"""Arrays, wherever they lie: the same records, and errors that say what there is."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from PIL import Image
from s3_server import Store

from podium.data.manifest import load_manifest
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.errors import DataError, UserError
from podium.spec.data import DataSettings

X = np.random.default_rng(0).integers(0, 256, (120, 3, 6, 6), dtype=np.uint8)
Y = np.arange(120) % 3


def write_npz(folder: Path) -> None:
    np.savez(folder, x=X, y=Y)
    folder.with_name(f"{folder.name}.npz").rename(folder)


def write_npy(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)


def write_zarr(folder: Path, version: int = 3) -> None:
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    group.create_array("x", data=X, chunks=(50, 3, 6, 6))
    group.create_array("y", data=Y, chunks=(120,))


WRITERS: dict[str, Callable[[Path], None]] = {
    "an .npz file": write_npz,
    "a folder of .npy files": write_npy,
    "a Zarr group": write_zarr,
    "an old Zarr group": functools.partial(write_zarr, version=2),
}


def settings_of(path: str, **more: Any) -> DataSettings:
    return DataSettings.model_validate({"source": {"kind": "arrays", "path": path, **more}})


def samples_of(folder: Path) -> list[bytes]:
    reader = Reader(folder, purpose="promotion")
    batches = (batch for split in ("train", "validation", "test") for batch in reader.stored(split))
    return sorted(np.asarray(image).tobytes() for inputs, _ in batches for image in inputs)


@pytest.mark.parametrize("kind", WRITERS)
def test_arrays_give_the_same_samples_however_they_are_stored(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "source")
    folder = prepare(settings_of("source"), base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")
    assert samples_of(folder) == sorted(image.tobytes() for image in X)
    assert np.sum(list(load_manifest(folder).classes.values()), axis=0).tolist() == [40, 40, 40]


@pytest.mark.parametrize("kind", WRITERS)
def test_arrays_at_an_address(kind: str, s3_store: Store, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "source")
    address = f"{s3_store.address}/source"
    fsspec.core.url_to_fs(address)[0].put(str(tmp_path / "source"), address.partition("://")[2], recursive=True)
    folder = prepare(settings_of(address), base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")
    assert samples_of(folder) == sorted(image.tobytes() for image in X)
    assert load_manifest(folder).source["path"] == address


@pytest.mark.parametrize("kind", WRITERS)
def test_an_array_that_is_not_there_is_named_with_those_that_are(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / "source")
    with pytest.raises(DataError, match=r"has no array 'z'; it has x, y\. Name them with data\.source\.inputs"):
        prepare(settings_of("source", inputs="z"), base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path)


def test_a_zarr_group_without_zarr_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(tmp_path / "source")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DataError, match=r"pip install 'podium\[zarr\]'"):
        prepare(settings_of("source"), base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path)


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        prepare(settings_of("s3://me:secret@bucket/x.npz"), base=tmp_path, store=str(tmp_path), cache=tmp_path)
    assert "secret" not in str(refusal.value)


def test_a_file_is_summed_again_only_once_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from podium.data.sources import files

    write_npy(tmp_path / "source")
    summed: list[str] = []
    real = files.file_sha256
    monkeypatch.setattr(files, "file_sha256", lambda path: (summed.append(path.name), real(path))[1])
    make = functools.partial(
        prepare, settings_of("source"), base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache"
    )
    first = make()
    assert make() == first
    assert summed == ["x.npy", "y.npy"]
    np.save(tmp_path / "source" / "y.npy", Y[::-1])
    assert make() != first
    assert summed == ["x.npy", "y.npy", "y.npy"]


def test_near_pictures_are_found_across_splits(tmp_path: Path) -> None:
    rough = np.random.default_rng(1).uniform(20, 230, (60, 5, 5)).astype(np.float32)
    smooth = np.stack([np.asarray(Image.fromarray(each).resize((32, 32))) for each in rough])[:, None]
    noise = np.random.default_rng(2).integers(0, 3, smooth.shape)
    x = np.concatenate([smooth, smooth + noise]).astype(np.uint8)
    np.savez(tmp_path / "source.npz", x=x, y=np.arange(120) % 2)
    make = functools.partial(prepare, base=tmp_path, store=str(tmp_path / "store"), cache=tmp_path / "cache")

    def manifest(**split: Any) -> Any:
        settings = settings_of("source.npz").model_dump() | {"split": split}
        return load_manifest(make(DataSettings.model_validate(settings)))

    assert manifest().left_out == 0
    with pytest.raises(DataError, match=r"records have nearly equal ones in a later split.*drop_from_train"):
        manifest(near=4)
    assert 10 < manifest(near=4, duplicates="drop_from_train").left_out < 60
