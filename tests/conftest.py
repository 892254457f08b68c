"""What all tests share."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import postgresql_server
import pytest

pytest.register_assert_rewrite("podium.testing")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent


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
def running_ray() -> Iterator[None]:
    """One Ray of our own for all tests that need it."""
    import podium.execution.ray as adapter

    adapter.connect(None)
    yield
    adapter.ray.shutdown()
