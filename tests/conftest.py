"""What all tests share."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import postgresql_server
import pytest
import s3_server
from forked import Process

from podium.execution.token import ensure_token

ensure_token()  # before a test imports Ray
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored by what runs in the background

pytest.register_assert_rewrite("podium.testing")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Properties are left out of the coverage, which would make them take three times as long."""
    for item in items:
        if isinstance(item, pytest.Function) and getattr(item.function, "is_hypothesis_test", False):
            item.add_marker("no_cover")


@pytest.fixture(scope="session", autouse=True)
def _forked_trackers() -> Iterator[None]:
    """The tracker of a launch within this process is forked, too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("podium.wiring.follower.Popen", Process)
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data."""
    folder = Path(os.environ.get("PODIUM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"there is no real data at {folder}; set PODIUM_DATA to the folder that has it")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator["postgresql_server.Server"]:
    """A PostgreSQL of our own for all tests that need one."""
    binaries = postgresql_server.find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed; tests/services.sh installs it on Debian, as root")
    with postgresql_server.running(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator["s3_server.Server"]:
    """An S3 server of our own for all tests that need one."""
    with s3_server.running() as server:
        yield server


@pytest.fixture
def s3_store(s3: "s3_server.Server", monkeypatch: pytest.MonkeyPatch) -> "s3_server.Store":
    """A store in a new bucket, which this process and its children can reach."""
    bucket = f"podium-{uuid.uuid4().hex[:12]}"
    s3.make_bucket(bucket)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.Store(f"s3://{bucket}/some/prefix", s3.environment)


@pytest.fixture
def dead_s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store at which nobody answers."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield "s3://podium-nowhere"
    S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def running_ray() -> Iterator[str]:
    """One Ray of our own for all tests that need it, to which this process is connected; its address."""
    from podium.execution.connection import connect, ray

    connect(None)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()
