"""What the doctor makes of what hosts tell: each thing that is not well is told with its fix, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest
from wiring_cases import podium_here

from podium.wiring.clusters import reach
from podium.wiring.clusters.diagnosis import OWN, ClusterFacts, Exchange, Skew, judge
from podium.wiring.clusters.facts import PACKAGES, SHARED_MEMORY, Disk, HostFacts, Link

GB = 10**9
LEDGER, MLFLOW = Link("postgresql://podium:***@db/podium", is_own=False), Link("http://mlflow:5000", is_own=False)
HOST = HostFacts(
    python="3.11.7",
    versions=dict.fromkeys(PACKAGES, "2.0"),
    gpus=("H100", "H100"),
    driver="570.1",
    disks=(Disk("/tmp/ray", 80 * GB, 100 * GB), Disk(SHARED_MEMORY, 8 * GB, 16 * GB)),
    ledger=LEDGER,
    tracking=MLFLOW,
)
WELL = ClusterFacts(
    here="head",
    hosts={"head": HOST, "worker": HOST},
    gpus={"head": 2, "worker": 2},
    skews={"head": Skew(0.0, 0.001), "worker": Skew(-0.4, 0.01)},
    ledger=LEDGER,
    tracking=MLFLOW,
    store="s3://bucket/podium",
    exchanges=[Exchange(("head", "worker"), "NCCL", 0.01)],
)


def with_worker(**changes: object) -> ClusterFacts:
    return replace(WELL, hosts={"head": HOST, "worker": replace(HOST, **changes)})


def test_a_sound_cluster_has_no_complaint() -> None:
    findings = judge(WELL)
    assert all(finding.is_well and not finding.fix for finding in findings)
    assert [finding.what for finding in findings] == [
        "hosts",
        "clocks",
        "Python",
        "packages",
        "store",
        "ledger",
        "MLflow",
        "GPUs",
        "disks",
        "ranks",
    ]
    told = {finding.what: finding.found for finding in findings}
    assert told["clocks"] == "at most 0.41 s apart"
    assert told["ranks"].startswith("NCCL between neighbours, 10 ms")


@pytest.mark.parametrize(
    ("facts", "what", "found", "fix"),
    [
        (replace(WELL, skews={"worker": Skew(-9.0, 0.1)}), "clocks", "worker is 9.0 s behind head", "chrony"),
        (replace(WELL, skews={"worker": Skew(3.0, 0.1)}), "clocks", "worker is 3.0 s ahead of head", "NTP"),
        (with_worker(python="3.12.1"), "Python", "3.11.7 on head, 3.12.1 on worker", "install Python 3.11.7"),
        (
            with_worker(versions=HOST.versions | {"numpy": "1.9"}),
            "packages",
            "2.0 on head, 1.9 on worker",
            "pip install numpy==2.0",
        ),
        (with_worker(versions=HOST.versions | {"dask": ""}), "packages", "none on worker", "pip install dask==2.0"),
        (
            replace(WELL, store="/shared", blind={"worker": "does not find what head wrote"}),
            "store",
            "/shared on worker: does not find",
            "mount the same folder on worker",
        ),
        (
            replace(WELL, blind={"worker": "cannot write: NoCredentials"}),
            "store",
            "s3://bucket/podium on worker",
            "set its credentials",
        ),
        (with_worker(ledger=OWN), "ledger", "PODIUM_LEDGER is not set on worker", "before its Ray is started"),
        (
            with_worker(ledger=Link("postgresql://db/b", is_own=False)),
            "ledger",
            "postgresql://db/b on worker",
            "to the same",
        ),
        (
            with_worker(ledger=replace(LEDGER, problem="lets nobody in")),
            "ledger",
            "from worker: lets nobody in",
            "credentials",
        ),
        (
            with_worker(tracking=replace(MLFLOW, problem="no MLflow server answers")),
            "MLflow",
            "from worker: no MLflow",
            "open the way",
        ),
        (
            replace(WELL, tracking=replace(MLFLOW, problem="refuses: 401")),
            "MLflow",
            "from head: refuses: 401",
            "credentials",
        ),
        (with_worker(gpus=()), "GPUs", "worker: Ray counts 2, torch finds 0 (driver 570.1)", "nvidia-smi"),
        (with_worker(driver="560.2"), "GPUs", "570.1 on head, 560.2 on worker", "same driver"),
        (
            with_worker(disks=(Disk("/tmp/ray", GB, 100 * GB),)),
            "disks",
            "worker: /tmp/ray has 1.0 of 100.0 GB left",
            "--temp-dir",
        ),
        (
            with_worker(disks=(Disk(SHARED_MEMORY, 64_000_000, 64_000_000),)),
            "disks",
            "/dev/shm has 0.1 of 0.1 GB",
            "--shm-size",
        ),
        (
            replace(WELL, exchanges=[Exchange(("head", "worker"), problem="did not meet")]),
            "ranks",
            "head and worker do not reach each other: did not meet",
            "NCCL_SOCKET_IFNAME",
        ),
        (
            replace(WELL, silent={"third": "No module named 'podium'"}),
            "host",
            "third: No module",
            "install the same Podium",
        ),
        (replace(WELL, silent={"third": "does not answer in time"}), "host", "third: does not", "worker.sh"),
    ],
)
def test_what_is_not_well_is_told_with_its_fix(facts: ClusterFacts, what: str, found: str, fix: str) -> None:
    (complaint,) = [finding for finding in judge(facts) if not finding.is_well]
    assert complaint.what == what
    assert found in complaint.found
    assert fix in complaint.fix


def test_a_ledger_in_a_file_asks_nothing_of_other_hosts() -> None:
    own = Link("/home/me/ledger.db")
    finding = next(finding for finding in judge(replace(WELL, ledger=own)) if finding.what == "ledger")
    assert finding.is_well
    assert "a file of head" in finding.found


def test_where_nobody_answers_that_is_all() -> None:
    (finding,) = judge(ClusterFacts("", {}, silent={"head": "does not answer in time"}))
    assert not finding.is_well


@pytest.mark.parametrize(
    ("behind_s", "is_well", "found"),
    [(0.0, True, "within a second"), (2.0, True, "within a second"), (60.0, False, "the head is 60 s ahead of")],
)
def test_a_laptop_whose_clock_is_wrong_is_told(behind_s: float, is_well: bool, found: str) -> None:
    (finding,) = reach._clock("Sun, 29 Nov 2026 12:00:00 GMT", 1_795_953_600.5 - behind_s)
    assert finding.is_well is is_well
    assert found in finding.found
    assert bool(finding.fix) is not is_well


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9"])
def test_where_nobody_listens_that_is_all(tmp_path: Path, address: str) -> None:
    outcome = podium_here(tmp_path, "doctor", "--cluster", address, "--home", str(tmp_path), "--json")
    assert outcome.code == 1
    last = outcome.json["findings"][-1]
    assert (last["what"], last["is_well"]) == ("reach", False)
    assert address in last["found"]
    assert "firewalls" in last["fix"]


def test_a_version_that_is_another_one_here_is_told() -> None:
    finding = reach._same("podium", "99.0")
    assert not finding.is_well
    assert finding.fix == "pip install podium==99.0 here"
