"""The projector: rows of the ledger and snapshots of trials in, MLflow runs out.

It runs in a process of its own, never in the driver's. Whatever fails leaves it unfit for use: make a new one,
`launch` it and `project` all rows from the first; what MLflow already shows is found again and not doubled.
"""

import heapq
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from podium.masking import without_logins
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advanced, Event, Launched, Progress, Proposed, Report
from podium.sweep.ranking import Ranking
from podium.sweep.spending import total, wasted
from podium.sweep.trial import Trial
from podium.tracking import diagnosis, entities, experiment, notes, summary
from podium.tracking.client import connect, once
from podium.tracking.entities import Point
from podium.tracking.provenance import user

if TYPE_CHECKING:
    from mlflow.entities import Run

Row = tuple[int, float, Event]
"""A row of the ledger: its sequence number, its time in Unix seconds, and what happened."""

NOTE_EVERY_S = 30.0
"""How much later by the ledger's time the parent's description is written anew while the sweep runs."""

LEADERS = 10
"""The best trials that the parent's description compares."""


class Facts(Protocol):
    """What the projector leaves for others to read: JSON values by key.

    Keys: `tracking_uri`, `experiment` (its id), `parent_run`, `run/<number>` (run ids).
    """

    def put(self, mapping: Mapping[str, Any]) -> None:
        """Sets some keys."""
        ...


@dataclass(slots=True)
class _Shown:
    """What is known of one trial's run, and the points it does not show yet."""

    begun_ms: int
    last_ms: int
    run_id: str = ""
    is_over: bool = False
    trial: Trial | None = None
    epoch: int = -1
    rung: int = -1
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Value] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    points: list[Point] = field(default_factory=list)


