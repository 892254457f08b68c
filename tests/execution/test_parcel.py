"""What travels with a sweep."""

import io
import os
import zipfile
from pathlib import Path
from unittest import mock

import pytest

from podium.errors import UserError
from podium.execution import parcel


def make(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def names(packed: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(packed)).namelist()


def test_equal_contents_make_equal_bytes(tmp_path: Path) -> None:
    one, other = (make(tmp_path / name, a="x", sub__b="y") for name in ("one", "other"))
    (other / "a").touch()
    assert parcel.pack(one, {".note": "n"}) == parcel.pack(other, {".note": "n"})
    assert names(parcel.pack(one, {".note": "n"})) == ["a", "sub/b", ".note"]
    make(other, a="z")
    assert parcel.pack(one) != parcel.pack(other)


def test_what_is_hidden_made_or_kept_by_podium_stays(tmp_path: Path) -> None:
    folder = make(tmp_path, keep="1", env__pyvenv_cfg="", home__ledger_db="", __pycache__="")
    (folder / "env" / "pyvenv_cfg").rename(folder / "env" / "pyvenv.cfg")
    (folder / "home" / "ledger_db").rename(folder / "home" / "ledger.db")
    for name in (".git", ".podium", "__pycache__"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "file").write_text("")
    (folder / ".secret").write_text("")
    (folder / "gone").symlink_to("nowhere")
    assert names(parcel.pack(folder)) == ["keep"]


def test_what_is_too_large_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "MOST_BYTES", 2_000_000)
    folder = make(tmp_path, small="1", large="x" * 2_000_001)
    with pytest.raises(UserError, match=r"holds 2 files of 2\.0 MB.*largest are large \(2\.0 MB\).*Put data where"):
        parcel.pack(folder)
    monkeypatch.setattr(parcel, "MOST_BYTES", 3_000_000)
    monkeypatch.setattr(parcel, "MOST_FILES", 1)
    with pytest.raises(UserError, match=r"at most 1 of 3 MB"):
        parcel.pack(folder)


def test_a_digest_tells_contents_and_not_notes(tmp_path: Path) -> None:
    folder = make(tmp_path, a="x", sub__b="y")
    one, other = (parcel.digest(parcel.pack(folder, {".note": text}), {".note"}) for text in ("here", "there"))
    assert one == other == parcel.digest(parcel.pack(folder))
    make(folder, a="z")
    assert parcel.digest(parcel.pack(folder)) != one


def test_what_cannot_be_packed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, a="x")
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9")).write_text("y")
    with pytest.raises(UserError, match=r"'caf\\udce9' in .* is no name in UTF-8"):
        parcel.pack(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", mock.Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(UserError, match=r"/a cannot travel with the sweep: Permission denied"):
        parcel.pack(tmp_path)
