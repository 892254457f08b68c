from collections.abc import Iterator

import pytest
from services import Services, running_services


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One Ray and one MLflow server for all rounds."""
    with running_services(tmp_path_factory.mktemp("services")) as running:
        yield running
