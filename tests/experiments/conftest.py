from pathlib import Path

import pytest
from empty_runs import make_empty_runs


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path) -> None:
    """Where a test's own folder is the home, its database of runs has its schema, which takes seconds to make."""
    make_empty_runs(tmp_path / "mlflow.db")
