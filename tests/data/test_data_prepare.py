import json
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from s3_server import Store

from podium.data import build
from podium.data.manifest import load_manifest, verify
from podium.data.prepare import name_of, prepare
from podium.data.reader import Reader
from podium.data.splits import assign, content_digests
from podium.errors import DataError, StorageFault
from podium.spec.data import DataSettings

AGAIN = """
import json, sys
from pathlib import Path
from podium.data.prepare import name_of, prepare
from podium.spec.data import DataSettings
settings = DataSettings.model_validate_json(sys.argv[1])
folder = prepare(settings, base=Path(sys.argv[2]), store=sys.argv[2], cache=Path(sys.argv[2]))
heavy = [name for name in ("dask", "mlxtend", "pyarrow", "sklearn", "pandas", "torch") if name in sys.modules]
print(json.dumps({"folder": str(folder), "heavy": heavy}))
"""


def images(count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (count, 3, 5, 5), dtype=np.uint8), np.arange(count) % 4


def run_again(settings: DataSettings, base: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", AGAIN, settings.model_dump_json(), str(base)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_second_launch_does_nothing(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    for settings in (save(*images()), DataSettings(source="mnist_5k")):
        folder = prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)
        before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
        output, _ = run_again(settings, tmp_path).communicate()
        assert json.loads(output) == {"folder": str(folder), "heavy": []}
        assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before


def test_two_launches_at_once_prepare_once(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEP.format(deadly=0))
    settings = save(*images(), steps=[{"kind": "apply", "function": "steps.py:see"}])
    launches = [run_again(settings, tmp_path) for _ in range(2)]
    folders = {json.loads(launch.communicate()[0])["folder"] for launch in launches}
    assert [str(path) for path in (tmp_path / "shards").iterdir()] == sorted(folders)
    assert (tmp_path / "seen").stat().st_size == 2 * 80, "each record is read to find its split, and to be written"
    assert verify(Path(folders.pop())) == []


def test_words_about_the_data_are_kept_and_make_no_other_data_set(
    save: Callable[..., DataSettings], tmp_path: Path
) -> None:
    said, silent = save(*images(), licence="CC BY 4.0", units="kelvin"), save(*images())
    folder = prepare(said, base=tmp_path, store=str(tmp_path), cache=tmp_path)
    assert prepare(silent, base=tmp_path, store=str(tmp_path), cache=tmp_path) == folder
    assert name_of(silent, tmp_path, tmp_path) == folder.name
    manifest = load_manifest(folder)
    assert (manifest.licence, manifest.units) == ("CC BY 4.0", "kelvin")


