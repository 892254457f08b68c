"""Lines that fit a screen: cut by cells, packed, and chosen where there is no room for all."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from podium.console.ink import Ink


def fit(line: Text, width: int, ink: Ink) -> Text:
    """The line, cut to the width where it is longer, which an ellipsis tells."""
    if line.cell_len <= width:
        return line
    cut = line.copy()
    cut.truncate(max(width - cell_len(ink.ellipsis), 0))
    return cut.append(ink.ellipsis[:width])


def cell(text: str, width: int, ink: Ink, *, right: bool = False) -> str:
    """Text in exactly so many cells."""
    if cell_len(text) > width:
        return set_cell_size(text, max(width - len(ink.ellipsis), 0)) + ink.ellipsis[:width]
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def flow(parts: Iterable[Text], width: int, ink: Ink) -> list[Text]:
    """Facts side by side in as few lines as hold them whole."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(ink.between) + part.cell_len <= width:
            lines[-1].append(ink.between).append_text(part)
        else:
            lines.append(part.copy())
    return [fit(line, width, ink) for line in lines]


def choose(blocks: Sequence[tuple[int, list[Text]]], height: int) -> list[list[Text]]:
    """Of blocks of lines with their ranks (0 matters most) those that fit together, in their order; the rest empty."""
    chosen: list[list[Text]] = [[] for _ in blocks]
    left = height
    for index in sorted(range(len(blocks)), key=lambda index: blocks[index][0]):
        lines = blocks[index][1]
        if len(lines) <= left:
            chosen[index] = lines
            left -= len(lines)
    return chosen
