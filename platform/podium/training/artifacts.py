"""Training: what a task or training function logs beside its metrics: figures and files, kept in the store."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from podium.errors import TaskError
from podium.store import copy_into
from podium.training.verdict import Moment, to_plain

MOMENTS = "diagnosis.json"
"""The file among a trial's artifacts that has what was measured inside its network."""


class Log:
    """Takes what one trial wants to show. Files are uploaded to the tracker when the trial ends.

    Args:
        store: The store's address or path.
        folder: The trial's folder for artifacts, relative to the store.
    """

    def __init__(self, store: str, folder: str) -> None:
        self._store, self._folder = store, folder
        self._metrics: dict[str, float] = {}

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Adds metrics to those of the epoch (a training function's next report)."""
        self._metrics |= metrics

    def log_figure(self, name: str, figure: Any) -> None:
        """Keeps a figure as `name`.

        Args:
            name: A file name; `.html` or `.png` is added if it has no ending.
            figure: Of plotly (written as HTML) or matplotlib (in the format of the ending).

        Raises:
            TaskError: if it is neither.
        """
        with tempfile.TemporaryDirectory() as folder:
            if hasattr(figure, "write_html"):
                path = Path(folder) / _named(name, ".html")
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.write_html(path)
            elif hasattr(figure, "savefig"):
                path = Path(folder) / _named(name, ".png")
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(path)
            else:
                raise TaskError(f"log_figure takes a figure of plotly or matplotlib, and {name!r} is {type(figure)}")
            self.log_artifact(path, str(path.relative_to(folder)))

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Keeps a copy of a file or folder, under its own name or `name`.

        Raises:
            TaskError: if there is no such file, or `name` points outside of the trial's artifacts.
        """
        path = Path(path)
        if not path.exists():
            raise TaskError(f"log_artifact found no file or folder {str(path)!r}")
        copy_into(self._store, f"{self._folder}/{_named(path.name if name is None else name, '')}", path)

    def take_metrics(self) -> dict[str, float]:
        """The metrics logged since the last call."""
        taken, self._metrics = self._metrics, {}
        return taken


def keep_moments(store: str, sweep: str, trial: int, moments: Sequence[Moment]) -> None:
    """Keeps what was measured inside a trial's network among its artifacts.

    Raises:
        StorageFault: if the store cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MOMENTS
        path.write_text(json.dumps(to_plain(moments)))
        copy_into(store, f"{artifact_folder(sweep, trial)}/{MOMENTS}", path)


def artifact_folder(sweep: str, trial: int) -> str:
    """Where a trial's artifacts lie, relative to the store."""
    return f"artifacts/{sweep}/{trial:05d}"


def _named(name: str, ending: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.name:
        raise TaskError(f"{name!r} is no name for an artifact; give a relative path without '..'")
    return name if parts.suffix else name + ending
