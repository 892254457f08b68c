"""Roles: which columns of a table make up a sample."""

from collections.abc import Sequence
from dataclasses import dataclass

from podium.errors import DataError
from podium.spec.data import TableSource
from podium.spec.settings import suggestion

INDEX = "__index_level_"
"""How the columns begin in which pandas keeps a frame's index, which is no feature."""


@dataclass(frozen=True)
class Roles:
    """What columns are for.

    Attributes:
        inputs: Those that make up an input.
        targets: Those to predict.
        others: Those that the split and the steps read.
        several: Whether targets are numbers side by side, and not one column.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    others: tuple[str, ...]
    several: bool

    @property
    def used(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.inputs, *self.targets, *self.others)))


def choose(settings: TableSource, key: str | None, filtered: Sequence[str], names: Sequence[str], place: str) -> Roles:
    """What the columns of a table are for.

    Args:
        settings: Those of the table.
        key: The column that the split reads.
        filtered: Those that steps read.
        names: The columns that there are.
        place: Where the table lies.

    Raises:
        DataError: if there are no such columns.
    """
    targets = settings.targets if isinstance(settings.targets, tuple) else (settings.targets,)
    keys = () if key is None else (key,)
    asked = {"inputs of data.source": settings.inputs, "targets of data.source": targets}
    asked |= {"data.split": keys, "filter of data.steps": tuple(filtered)}
    for setting, columns in asked.items():
        for name in columns:
            if name not in names:
                raise DataError(f"{place} has no column {name!r}, which {setting} names{suggestion(name, names)}")
    rest = (name for name in names if name not in (*targets, *keys) and not name.startswith(INDEX))
    inputs = settings.inputs or tuple(rest)
    if not inputs or not targets:
        what = "targets" if inputs else "inputs"
        raise DataError(f"{place} has no column for {what}, only {', '.join(names)}; name some in data.source.{what}")
    both = sorted({*inputs} & {*targets})
    if both:
        raise DataError(f"inputs and targets of data.source both name {both[0]!r}; take it out of the inputs")
    return Roles(inputs, targets, (*keys, *filtered), isinstance(settings.targets, tuple))
