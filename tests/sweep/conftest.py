from collections.abc import Callable

import pytest
from sweep_story import Story

from podium.testing.simulation import toy_spec


@pytest.fixture
def story() -> Callable[..., Story]:
    """Begins the story of a toy sweep; see `toy_spec` for its settings."""
    return lambda **settings: Story(toy_spec(**settings))
