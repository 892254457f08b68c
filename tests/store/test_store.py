"""The store: the same for a folder and for an address, and one clear error when it fails."""

import errno
import hashlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from s3_server import Server, Store

from podium.errors import StorageFault, UserError
from podium.store import (
    accessing,
    checksum,
    copy_from,
    copy_into,
    names,
    read,
    refuse_password,
    remove,
    require_usable,
    size,
    write,
    written_at,
)


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        s3_store: Store = request.getfixturevalue("s3_store")
        return s3_store.address
    folder = tmp_path / "store"
    return {"folder": str(folder), "file": f"file://{folder}", "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


@pytest.fixture
def remote(s3_store: Store) -> str:
    return s3_store.address


@pytest.fixture
def elsewhere(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of the S3 server, to be changed: drivers remember what they found there."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def test_names_times_and_checksums_of_what_lies_there(store: str) -> None:
    assert (names(store, "a"), checksum(store, "a/b.txt")) == ([], None)
    began = time.time()
    for name in ("a/b.txt", "a/deep/c.txt", "a/.hidden"):
        write(store, name, b"01234")
    assert names(store, "a") == [".hidden", "b.txt", "deep"]
    assert checksum(store, "a/b.txt") == hashlib.sha256(b"01234").hexdigest()
    assert began - 5 < written_at(store, "a/b.txt") < time.time() + 5
    with pytest.raises(StorageFault, match="absent could not be looked up"):
        written_at(store, "absent")


def test_what_is_written_is_read_from_any_byte_on(store: str) -> None:
    assert (read(store, "a/b.txt"), size(store, "a/b.txt")) == (b"", 0)
    write(store, "a/b.txt", b"before")
    write(store, "a/b.txt", b"01234")
    assert [read(store, "a/b.txt", start) for start in (0, 3, 5, 9)] == [b"01234", b"34", b"", b""]
    assert size(store, "a/b.txt") == 5
    write(store, "a/b.txt", b"")
    assert read(store, "a/b.txt") == b""
    remove(store, "a/b.txt")
    assert size(store, "a/b.txt") == 0


def test_folders_are_copied_and_what_is_there_is_replaced(store: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a").write_text("a")
    (source / "b").write_text("b")
    copy_into(store, "name", source)
    (source / "b").write_text("changed")
    copy_into(store, "name", source)
    copy_into(store, "name/deep/c", source / "b")
    found = {name: read(store, f"name/{name}") for name in ("b", "deep/a", "deep/c")}
    assert found == {"b": b"changed", "deep/a": b"a", "deep/c": b"changed"}
    assert not size(store, "name/source/b")


def test_files_and_folders_are_copied_from_an_address(remote: str, tmp_path: Path) -> None:
    for name in ("log", "logs/a", "logs/deep/b"):
        write(remote, name, name.encode())
    copy_from(remote, "log", tmp_path / "one")
    copy_from(remote, "logs", tmp_path / "all")
    copy_from(remote, "nothing", tmp_path / "none")
    assert (tmp_path / "one").read_text() == "log"
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "all").rglob("*") if path.is_file()} == {
        "all/a",
        "all/deep/b",
    }
    assert not (tmp_path / "none").exists()


def test_a_store_that_works_is_left_as_it_was(remote: str, tmp_path: Path) -> None:
    require_usable(remote)
    copy_from(remote, "", tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_bucket_that_is_not_there_is_not_made(s3_store: Store) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=r"the store s3://no-such-bucket/x cannot be used: .*bucket does not exist"):
            require_usable("s3://no-such-bucket/x")


def test_no_credentials_are_one_error(elsewhere: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        elsewhere.delenv(name)
    elsewhere.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match=r"Unable to locate credentials\. Give --store an address .* the\s+environment"):
        require_usable("s3://bucket/x")


def test_a_server_that_does_not_answer_is_a_fault_that_names_no_secret(elsewhere: pytest.MonkeyPatch) -> None:
    elsewhere.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageFault, match=r"^x could not be read: s3://bucket/y: EndpointConnectionError: ") as fault:
        read("s3://bucket/y", "x")
    assert fault.value.exit_code == 75
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(fault.value)


def test_a_missing_driver_is_named_with_its_extra() -> None:
    code = "import sys; sys.modules['s3fs'] = None\nfrom podium.store import read\nread('s3://bucket', 'x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UserError: the store s3://bucket cannot be opened: " in done.stderr
    assert "run: pip install 'podium[s3]', on every host" in done.stderr
    with pytest.raises(UserError, match="the store odd://x cannot be opened: Protocol not known: odd; install"):
        read("odd://x", "y")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://key:secret@bucket/x", "s3://***@bucket/x"),
        ("s3://key:se/cr+et@bucket", "s3://***@bucket"),
        ("simplecache::ftp://:secret@host:21/x", "simplecache::ftp://***@host:21/x"),
        ("sftp://me:1234@host", "sftp://***@host"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str, shown: str) -> None:
    with pytest.raises(UserError, match="has a password in its address; give the address without it") as error:
        refuse_password(address)
    assert f"the store {shown} has" in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/x", "sftp://me@host:22/x", "abfs://box@account.dfs.core.windows.net/x", "/a:b@c", "h://n:9/a@b"],
)
def test_an_address_without_a_password_is_taken(address: str) -> None:
    refuse_password(address)


@pytest.mark.parametrize(
    ("store", "error", "is_fault"),
    [
        ("s3://bucket", OSError(errno.EIO, "no answer"), True),
        ("s3://bucket", RuntimeError("of some library"), True),
        ("s3://bucket", OSError(errno.ENOSPC, "of this host's disk"), False),
        ("s3://bucket", FileNotFoundError(), True),
        ("s3://bucket", UserError("of ours"), False),
        ("/folder", OSError(errno.ENOSPC, "full"), True),
        ("/folder", RuntimeError("a defect"), False),
    ],
)
def test_only_what_the_store_did_is_its_fault(store: str, error: Exception, is_fault: bool) -> None:
    with pytest.raises(StorageFault if is_fault else type(error)), accessing(store, "x could not be written"):
        raise error
