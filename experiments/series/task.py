"""Two sets of real series, which `fetch.py` brings: vowels that nine people spoke, and two centuries of sunspots."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from podium.errors import DataError

FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "podium" / "series"
"""Where `fetch.py` puts the files."""

VALIDATION = 5
"""Every fifth of a speaker's utterances validates."""

YEARS = 12
"""A forecast is made of so many years, as Weigend, Huberman and Rumelhart did, 1990."""


def vowels() -> Iterator[dict[str, Any]]:
    """640 utterances of two vowels, `[steps, 12]`, by nine speakers; the test split is the one that the set gives."""
    counts = [0] * 9
    for part in ("TRAIN", "TEST"):
        for line in _text(f"JapaneseVowels_{part}.ts").splitlines():
            if line.startswith(("#", "@")):
                continue
            *features, label = line.split(":")
            speaker = int(label) - 1
            counts[speaker] += 1
            validates = counts[speaker] % VALIDATION == 0
            yield {
                "input": np.array([feature.split(",") for feature in features], dtype=np.float32).T,
                "target": speaker,
                "split": "test" if part == "TEST" else "validation" if validates else "train",
            }


def sunspots() -> Iterator[dict[str, Any]]:
    """The yearly number of sunspots over 100, after the twelve years before it; tested on 1921 to 1955."""
    rows = [line.split(",") for line in _text("sunspots.csv").splitlines()[1:]]
    years = [int(float(year)) for year, _ in rows]
    numbers = np.array([number for _, number in rows], dtype=np.float32) / 100
    for index in range(YEARS, len(years)):
        year = years[index]
        if year > 1955:
            return
        yield {
            "input": numbers[index - YEARS : index, None],
            "target": numbers[index : index + 1],
            "split": "test" if year > 1920 else "validation" if year > 1885 else "train",
        }


def _text(name: str) -> str:
    file = FOLDER / name
    if not file.is_file():
        raise DataError(f"there is no {file}; run: python experiments/series/fetch.py")
    return file.read_text()
