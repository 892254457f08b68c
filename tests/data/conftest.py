from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data.prepare import prepare
from podium.spec.data import DataSettings


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., DataSettings]:
    """Writes arrays into an `.npz` beside the sweep file, and gives the settings that name it."""

    def write(x: Any, y: Any, **settings: Any) -> DataSettings:
        np.savez(tmp_path / "samples.npz", x=x, y=y)
        return DataSettings(source={"kind": "arrays", "path": "samples.npz"}, **settings)

    return write


@pytest.fixture
def make_shards(save: Callable[..., DataSettings], tmp_path: Path) -> Callable[..., Path]:
    """Prepares arrays, and gives the folder of their shards."""

    def make(x: Any, y: Any, **settings: Any) -> Path:
        return prepare(save(x, y, **settings), base=tmp_path, store=str(tmp_path), cache=tmp_path)

    return make
