"""Where a sweep lives."""

import subprocess
from pathlib import Path

import pytest
from s3_server import Store

from podium.errors import UserError
from podium.wiring.place import Place


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PODIUM_HOME", "PODIUM_CLUSTER", "PODIUM_LEDGER", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_lies_in_a_hidden_folder_here(tmp_path: Path) -> None:
    place = Place.of()
    assert place == Place(
        home=tmp_path / ".podium",
        store=str(tmp_path / ".podium"),
        tracking_uri=f"sqlite:///{tmp_path}/.podium/mlflow.db",
        cluster="local",
        ledger=f"sqlite:///{tmp_path}/.podium/ledger.db",
    )
    assert (place.cache, place.artifacts) == (tmp_path / ".podium" / "cache", tmp_path / ".podium" / "artifacts")
    assert place.fetch("code/ab") == tmp_path / ".podium" / "code" / "ab"


def test_the_environment_is_asked_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("PODIUM_CLUSTER", "auto")
    place = Place.of()
    assert (place.home, place.tracking_uri, place.cluster) == (tmp_path / "mine", "http://mlflow:5000", "auto")
    given = Place.of(tmp_path / "other", "s", "http://other:1", "inline")
    assert (given.home, given.tracking_uri, given.cluster) == (tmp_path / "other", "http://other:1", "inline")


def test_relative_folders_mean_the_same_to_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert Place.of("a", "b").store == str(tmp_path / "b")
    assert Place.of("~/a").home == tmp_path / "me" / "a"
    assert Place.of(store="s3://bucket/x").store == "s3://bucket/x"


def test_a_place_that_can_be_written_is_made(tmp_path: Path) -> None:
    place = Place.of("some home", "some store")
    place.require_writable()
    place.require_writable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some home", "some store"]
    assert not any((tmp_path / "some store").iterdir())


def test_a_place_that_cannot_be_written_is_refused_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--home .*/file cannot be used: File exists; give a folder"):
        Place.of("file").require_writable()
    with pytest.raises(UserError, match=r"--store .*/file/in cannot be used: Not a directory"):
        Place.of("home", "file/in").require_writable()
    with pytest.raises(UserError, match=r"--home /proc/nowhere cannot be used"):
        Place.of("/proc/nowhere").book()
    with pytest.raises(UserError, match=r"the store odd://bucket cannot be opened: Protocol not known: odd"):
        Place.of(store="odd://bucket").require_writable()


@pytest.mark.parametrize("option", ["--home", "--store"])
def test_a_disk_that_is_read_only_is_refused_by_its_option(option: str, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    place = Place.of(small_disk) if option == "--home" else Place.of(tmp_path / "home", str(small_disk))
    with pytest.raises(UserError, match=f"{option} {small_disk} cannot be used: Read-only file system; give a folder"):
        place.require_writable()


def test_an_address_is_tried_before_it_is_used(s3_store: Store) -> None:
    Place.of("home", s3_store.address).require_writable()
    with pytest.raises(UserError, match="the store s3://no-such-bucket/x cannot be used"):
        Place.of("home", "s3://no-such-bucket/x").require_writable()


def test_a_password_in_the_store_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"the store s3://\*\*\*@bucket has a password in its address"):
        Place.of(store="s3://key:secret@bucket")


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database " * 100)
    with pytest.raises(UserError, match=r"ledger.db cannot be read as a ledger: file is not a database. Move it away"):
        Place.of(tmp_path).book()
