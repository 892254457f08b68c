"""A training function that tells all it knows: no secret of the environment in ledger, runs and logs."""

from pathlib import Path

import pytest
from wiring_cases import podium

SECRET = "hunter2-hunter2"
TELLING = """
import os
import subprocess


def train(trial):
    print(dict(os.environ))
    subprocess.run(["env"])
    trial.report(1, {"score": 1.0})
    raise ValueError(f"cannot log in with {os.environ['TRACKER_PASSWORD']}")
"""


@pytest.mark.ray
@pytest.mark.parametrize("cluster", ["inline", "local"])
def test_no_secret_is_written_down(quick: Path, monkeypatch: pytest.MonkeyPatch, cluster: str) -> None:
    monkeypatch.setenv("TRACKER_PASSWORD", SECRET)
    (quick / "train.py").write_text(TELLING)
    done = podium(quick, "launch", "sweep.yaml", "budget.trials=1", "--cluster", cluster, "--json")
    assert done.code == 0, done.problems
    assert done.json["trials"]["failed"] == 1

    log = (quick / ".podium" / "logs" / "quick" / "trial-00000.log").read_text()
    assert "'TRACKER_PASSWORD': '***'" in log
    assert "cannot log in with ***" in log
    files = [path for path in (quick / ".podium").rglob("*") if path.is_file()]
    assert {"ledger.db", "mlflow.db"} <= {path.name for path in files}
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
