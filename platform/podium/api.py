"""Podium from Python: the same sweeps, in a script or a notebook."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import UserError
from podium.spec.files import SweepFile, parse_sweep, read_sweep
from podium.spec.sweep import SweepSpec
from podium.wiring import comparing, networks, summaries
from podium.wiring import launch as launches
from podium.wiring.clusters import named
from podium.wiring.networks import TrainedNetwork
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
        from podium.drawing.plots import figures
        from podium.search.importance import importance

        book = self._place.book()
        machine = summaries.load(book, self._sweep)
        importances = importance(machine.spec, machine.trials.values())
        return figures(machine.spec, machine.trials, summaries.curves(book, self._sweep), importances)

    def network(self, trial: int | None = None) -> TrainedNetwork:
        """The network of a trial with the weights of its best epoch, for pictures and further measurements.

        Args:
            trial: Its number; the best trial's network without one.

        Raises:
            LookupFailed: if there is no such trial, or it has no checkpoint.
            TaskError: if the sweep's task is a training function, whose checkpoints are its own.
        """
        return networks.load_network(self._place, self._sweep, trial)

    def __repr__(self) -> str:
        summary = self.summary
        return f"Result({self._sweep!r}, {summary['state']}, {summary['trials']['total']} trials, best {self.best})"


def load_sweep(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SweepFile:
    """Reads a sweep file.

    Args:
        path: Of the YAML file.
        overrides: Settings to change, by dotted key; `{"preset": "full"}` for those of a preset of the file.

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

    place = _here(Place.of(home, store, tracking_uri, cluster))
    file = _to_file(sweep)
    with Terminal().opened() as terminal, file.locating():
        launches.launch(file, place, terminal)
    return Result(file.spec.sweep, place)


def _here(place: Place) -> Place:
    """A place whose driver can be this process.

    Raises:
        UserError: for one that is a cluster elsewhere.
    """
    if named.find(place.cluster) is not None:
        raise UserError(
            f"a driver in Python cannot be at {place.cluster}: from a terminal `--cluster {place.cluster}` submits; "
            "give inline, local or the address of a Ray to join, HEAD:6379"
        )
    return place


def load_result(sweep: str, home: str | Path | None = None) -> Result:
    """The result of a sweep that was launched before.

    Raises:
        LookupFailed: if there is none of that name.
    """
    place = Place.of(home)
    place.book().require(sweep)
    return Result(sweep, place)


def compare(
    sweeps: str | Sequence[str],
    *,
    home: str | Path | None = None,
    top: int = 5,
    html: str | Path | None = None,
) -> dict[str, Any]:
    """Compares one or more sweeps; what `podium compare --json` prints.

    Args:
        sweeps: Their names; each is compared with the first.
        home: This machine's state; by default `PODIUM_HOME` or `.podium`.
        top: How many of the best trials of each are told.
        html: The file to write a page with charts to, which needs no network.

    Returns:
        `summaries` of the sweeps, whether they are `comparable`, what their `values` say, their `differences` in
        sentences and what is the `same`, and their best `trials` by the `varying` parameters.

    Raises:
        LookupFailed: if there is no sweep of a name.
        UserError: if a sweep is named twice, or the page cannot be written.
    """
    names = [sweeps] if isinstance(sweeps, str) else list(sweeps)
    return comparing.compare(Place.of(home).book(), names, top, None if html is None else Path(html))


def load_network(sweep: str, trial: int | None = None, home: str | Path | None = None) -> TrainedNetwork:
    """The network of a trial of a sweep that was launched before; what `load_result(sweep, home).network(trial)` gives.

    Raises:
        LookupFailed: if there is no such sweep or trial, or it has no checkpoint.
        TaskError: if the sweep's task is a training function, whose checkpoints are its own.
    """
    return load_result(sweep, home).network(trial)


def promote(
    sweep: str,
    *,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    home: str | Path | None = None,
    store: str | None = None,
    tracking_uri: str | None = None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Promotes the best of a sweep if the evidence says so; what `podium promote SWEEP --json` prints.

    Args:
        sweep: Its name; it must have ended.
        model: The registered model whose champion is challenged; the sweep's name without it.
        settings: Of the promotion, as in a sweep file: `{"seeds": 3, "gates": {"floors": ["accuracy >= 0.95"]}}`.
        home: This machine's state; by default `PODIUM_HOME` or `.podium`.
        store: Where its data and code lie; by default the home.
        tracking_uri: An MLflow server; by default SQLite in the home.
        cluster: `inline`, `local` or a Ray's address.

    Returns:
        `verdict` (`promoted`, `refused` or `undecided`), `reasons`, `model`, `version`, `evidence`, `card` and more.

    Raises:
        UserError: for a sweep that cannot be promoted.
        Refused: if it still runs.
    """
    from podium.console import Terminal
    from podium.wiring import promotions

    place = _here(Place.of(home, store, tracking_uri, cluster))
    with Terminal().opened() as terminal:
        return promotions.promote(place, sweep, terminal, model=model, settings=settings)


def reproduce(run_id: str, *, home: str | Path | None = None, store: str | None = None) -> dict[str, Any]:
    """Trains a run again and compares it epoch by epoch; what `podium reproduce RUN_ID --json` prints.

    Args:
        run_id: A trial's MLflow run, or `SWEEP/NUMBER`.
        home: This machine's state; by default `PODIUM_HOME` or `.podium`.
        store: Where its data and code lie; by default the home.

    Returns:
        `verdict`: `identical`, `within tolerance` or `different`, with `epochs`, `first_epoch`, `differences` and more.

    Raises:
        LookupFailed: if there is no such run, or it has no epoch to compare.
        UserError: if its data or its code are gone and cannot be made again.
    """
    from podium.console import Terminal
    from podium.wiring import reproductions

    with Terminal().opened() as terminal:
        return reproductions.reproduce(Place.of(home, store), run_id, terminal)


def _to_file(sweep: SweepFile | SweepSpec | Mapping[str, Any] | str | Path) -> SweepFile:
    if isinstance(sweep, SweepFile):
        return sweep
    if isinstance(sweep, str | Path):
        return read_sweep(sweep)
    spec = sweep if isinstance(sweep, SweepSpec) else parse_sweep(sweep)
    text = json.dumps(spec.written(), indent=2)
    return SweepFile(spec=spec, text=text, folder=Path.cwd(), path=Path.cwd() / "sweep.yaml")
