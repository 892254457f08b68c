"""Podium from Python: the same sweeps, in a script or a notebook."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.spec.files import SweepFile, parse_sweep, read_sweep
from podium.spec.sweep import SweepSpec
from podium.wiring import launch as launches
from podium.wiring import summaries
from podium.wiring.place import Place

if TYPE_CHECKING:
    import pandas
    from plotly.graph_objects import Figure


class Result:
    """A sweep as its ledger has it.

    Args:
        sweep: Its name.
        place: Where it lives.
    """

    def __init__(self, sweep: str, place: Place) -> None:
        self._sweep, self._place = sweep, place

    @property
    def summary(self) -> dict[str, Any]:
        """What `podium status NAME --json` prints: state, counts, best, times, model."""
        return summaries.summarize(self._place.book(), self._sweep)

    @property
    def best(self) -> dict[str, Any] | None:
        """The best trial: `trial`, `value`, `epoch`, `rung`, `params`, `metrics`, `run_id`; None before the first."""
        best: dict[str, Any] | None = self.summary["best"]
        return best

    def trials(self) -> "pandas.DataFrame":
        """One row a trial, by number: state, value, epoch, rung, reason, device seconds, `params.*`, `metrics.*`."""
        import pandas

        book = self._place.book()
        machine, facts = summaries.load(book, self._sweep), book.facts(self._sweep).all()
        rows = [summaries.describe(trial, machine.spec, facts) for _, trial in sorted(machine.trials.items())]
        frame = pandas.json_normalize(rows)
        return frame if frame.empty else frame.set_index("trial")

    def figures(self) -> "dict[str, Figure]":
        """The search plots by name, as plotly figures: history, learning curves, importance, parallel coordinates."""
        from podium.search.importance import importance
        from podium.tracking.plots import figures

        book = self._place.book()
        machine = summaries.load(book, self._sweep)
        importances = importance(machine.spec, machine.trials.values())
        return figures(machine.spec, machine.trials, summaries.curves(book, self._sweep), importances)

    def __repr__(self) -> str:
        summary = self.summary
        return f"Result({self._sweep!r}, {summary['state']}, {summary['trials']['total']} trials, best {self.best})"


def load_sweep(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SweepFile:
    """Reads a sweep file.

    Args:
        path: Of the YAML file.
        overrides: Settings to change, by dotted key.

    Raises:
        SpecError: naming file, line and key of the first mistake.
    """
    return read_sweep(path, [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()])


def launch(
    sweep: SweepFile | SweepSpec | Mapping[str, Any] | str | Path,
    *,
    home: str | Path | None = None,
    store: str | None = None,
    tracking_uri: str | None = None,
    cluster: str | None = None,
) -> Result:
    """Launches a sweep, or goes on with the one of its name, and waits until it has ended.

    Args:
        sweep: A sweep file or its path; or the settings themselves, as a spec or a mapping, with code and data
            found from the current folder.
        home: This machine's state; by default `PODIUM_HOME` or `.podium`.
        store: Where all hosts find checkpoints, shards and code; by default the home.
        tracking_uri: An MLflow server; by default SQLite in the home.
        cluster: `inline`, `local` (a Ray of our own, or the one that is already connected) or a Ray's address.

    Raises:
        UserError: for what has to change in the sweep, the task, the data or the resources.
    """
    from podium.console import Terminal

    place = Place.of(home, store, tracking_uri, cluster)
    file = _to_file(sweep)
    with Terminal().opened() as terminal, file.locating():
        launches.launch(file, place, terminal)
    return Result(file.spec.sweep, place)


def load_result(sweep: str, home: str | Path | None = None) -> Result:
    """The result of a sweep that was launched before.

    Raises:
        LookupFailed: if there is none of that name.
    """
    place = Place.of(home)
    place.book().require(sweep)
    return Result(sweep, place)


def _to_file(sweep: SweepFile | SweepSpec | Mapping[str, Any] | str | Path) -> SweepFile:
    if isinstance(sweep, SweepFile):
        return sweep
    if isinstance(sweep, str | Path):
        return read_sweep(sweep)
    spec = sweep if isinstance(sweep, SweepSpec) else parse_sweep(sweep)
    text = json.dumps(spec.written(), indent=2)
    return SweepFile(spec=spec, text=text, folder=Path.cwd(), path=Path.cwd() / "sweep.yaml")
