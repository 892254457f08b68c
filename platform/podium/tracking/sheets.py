"""Sheets of pictures, each a PNG file, and all of them on one HTML page; drawn by matplotlib without a screen."""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_INCHES, CAPTION_INCHES = 1.25, 0.24

MOST_COUNTS = 20
"""Matrices up to this side have their counts written into them."""

STYLE = (
    "body{font-family:system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222;line-height:1.45}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin:2em 0 .2em}p{margin:.2em 0 .8em}img{max-width:100%;height:auto}"
)


@dataclass(frozen=True)
class Tile:
    """One small picture.

    Attributes:
        image: `[height, width]` numbers, or `[height, width, 3]` from 0 to 1.
        caption: What stands above it.
        signed: Whether numbers are drawn red above 0 and blue below, as strong as they are far from it.
        limits: What is drawn black and white; the image's own extremes if absent.
    """

    image: NDArray[Any]
    caption: str = ""
    signed: bool = False
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Tiles:
    """Rows of tiles, each as long as `columns` at most."""

    tiles: Sequence[Tile]
    columns: int


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: counts `[true, predicted]`, and the classes' names."""

    counts: NDArray[np.int64]
    names: Sequence[str]


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence in bins, with the number of samples in each."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Sheet:
    """A picture with what is to be said about it.

    Attributes:
        name: Of its file, without the ending.
        title: Its heading.
        text: What it shows, in a sentence or two.
        content: What is drawn.
    """

    name: str
    title: str
    text: str
    content: Tiles | Matrix | Reliability


def write(folder: Path, title: str, sheets: Sequence[Sheet]) -> None:
    """Writes each sheet as `<name>.png`, and all of them as `index.html`, a page that needs no other file.

    Args:
        folder: Made if need be.
        title: The page's heading.
        sheets: In the order of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for sheet in sheets:
        drawn = png(sheet)
        (folder / f"{sheet.name}.png").write_bytes(drawn)
        content = base64.b64encode(drawn).decode()
        heading = html.escape(sheet.title)
        parts += [
            f'<h2 id="{html.escape(sheet.name)}">{heading}</h2><p>{html.escape(sheet.text)}</p>',
            f'<img alt="{heading}" src="data:image/png;base64,{content}">',
        ]
    page = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    page += f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    (folder / "index.html").write_text(page, encoding="utf-8")


def png(sheet: Sheet) -> bytes:
    """One picture as a PNG file."""
    file = io.BytesIO()
    draw(sheet).savefig(file, dpi=100, format="png")
    return file.getvalue()


def draw(sheet: Sheet) -> "Figure":
    """One picture."""
    from matplotlib.figure import Figure

    if isinstance(sheet.content, Tiles):
        return _tiles(sheet.content)
    side = 5.0 if isinstance(sheet.content, Reliability) else min(3.5 + 0.3 * len(sheet.content.names), 9.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    if isinstance(sheet.content, Matrix):
        _matrix(axes, sheet.content)
    else:
        _reliability(axes, sheet.content)
    return figure


def _tiles(content: Tiles) -> "Figure":
    from matplotlib.figure import Figure

    shapes = [tile.image.shape for tile in content.tiles]
    aspect = min(max(0.3, *(height / width for height, width, *_ in shapes)), 2.0)
    rows = math.ceil(len(content.tiles) / content.columns)
    has_captions = any(tile.caption for tile in content.tiles)
    cell = CELL_INCHES * aspect + CAPTION_INCHES * has_captions
    figure = Figure(figsize=(content.columns * CELL_INCHES, rows * cell), layout="constrained")
    grid = figure.subplots(rows, content.columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, tile in zip(grid.flat, content.tiles, strict=False):
        _tile(axes, tile)
    return figure


def _tile(axes: "Axes", tile: Tile) -> None:
    if tile.image.ndim == 3:
        axes.imshow(np.clip(tile.image, 0, 1), interpolation="nearest")
    else:
        finite = np.nan_to_num(tile.image.astype(np.float64))
        strongest = max(float(np.abs(finite).max()), 1e-12)
        low, high = (
            (-strongest, strongest) if tile.signed else tile.limits or (float(finite.min()), float(finite.max()))
        )
        axes.imshow(finite, cmap="RdBu_r" if tile.signed else "gray", vmin=low, vmax=high, interpolation="nearest")
    if tile.caption:
        axes.set_title(tile.caption, fontsize=7, pad=2)


def _matrix(axes: "Axes", content: Matrix) -> None:
    counts = content.counts
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(counts) <= MOST_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            if count:
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=7)
        ticks = list(range(len(counts)))
        axes.set_xticks(ticks, content.names, rotation=90 if max(map(len, content.names)) > 3 else 0, fontsize=8)
        axes.set_yticks(ticks, content.names, fontsize=8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")


def _reliability(axes: "Axes", content: Reliability) -> None:
    bins = len(content.counts)
    filled = content.counts > 0
    edges = np.arange(bins) / bins
    axes.bar(edges[filled], content.accuracy[filled], 1 / bins, align="edge", color="#9ecae1", edgecolor="white")
    axes.plot([0, 1], [0, 1], color="#666666", linestyle="--", linewidth=1, label="sure as it is right")
    axes.plot(
        content.confidence[filled], content.accuracy[filled], color="#0072B2", marker="o", markersize=4, label="found"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("highest probability")
    axes.set_ylabel("share that is right")
    axes.legend(frameon=False, loc="upper left")
