"""What all tests share."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
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


@pytest.fixture(scope="session")
def running_ray() -> Iterator[None]:
    """One Ray of our own for all tests that need it."""
    import podium.execution.ray as adapter

    adapter.connect(None)
    yield
    adapter.ray.shutdown()
