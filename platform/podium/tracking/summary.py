"""What a sweep's parent run keeps in tables and files."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Launched
from podium.sweep.spending import figures, wasted
from podium.sweep.trial import Trial
from podium.tracking.entities import objective_names


def write_origin(folder: Path, spec: SweepSpec, launched: Launched, manifest: Mapping[str, Any] | None) -> None:
    """Writes what a sweep started from: its file, where it comes from, uncommitted changes, and the data manifest."""
    text = launched.text or json.dumps(spec.model_dump(mode="json", exclude_unset=True), indent=2)
    (folder / "sweep.yaml").write_text(text)
    git = dict(launched.provenance.get("git", {}))
    diff = git.pop("diff", "")
    digests = {"sweep": hashlib.sha256(text.encode()).hexdigest(), "code": launched.code, "data": launched.data}
    _write_json(folder / "provenance.json", {**launched.provenance, "git": git, "digests": digests})
    pins = (f"{name}=={version}\n" for name, version in launched.provenance.get("packages", {}).items())
    (folder / "requirements.txt").write_text("".join(pins))
    if diff:
        (folder / "code.diff").write_text(diff)
    if manifest is not None:
        _write_json(folder / "manifest.json", manifest)


def rows(spec: SweepSpec, trials: Mapping[int, Trial], runs: Mapping[int, str]) -> list[dict[str, Any]]:
    """One flat row a trial, in the order of their numbers; inactive parameters are None."""
    objectives = objective_names(spec.search.objectives)
    return [
        {
            "trial": number,
            "run_id": runs.get(number, ""),
            "state": str(trial.state),
            "reason": trial.reason,
            "rung": trial.rung,
            "epoch": trial.epoch,
            **dict(zip(objectives, trial.last_values or (None,) * len(objectives), strict=True)),
            "best_epoch": trial.best_epoch,
            "device_s": trial.device_s,
            **figures(trial.spent, wasted(trial)),
            "seed": trial.seed,
            **{name: trial.parameters.get(name) for name in spec.search.space},
        }
        for number, trial in sorted(trials.items())
    ]


def write_table(folder: Path, spec: SweepSpec, trials: Mapping[int, Trial], runs: Mapping[int, str]) -> None:
    """Writes `rows` as `trials.csv` and `trials.json`."""
    table = rows(spec, trials, runs)
    _write_json(folder / "trials.json", table)
    if table:
        with (folder / "trials.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(table[0]))
            writer.writeheader()
            writer.writerows(table)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
