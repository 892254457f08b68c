"""Files of answers: arrays, tables, and pictures of maps, written whole or not at all."""

import csv
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.given import Given
from podium.errors import UserError
from podium.wiring.answers import Answers, Reading, Row

Keep = Callable[[Given, Answers, Sequence[Row]], None]
"""Takes some samples with their answers, and the rows that were made of these."""


@contextmanager
def keeping(out: Path | None, reading: Reading) -> Iterator[Keep]:
    """Writes what it is given within the block to `out` once the block has ended well; nothing for None.

    Args:
        out: `.npz` with the samples' names and the arrays of answers; `.csv` or `.json` with the rows; else a new
            folder with a picture for each map, one of classes with a palette, as masks of a source have it.
        reading: Makes pictures of maps.

    Raises:
        UserError: if there is no such file, or it cannot be written.
    """
    if out is None:
        yield lambda _given, _answers, _rows: None
        return
    write = FILES.get(out.suffix.lower())
    if write is None:
        _require_new_folder(out, reading)
    draft = out.with_name(f".{uuid.uuid4().hex}-{out.name}")
    try:
        if write is None:
            draft.mkdir()
            yield lambda given, answers, _rows: _draw(draft, reading, given, answers)
            _shorten(draft)
        else:
            draft.touch()  # so that a folder that cannot be written is found out at once
            parts: list[tuple[Given, Answers, Sequence[Row]]] = []
            yield lambda *part: parts.append(part)
            write(draft, parts)
        draft.replace(out)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)


Parts = Sequence[tuple[Given, Answers, Sequence[Row]]]


def _write_arrays(path: Path, parts: Parts) -> None:
    names = np.array([name for given, _, _ in parts for name in given.names])
    try:
        arrays = {head: np.concatenate([answers[head] for _, answers, _ in parts]) for head in parts[0][1]}
    except ValueError:
        raise UserError(
            "the answers are of different sizes, which no array holds; write pictures of them to a folder with --out"
        ) from None
    np.savez(path, allow_pickle=False, sample=names, **arrays)


def _write_csv(path: Path, parts: Parts) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(parts[0][2][0]))
        writer.writeheader()
        writer.writerows({key: _as_text(value) for key, value in row.items()} for _, _, rows in parts for row in rows)


def _as_text(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _write_json(path: Path, parts: Parts) -> None:
    path.write_text(json.dumps([row for _, _, rows in parts for row in rows], indent=1) + "\n")


FILES: dict[str, Callable[[Path, Parts], None]] = {".npz": _write_arrays, ".csv": _write_csv, ".json": _write_json}


def _require_new_folder(out: Path, reading: Reading) -> None:
    if out.suffix or not reading.is_map:
        allowed = ", ".join(f"FILE{ending}" for ending in FILES)
        raise UserError(f"--out is {out}; answers are written to {allowed}, and maps as pictures to a folder, too")
    if out.exists():
        raise UserError(f"--out {out} is there already; give a new folder")


def _draw(folder: Path, reading: Reading, given: Given, answers: Answers) -> None:
    from PIL import Image

    for name, pixels, is_classes in reading.maps(given, answers):
        image = Image.fromarray(pixels, mode="P") if is_classes else Image.fromarray(pixels)
        if is_classes:
            image.putpalette(_palette())
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def _shorten(folder: Path) -> None:
    """Leaves the samples' own endings out, where that keeps them apart: `a.jpg.png` becomes `a.png`."""
    shorter = {path: path.with_suffix("").with_suffix(".png") for path in sorted(folder.rglob("*.png"))}
    many = Counter(shorter.values())
    for path, short in shorter.items():
        if many[short] == 1 and not short.exists():
            path.rename(short)


def _palette() -> list[int]:
    """The colours of 256 classes, as sheets of samples have them."""
    from matplotlib import colormaps

    from podium.data.sheet import COLOURS

    colours: NDArray[Any] = colormaps["tab20"](COLOURS[np.arange(256) % len(COLOURS)])
    return [int(value) for value in (255 * colours[:, :3]).round().ravel()]
