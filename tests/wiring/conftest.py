from pathlib import Path

import pytest
from wiring_cases import Outcome, podium, write_blobs, write_quick


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """A folder with a sweep of a training function."""
    return write_quick(tmp_path)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A folder in which the sweep `blobs` has been launched, and how that ended."""
    folder = write_blobs(tmp_path_factory.mktemp("blobs"))
    return folder, podium(folder, "launch", "sweep.yaml", "--cluster", "inline", "--json")