class Projector:
    """Shows one sweep in MLflow: a parent run, and a child run a trial, one for its whole life.

    Args:
        spec: The sweep.
        identity: What tells the sweep from others of the same name; found again as the tag `podium.sweep_id`.
        tracking_uri: A server or a SQLite file.
        artifacts: Where the runs' files are kept; None leaves it to the server.
        facts: Where run ids are left for others.
        files: By a trial's number the local files and folders to be shown with its run; those missing are left out.
        before: Called before anything is written to a run; what it raises keeps that from being written.

    Attributes:
        num_over: How many trials are shown to their end.
    """

    def __init__(
        self,
        spec: SweepSpec,
        identity: str,
        *,
        tracking_uri: str,
        artifacts: str | None,
        facts: Facts,
        files: Callable[[int], Iterable[Path]] = lambda number: (),
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._identity, self._facts, self._files = spec, identity, facts, files
        self._before = before
        self._tracking_uri, self._artifacts = tracking_uri, artifacts
        self._client = connect(tracking_uri)
        self._objectives = entities.objective_names(spec.search.objectives)
        self._ranking = Ranking(spec)
        self._metrics = {objective.metric for objective in spec.search.objectives}
        self._experiment = self._parent = ""
        self._found: dict[int, Run] = {}
        self._dataset: list[Any] = []
        self._shown: dict[int, _Shown] = {}
        self._curves: dict[int, dict[str, list[tuple[int, float | None]]]] = {}
        self._noted_at = -math.inf
        self.num_over = 0

    def launch(
        self, at: float, launched: Launched, manifest: Mapping[str, Any] | None, code: Path | None = None
    ) -> None:
        """Finds or makes the experiment and the parent run, and gives the latter what the sweep started from.

        Args:
            at: When the sweep was launched, in Unix seconds.
            launched: The first event of the ledger.
            manifest: The data manifest as plain data; None for a sweep without data.
            code: The folder with the user's code; None for a built-in task.
        """
        self._dataset = [entities.to_dataset(manifest)] if manifest else []
        self._experiment = experiment.ensure(self._client, self._spec, self._artifacts, round(at * 1000))
        self._parent = self._find_runs()
        self._before()
        if self._parent:
            self._client.update_run(self._parent, status="RUNNING")
        else:
            commit = launched.provenance.get("git", {}).get("commit", "")
            tags = self._common_tags() | ({"mlflow.source.git.commit": commit} if commit else {})
            self._parent = self._create_run(round(at * 1000), tags, self._spec.sweep)
        self._note("running", "", {}, at, params=entities.to_params(self._spec.fixed()))
        self._log_inputs(self._parent)
        with tempfile.TemporaryDirectory() as folder:
            summary.write_origin(Path(folder), self._spec, launched, manifest)
            self._client.log_artifacts(self._parent, folder)
        if code is not None:
            self._client.log_artifacts(self._parent, str(code), "code")
        self._facts.put(
            {
                "tracking_uri": without_logins(self._tracking_uri),
                "experiment": self._experiment,
                "parent_run": self._parent,
            }
        )

    def project(self, rows: Sequence[Row], trials: Mapping[int, Trial]) -> None:
        """Shows what the new rows changed.

        Args:
            rows: Those since the last call, in order; the first call after `launch` starts with the first row.
            trials: The snapshots after these rows.
        """
        for _, at, event in rows:
            self._read(round(at * 1000), event)
        began = {}
        for number, trial in trials.items():
            shown = self._shown[number]
            if shown.trial is trial and not shown.points:
                continue
            self._before()
            if not shown.run_id:
                self._begin(shown, trial)
                began[f"run/{number}"] = shown.run_id
            self._show(shown, trial)
        if began:
            self._facts.put(began)
        if rows and rows[-1][1] >= self._noted_at + NOTE_EVERY_S:
            self._before()
            self._note("running", "", trials, rows[-1][1])

    def finish(
        self,
        at: float,
        state: str,
        reason: str,
        trials: Mapping[int, Trial],
        best: Trial | None,
        importances: Mapping[str, float] | None = None,
        model: Mapping[str, str] | None = None,
    ) -> None:
        """Gives the parent its summary and plots, and ends it. An interrupted sweep's runs stay RUNNING.

        Args:
            at: When the sweep ended, in Unix seconds.
            state: How: finished, exhausted, stopped, failed or interrupted.
            reason: Why, in words.
            trials: The last snapshots.
            best: The best trial, if there is one.
            importances: By searched parameter its share of the objective's variance.
            model: `name`, `version` and `model_id` of the registered best model, if there is one.
        """
        self.project([], trials)
        self._before()
        self._delete_doubles()
        metrics = {"trials": float(len(trials))} | entities.spending(
            sum(trial.device_s for trial in trials.values()),
            total(trial.spent for trial in trials.values()),
            total(map(wasted, trials.values())),
        )
        if best is not None:
            metrics |= self._objective(best.last_values) | {"best_epoch": float(best.best_epoch)}
        with tempfile.TemporaryDirectory() as folder:
            summary.write_table(Path(folder), self._spec, trials, self._runs())
            if self._spec.tracking.plots and trials:
                from podium.drawing import charts, pictures, plots

                drawn = charts.charts(self._spec, trials, self._curves, importances or {})
                plots.write(Path(folder) / "plots", drawn)
                pictures.write(Path(folder) / "plots", drawn)
            self._client.log_artifacts(self._parent, folder)
        if self._spec.tracking.diagnosis:
            self._diagnose(diagnosis.shown(trials.values(), best))
        if model is not None and best is not None:
            experiment.link(self._client, self._parent, model["model_id"], best.best_epoch)
        points = list(entities.points(metrics, round(at * 1000), 0))
        self._note(state, reason, trials, model=model, metrics=entities.to_metrics(points))
        if state in entities.SWEEP_STATUS:
            self._client.set_terminated(self._parent, entities.SWEEP_STATUS[state], round(at * 1000))

    def attach(self, number: int, folder: Path) -> None:
        """Adds a folder, under its own name, to the files of a trial's run; what was there so named is replaced."""
        self._before()
        self._client.log_artifacts(self._shown[number].run_id, str(folder), folder.name)

    def _note(
        self,
        state: str,
        reason: str,
        trials: Mapping[int, Trial],
        at: float | None = None,
        model: Mapping[str, str] | None = None,
        **beside: Any,
    ) -> None:
        """Tells on the parent how the sweep stands, at some time or in the end, with what else there is to log."""
        order = self._ranking.order
        leaders = heapq.nsmallest(LEADERS, filter(self._ranking.is_candidate, trials.values()), key=order)
        has_plots = at is None and self._spec.tracking.plots and bool(trials)
        where = notes.Shown(self._experiment, self._parent, self._runs(), model, has_plots)
        tags = {"state": state, "reason": reason[: entities.REASON_LIMIT]}
        tags[notes.KEY] = notes.sweep(self._spec, state, reason, trials, leaders, where, at)
        if leaders:
            best = leaders[0].number
            tags |= {"podium.best": str(best), "podium.best_run": where.runs.get(best, "")}
        self._client.log_batch(self._parent, tags=entities.to_tags(tags), **beside)
        self._noted_at = math.inf if at is None else at

    def _runs(self) -> dict[int, str]:
        return {number: shown.run_id for number, shown in self._shown.items() if shown.run_id}

    def _diagnose(self, trials: Iterable[Trial]) -> None:
        """Shows layer by layer what goes on inside the networks of some trials."""
        for trial in trials:
            shown = self._shown[trial.number]
            if not (moments := diagnosis.read(self._files(trial.number))):
                continue
            points = list(diagnosis.points(moments, shown.last_ms))
            self._client.log_batch(shown.run_id, metrics=entities.to_metrics(points))
            name = entities.run_name(self._spec, trial.number)
            title = f"{name}: {trial.verdict}" if trial.verdict else name
            self._client.log_figure(shown.run_id, diagnosis.draw(moments, title), "diagnosis.png")

    def _find_runs(self) -> str:
        """Remembers the children that MLflow has of this sweep, deletes doubles, and returns the parent's id."""
        parent = ""
        for run in experiment.runs(self._client, self._experiment, self._identity):
            number = run.data.tags.get("podium.trial")
            if number is None and not parent:
                parent = run.info.run_id
            elif number is not None and int(number) not in self._found:
                self._found[int(number)] = run
            else:
                self._client.delete_run(run.info.run_id)
        return parent

    def _create_run(self, at_ms: int, tags: dict[str, str], name: str) -> str:
        with once():
            return str(self._client.create_run(self._experiment, at_ms, tags, name).info.run_id)

    def _delete_doubles(self) -> None:
        """Deletes what a server made of a call that it carried out after its caller had given up on it."""
        known = {run.info.run_id for run in self._found.values()} | {shown.run_id for shown in self._shown.values()}
        for run in experiment.runs(self._client, self._experiment, self._identity, only_running=True):
            if run.info.run_id not in known | {self._parent}:
                self._client.delete_run(run.info.run_id)

    def _read(self, at_ms: int, event: Event) -> None:
        if isinstance(event, Proposed):
            self._shown.setdefault(event.number, _Shown(at_ms, at_ms))
        elif isinstance(event, Progress):
            for lane in event.lanes:
                self._read_metrics(lane.trial, lane.epoch, lane.metrics, at_ms)
        elif isinstance(event, Advanced):
            used = entities.system_metrics(event.usage)
            for report in event.reports:
                self._read_report(report, at_ms)
                self._shown[report.trial].points += entities.points(used, at_ms, report.epoch)

    def _read_metrics(self, number: int, epoch: int, metrics: Mapping[str, float | None], at_ms: int) -> None:
        shown = self._shown.setdefault(number, _Shown(at_ms, at_ms))
        if epoch <= shown.epoch:
            return
        shown.epoch, shown.last_ms = epoch, at_ms
        shown.names |= metrics.keys()
        shown.points += entities.points(metrics, at_ms, epoch)
        curves = self._curves.setdefault(number, {})
        for name in self._metrics & metrics.keys():
            curves.setdefault(name, []).append((epoch, metrics[name]))

    def _read_report(self, report: Report, at_ms: int) -> None:
        shown = self._shown.setdefault(report.trial, _Shown(at_ms, at_ms))
        shown.last_ms = at_ms
        others: dict[str, float | None] = {
            name: value for name, value in report.metrics.items() if name not in shown.names
        }
        if report.ending in ("until", "patience", "returned") and report.epoch > shown.rung:
            shown.rung = report.epoch
            others |= self._objective(report.values) | {"best_epoch": float(report.best_epoch)}
        shown.points += entities.points(others, at_ms, report.epoch)

    def _begin(self, shown: _Shown, trial: Trial) -> None:
        """Finds or makes the run of a trial, and gives it what never changes."""
        found = self._found.pop(trial.number, None)
        if found is not None:
            shown.run_id, shown.tags = found.info.run_id, found.data.tags
            ended = shown.tags.get("state") in entities.RUN_STATUS
            is_child = shown.tags.get("mlflow.parentRunId") == self._parent
            shown.is_over = ended and found.info.status != "RUNNING" and is_child
            self.num_over += shown.is_over
        else:
            tags = self._common_tags() | {"podium.trial": str(trial.number)}
            shown.tags = self._tags(trial)
            name = entities.run_name(self._spec, trial.number)
            shown.run_id = self._create_run(shown.begun_ms, {**tags, **shown.tags}, name)
        if not shown.is_over:
            self._log_inputs(shown.run_id)
            shown.params = {**trial.parameters, "seed": trial.seed}

    def _show(self, shown: _Shown, trial: Trial) -> None:
        """Brings one run up to date."""
        if not shown.is_over:
            points, tags = shown.points, self._tags(trial)
            if trial.state.is_ended:
                spent = entities.spending(trial.device_s, trial.spent, wasted(trial))
                if trial.efficiency is not None:
                    spent["scaling_efficiency"] = trial.efficiency
                points += entities.points(spent, shown.last_ms, trial.epoch)
            self._client.log_batch(
                shown.run_id,
                metrics=entities.to_metrics(points),
                params=entities.to_params(shown.params),
                tags=entities.to_tags(dict(tags.items() - shown.tags.items())),
            )
            shown.tags, shown.params = tags, {}
            if trial.state.is_ended:
                self._end(shown, trial)
        shown.trial, shown.points = trial, []

    def _end(self, shown: _Shown, trial: Trial) -> None:
        has_log = False
        for path in self._files(trial.number):
            if path.is_dir():
                self._client.log_artifacts(shown.run_id, str(path))
            elif path.is_file() and path.stat().st_size:
                self._client.log_artifact(shown.run_id, str(path))
                has_log = True
        if trial.log_tail and not has_log:
            self._client.log_text(shown.run_id, trial.log_tail, "log_tail.txt")
        self._client.set_terminated(shown.run_id, entities.RUN_STATUS[trial.state], shown.last_ms)
        shown.is_over = True
        self.num_over += 1

    def _log_inputs(self, run_id: str) -> None:
        if self._dataset:
            self._client.log_inputs(run_id, self._dataset)

    def _tags(self, trial: Trial) -> dict[str, str]:
        note = notes.trial(self._spec, trial, self._experiment, self._parent)
        return entities.trial_tags(trial) | {"mlflow.parentRunId": self._parent, notes.KEY: note}

    def _objective(self, values: Sequence[float | None]) -> dict[str, float | None]:
        return dict(zip(self._objectives, values, strict=True)) if values else {}

    def _common_tags(self) -> dict[str, str]:
        return {
            **self._spec.tags,
            "podium.sweep": self._spec.sweep,
            "podium.sweep_id": self._identity,
            "mlflow.user": user(),
            "mlflow.source.name": "podium",
            "mlflow.source.type": "LOCAL",
        }
