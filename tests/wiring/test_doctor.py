"""The doctor's findings."""

from pathlib import Path

import pytest
from wiring_cases import podium

from podium.wiring import doctor
from podium.wiring.findings import tried
from podium.wiring.place import Place


def place(home: Path, cluster: str = "inline", tracking_uri: str | None = None) -> Place:
    return Place.of(home, tracking_uri=tracking_uri, cluster=cluster)


def test_a_sound_machine_has_no_complaint(tmp_path: Path) -> None:
    outcome = podium(tmp_path, "doctor", "--cluster", "inline", "--home", "home", "--json")
    assert outcome.code == 0, outcome.output
    findings = {finding["what"]: finding for finding in outcome.json["findings"]}
    assert list(findings) == ["Python", "packages", "home", "ledger", "devices", "MLflow", "Ray"]
    assert all(finding["is_well"] for finding in findings.values())
    assert "torch 2." in findings["packages"]["found"]
    assert str(tmp_path / "home") in findings["home"]["found"]
    assert findings["ledger"]["found"] == "0 sweeps"


def test_every_complaint_is_listed_and_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.db").write_text("no database " * 100)
    outcome = podium(
        tmp_path, "doctor", "--cluster", "inline", "--home", "home", "--tracking-uri", "http://127.0.0.1:9", "--json"
    )
    assert outcome.code == 1
    wrong = {finding["what"]: finding["found"] for finding in outcome.json["findings"] if not finding["is_well"]}
    assert set(wrong) == {"ledger", "MLflow"}
    assert "cannot be read as a ledger" in wrong["ledger"]
    assert "no MLflow server answers at http://127.0.0.1:9" in wrong["MLflow"]
    assert all("\n" not in found for found in wrong.values())
    assert "Traceback" not in outcome.problems


def test_a_home_that_is_a_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    finding = tried("home", lambda: doctor.writable(place(tmp_path / "home")))
    assert not finding.is_well
    assert "File exists" in finding.found


def test_a_full_disk_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK_GB", 10**9)
    finding = tried("home", lambda: doctor.writable(place(tmp_path)))
    assert not finding.is_well
    assert "1000000000 GB are the least" in finding.found


@pytest.mark.ray
def test_ray_is_started_and_ended_again(tmp_path: Path) -> None:
    outcome = podium(tmp_path, "doctor", "--home", "home", "--json")
    (ray,) = [finding for finding in outcome.json["findings"] if finding["what"] == "Ray"]
    assert ray["is_well"], ray
    assert "CPUs" in ray["found"]
