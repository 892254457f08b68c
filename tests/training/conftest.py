from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from training_bench import Bench, prepare_arrays

from podium.spec.sweep import SweepSpec


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def whole_float32() -> Iterator[None]:
    """On a GPU, cuDNN would otherwise cut inputs of convolutions and recurrent cells to the ten bits of TF32."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = allowed


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 1 x 6 x 6 images, noise around three means; 150 samples."""
    draws = np.random.default_rng(0)
    targets = np.arange(150) % 3
    means = draws.normal(size=(3, 1, 6, 6))
    inputs = (means[targets] + 0.7 * draws.normal(size=(150, 1, 6, 6))).astype(np.float32)
    return prepare_arrays(tmp_path_factory.mktemp("blobs"), inputs, targets)


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two numbers that are linear in five, with a little noise; 150 samples."""
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(150, 5)).astype(np.float32)
    targets = (inputs @ draws.normal(size=(5, 2)) + 0.01 * draws.normal(size=(150, 2))).astype(np.float32)
    return prepare_arrays(tmp_path_factory.mktemp("line"), inputs, targets)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(
        spec: SweepSpec,
        *,
        data: Path | None = None,
        code: Path | None = None,
        store: Path | str | None = None,
        holder: int = 1,
    ) -> Bench:
        return Bench(spec, store or tmp_path / "store", data=data, code=code, holder=holder)

    return make