def test_progress_ends_each_stage_at_one(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    prepare(
        save(*images()),
        base=tmp_path,
        store=str(tmp_path),
        cache=tmp_path,
        progress=lambda stage, share: told.setdefault(stage, []).append(share),
    )
    assert list(told) == ["scan", "write"]
    assert all(shares[-1] == 1.0 and shares == sorted(shares) for shares in told.values())


def test_the_folder_follows_from_content_and_split(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    x, y = images()
    settings = save(x, y)
    folder = prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)

    def place(other: DataSettings) -> Path:
        return prepare(other, base=tmp_path, store=str(tmp_path), cache=tmp_path)

    (tmp_path / "moved").mkdir()
    (tmp_path / "samples.npz").rename(tmp_path / "moved" / "renamed.npz")
    moved = settings.model_copy(update={"source": settings.source.model_copy(update={"path": "moved/renamed.npz"})})
    assert place(moved.model_copy(update={"batch_size": 7, "seed": 9})) == folder
    split = settings.split.model_copy(update={"train": 0.6, "test": 0.25})
    others = [
        moved.model_copy(update={"split": split}),
        moved.model_copy(update={"normalize": False}),
        save(x, (y + 1) % 4),
    ]
    assert len({folder, *map(place, others)}) == 4


def test_shards_are_the_same_bytes_every_time(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    settings = save(*images())
    stores = (str(tmp_path / name) for name in ("one", "two"))
    one, two = (prepare(settings, base=tmp_path, store=store, cache=tmp_path) for store in stores)
    assert load_manifest(one) == load_manifest(two)
    assert [p.read_bytes() for p in sorted(one.iterdir())] == [p.read_bytes() for p in sorted(two.iterdir())]


def test_no_content_stands_in_two_splits_and_none_is_lost(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", 1000)
    x, y = images(60)
    copies = np.random.default_rng(2).integers(0, 60, 90)
    x, y = np.concatenate([x, x[copies]]), np.concatenate([y, (y[copies] + 1) % 4])
    reader = Reader(make_shards(x, y, normalize=False), purpose="promotion")
    assert len(reader.manifest.shards) > 3
    content = {
        split: [sample.tobytes() for batch in reader.sequential(split, 9) for sample in batch.inputs.astype(np.uint8)]
        for split in ("train", "validation", "test")
    }
    train, validation, test = map(set, content.values())
    assert (train & validation, train & test, validation & test) == (set(), set(), set())
    assert sorted(chain(*content.values())) == sorted(sample.tobytes() for sample in x)


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_statistics_are_those_of_the_train_split_alone(make_shards: Callable[..., Path], kind: str) -> None:
    x, y = images(300)
    if kind == "vectors":
        x = np.random.default_rng(3).normal(5.0, 2.0, (300, 6)).astype(np.float32)
        x[:, 2] = 4.0
    schema = load_manifest(make_shards(x, y)).schema
    train = x[assign(content_digests(x), (0.7, 0.15, 0.15)) == 0].astype(np.float64)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    std = train.std(axis=axes)
    assert schema.mean == pytest.approx(train.mean(axis=axes), rel=1e-12)
    assert schema.std == pytest.approx(np.where(std == 0, 1, std), rel=1e-12)


def test_a_shard_holds_no_more_than_its_limit(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", 10 * (75 + 8))
    manifest = load_manifest(make_shards(*images(80)))
    for split, rows in manifest.rows.items():
        assert sum(shard.rows for shard in manifest.shards if shard.split == split) == rows
    together: dict[str, int] = {}
    for shard in manifest.shards:
        number = shard.name.partition("-")[2]
        together[number] = together.get(number, 0) + shard.rows
    assert list(together.values()) == [10] * 8


@pytest.mark.parametrize("damage", ["manifest", "missing", "truncated"])
def test_a_damaged_folder_is_prepared_anew(damage: str, save: Callable[..., DataSettings], tmp_path: Path) -> None:
    settings, shards = save(*images()), tmp_path / "shards"
    folder = prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)
    shard = folder / "train-00000.arrow"
    if damage == "manifest":
        (folder / "manifest.json").write_text("{")
    elif damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"manifest\.json" if damage == "manifest" else r"train-00000\.arrow"):
        Reader(folder)
    assert prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path) == folder
    assert list(shards.iterdir()) == [folder]
    assert verify(folder) == []


@pytest.mark.parametrize("samples", [14_000, 30_000], ids=["the shards are written", "the source is unpacked"])
def test_a_disk_that_fills_up_is_one_fault(
    samples: int, save: Callable[..., DataSettings], small_disk: Path, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(samples, 8)).astype(np.float32)
    settings, shards = save(x, np.arange(samples) % 3), small_disk / "shards"
    problem = f"^shards/.* could not be written: {small_disk}: No space left on device; 0.* of 1.0 MB are free there$"
    with pytest.raises(StorageFault, match=problem):
        prepare(settings, base=tmp_path, store=str(small_disk), cache=tmp_path)
    assert list(shards.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert verify(prepare(settings, base=tmp_path, store=str(small_disk), cache=tmp_path)) == []


def test_a_store_at_an_address_gets_the_shards_and_gives_them_to_others(
    save: Callable[..., DataSettings], s3_store: Store, tmp_path: Path
) -> None:
    settings = save(*images())
    one, two = (
        prepare(settings, base=tmp_path, store=s3_store.address, cache=tmp_path / name) for name in ("one", "two")
    )
    assert (one.parent, two) == (tmp_path / "one" / "shards", tmp_path / "two" / "shards" / one.name)
    assert verify(one) == verify(two) == verify(f"{s3_store.address}/shards/{one.name}") == []


STEP = """
import os
import signal
from pathlib import Path

SEEN = Path(__file__).with_name("seen")


def see(picture, label):
    with SEEN.open("a") as file:
        file.write("x")
    if Path(__file__).with_name("die").exists() and SEEN.stat().st_size >= {deadly}:
        os.kill(os.getpid(), signal.SIGKILL)
    return picture, label
"""
IN_SMALL_PARTS = """
import sys
from pathlib import Path
from podium.data import build
from podium.data.sources import arrays
arrays.BLOCK_BYTES, build.SHARD_BYTES = 8 * 75, 20 * 83
from podium.data.prepare import prepare
from podium.spec.data import DataSettings
settings = DataSettings.model_validate_json(sys.argv[1])
print(prepare(settings, base=Path(sys.argv[2]), store=sys.argv[2], cache=Path(sys.argv[2])))
"""


@pytest.mark.parametrize("deadly", [40, 120])
def test_what_was_interrupted_goes_on_where_it_was(
    deadly: int, save: Callable[..., DataSettings], make_shards: Callable[..., Path], tmp_path: Path
) -> None:
    """Blocks of 8 records are read twice: 80 records to find their splits, and 80 to write them."""
    (tmp_path / "steps.py").write_text(STEP.format(deadly=deadly))
    (tmp_path / "die").touch()
    settings = save(*images(), steps=[{"kind": "apply", "function": "steps.py:see"}])
    command = [sys.executable, "-c", IN_SMALL_PARTS, settings.model_dump_json(), str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.suffix for path in (tmp_path / "shards").iterdir() if path.suffix == ".work"] == [".work"]
    (tmp_path / "die").unlink()
    (tmp_path / "seen").write_text("")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "seen").stat().st_size <= 160 - deadly + 2 * 2 * 20, "what was done is not done again"
    folder = Path(done.stdout.strip())
    assert verify(folder) == []
    assert [path.name for path in (tmp_path / "shards").iterdir()] == [folder.name]
    whole, plain = load_manifest(folder), load_manifest(make_shards(*images()))
    assert whole.rows == plain.rows
    assert whole.schema.mean == pytest.approx(plain.schema.mean, rel=1e-12)


def test_a_source_that_changes_while_it_is_read_is_refused(save: Callable[..., DataSettings], tmp_path: Path) -> None:
    x, y = images()
    settings = save(x, y)

    def change(stage: str, share: float) -> None:
        if (stage, share) == ("scan", 1.0):
            np.savez(tmp_path / "samples.npz", x=x, y=(y + 1) % 4)

    with pytest.raises(DataError, match="has changed while it was read"):
        prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path, progress=change)
    assert list((tmp_path / "shards").iterdir()) == []
    assert verify(prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path)) == []
