"""What MLflow is told: tags, parameters, metrics and data sets, in its words and within its limits."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from podium.spec.space import Value
from podium.spec.sweep import Objective, SweepSpec
from podium.sweep.spending import figures
from podium.sweep.trial import Spent, Trial, TrialState

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric, Param, RunTag

RUN_STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.DIVERGED: "FAILED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
}
"""How each ending of a trial is shown; all else is RUNNING."""

SWEEP_STATUS = {"finished": "FINISHED", "exhausted": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
"""How each ending of a sweep is shown; an interrupted one is RUNNING, because it can be resumed."""

REASON_LIMIT = 1000
"""Characters of a reason that a tag shows; the log has the rest."""

_FORBIDDEN = re.compile(r"[^\w\-. :/]")


class Point(NamedTuple):
    """One value of one metric; `at_ms` is the ledger's time, so that the same point is never there twice."""

    name: str
    value: float
    at_ms: int
    step: int


def run_name(spec: SweepSpec, number: int) -> str:
    """The name of a trial's run."""
    return f"{spec.sweep}-{number:04d}"


def trial_tags(trial: Trial) -> dict[str, str]:
    """The tags that follow a trial through its life.

    How it goes is told under plain names, by which people filter and group; how it was trained under `podium.`.
    """
    tags = {"state": str(trial.state), "rung": str(trial.rung)}
    if trial.cohort:
        tags |= {"podium.cohort": trial.cohort, "podium.lane": str(trial.lane), "podium.width": str(trial.width)}
        tags |= {"podium.ranks": str(trial.ranks), "podium.strategy": trial.strategy}
    if trial.reason:
        tags["reason"] = trial.reason[:REASON_LIMIT]
    if trial.verdict and trial.state.is_ended:
        tags["verdict"] = trial.verdict[:REASON_LIMIT]
    if trial.attempts:
        tags["podium.attempts"] = ", ".join(f"{cause} {count}" for cause, count in trial.attempts.items())
    cause = trial.reason.partition(" ")[0]
    if trial.state is TrialState.FAILED and cause in trial.attempts:
        tags["cause"] = cause
    return tags


def system_metrics(usage: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """What each rank used, under the names by which the MLflow UI knows system metrics."""
    return {f"system/rank_{rank}/{name}": value for rank, used in enumerate(usage) for name, value in used.items()}


def spending(device_s: float, spent: Spent, lost: Spent) -> dict[str, float | None]:
    """What training took, as metrics that stand together."""
    return {f"spending/{name}": value for name, value in ({"device_s": device_s} | figures(spent, lost)).items()}


def objective_names(objectives: tuple[Objective, ...]) -> tuple[str, ...]:
    """What the objectives are called beside the metrics they come from: one has the same name in every sweep."""
    return ("objective",) if len(objectives) == 1 else tuple(f"objective/{one.metric}" for one in objectives)


def points(metrics: Mapping[str, float | None], at_ms: int, step: int) -> Iterator[Point]:
    """The points of some metrics at one step; None is shown as not a number."""
    for name, value in metrics.items():
        yield Point(_FORBIDDEN.sub("_", name), math.nan if value is None else value, at_ms, step)


def to_metrics(points: list[Point]) -> "list[Metric]":
    """Points as MLflow takes them."""
    from mlflow.entities import Metric

    return [Metric(point.name, point.value, point.at_ms, point.step) for point in points]


def to_params(values: Mapping[str, Value]) -> "list[Param]":
    """Parameters as MLflow takes them."""
    from mlflow.entities import Param

    return [Param(_FORBIDDEN.sub("_", name), _text(value)) for name, value in values.items()]


def to_tags(tags: Mapping[str, str]) -> "list[RunTag]":
    """Tags as MLflow takes them."""
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in tags.items()]


def to_dataset(manifest: Mapping[str, Any]) -> "DatasetInput":
    """The prepared data as a run's input: the digest names the folder of its shards."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, schema = manifest["source"], manifest["schema"]
    name = source.get("path") or source.get("kind", "data") if isinstance(source, Mapping) else str(source)
    dataset = Dataset(
        name=str(name)[-500:],
        digest=manifest["digest"][:16],
        source_type="podium",
        source=json.dumps({"source": source, "fingerprint": manifest["fingerprint"], "split": manifest["split"]}),
        schema=json.dumps(
            {
                "mlflow_tensorspec": {
                    "features": _tensor(schema["input_dtype"], schema["inputs"]),
                    "targets": _tensor(schema["target_dtype"], schema["targets"]),
                }
            }
        ),
        profile=json.dumps(
            {
                "num_rows": sum(manifest["rows"].values()),
                "rows": manifest["rows"],
                "class_names": schema["class_names"],
            }
        ),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _tensor(dtype: str, shape: list[int]) -> str:
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, *shape]}}])


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
