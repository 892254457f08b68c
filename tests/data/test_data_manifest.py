import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from podium.data.manifest import Manifest, Schema, Shard, describe, load_manifest, verify
from podium.data.order import Shuffle
from podium.errors import DataError


@pytest.fixture
def folder(make_shards: Callable[..., Path]) -> Path:
    return make_shards(np.random.default_rng(0).normal(size=(90, 4)), np.arange(90) % 3)


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest(
        digest="ab" * 32,
        source={"kind": "arrays", "path": "x.npz"},
        fingerprint="sha256 00",
        steps=({"kind": "resize", "height": 2, "width": 3},),
        split={"train": 1.0},
        schema=Schema((1, 2, 3), "uint8", (), "int64", 2, (0.1 + 0.2,), (1e-300,), True),
        rows={"train": 4},
        classes={"train": (1, 3)},
        shards=(Shard("train-00000.arrow", "train", 4, 100, "cd" * 32),),
        shuffle=Shuffle("block", 2),
        records=5,
        folds=(),
        left_out=1,
        skipped=(("photos/a.png", "truncated"),),
        versions={"numpy": "2.4.6"},
    )
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert load_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    ("text", "message"), [(None, "holds no manifest"), ("{}", "cannot be read"), ("[", "cannot be read")]
)
def test_a_manifest_that_cannot_be_read_is_an_error(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message) as refusal:
        load_manifest(tmp_path)
    assert "\n" not in str(refusal.value)


def test_verify_reads_every_byte(folder: Path) -> None:
    assert verify(folder) == []
    shard = folder / "validation-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert verify(folder) == [f"the shard {shard} is not what its checksum says"]
    shard.unlink()
    assert verify(folder) == [f"the shard {shard} is missing"]


def test_describe_is_plain_json(folder: Path) -> None:
    shown = json.loads(json.dumps(describe(load_manifest(folder))))
    assert shown["samples"] == sum(shown["rows"].values()) == 90
    assert {split: sum(counts) for split, counts in shown["classes"].items()} == shown["rows"]
    assert shown["bytes"] == sum(path.stat().st_size for path in folder.glob("*.arrow"))
    assert (shown["shards"], shown["schema"]["inputs"], shown["source"]["kind"]) == (3, [4], "arrays")
