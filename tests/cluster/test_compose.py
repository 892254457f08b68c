"""The server with everything: what Compose takes, what is open, who may read what. Nothing is started."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import manifests
import pytest
import yaml
from compose_spec import PyCompose

from podium.spec.running import LimitSettings
from podium.wiring.endpoint import parse
from podium.wiring.place import Place

FOLDER = Path(__file__).resolve().parents[2] / "cluster" / "compose"
ROOT = FOLDER.parents[1]
PUBLISHED = {"head": "127.0.0.1:8265:8265", "tracking": "127.0.0.1:5000:5000", "grafana": "127.0.0.1:3000:3000"}
USER = "1000:1000"


def text() -> str:
    """The file with its one variable filled in."""
    filled, count = re.subn(r"\$\{PODIUM_USER:\?[^}]+\}", USER, (FOLDER / "compose.yaml").read_text())
    assert count == 1
    assert "${" not in filled
    return filled


def whole() -> dict[str, Any]:
    return yaml.load(text(), yaml.CSafeLoader)


def services() -> dict[str, dict[str, Any]]:
    return whole()["services"]


def sources(service: dict[str, Any]) -> list[str]:
    """The names of the secrets of a service."""
    return [each if isinstance(each, str) else each["source"] for each in service.get("secrets", [])]


def test_compose_takes_it() -> None:
    plain = {key: value for key, value in whole().items() if not key.startswith("x-")}  # its parser knows no merge keys
    parsed = PyCompose.from_json(json.dumps(plain))
    parsed.validate()
    assert set(parsed.service_names()) == services().keys()


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ({"healthchek": {"test": ["CMD", "true"]}}, "healthchek"),
        ({"healthcheck": {"test": ["CMD", "true"], "intervall": "3s"}}, "intervall"),
        ({"secrets": ["nobody-made-it"]}, "nobody-made-it"),
        ({"networks": ["nowhere"]}, "nowhere"),
    ],
)
def test_mistakes_are_refused(mistake: dict[str, Any], named: str) -> None:
    wrong = {"services": {"head": {"image": "podium:0.1.0", **mistake}}}
    with pytest.raises(ValueError, match=named):
        PyCompose.from_json(json.dumps(wrong)).validate()


@pytest.mark.parametrize("name", services())
def test_each_service_is_confined(name: str) -> None:
    service = services()[name]
    assert service["user"] == USER
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD", "no shell is needed"
    assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
    assert "privileged" not in service
    assert "network_mode" not in service
    assert any(each.startswith("/tmp:") for each in service["tmpfs"])
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d+\.\d+", tag), f"{service['image']} is not pinned"


def test_ports_are_on_loopback_and_the_back_has_no_way_out() -> None:
    assert {name: each["ports"] for name, each in services().items() if "ports" in each} == {
        name: [port] for name, port in PUBLISHED.items()
    }
    assert {name for name, each in services().items() if "front" in each["networks"]} == PUBLISHED.keys()
    assert all("back" in each["networks"] for each in services().values())
    assert whole()["networks"]["back"]["internal"] is True


def test_secrets_are_files_and_each_service_has_its_own() -> None:
    used = {name: set(sources(service)) for name, service in services().items()}
    of_trials = {"ray-token", "s3-credentials", "pgpass-podium", "mlflow-credentials"}
    assert used == {
        "head": of_trials, "worker": of_trials, "worker-gpu": of_trials,
        "tracking": {"s3-credentials", "pgpass-mlflow"},
        "database": {"database-superuser", "database-podium", "database-mlflow"},
        "s3": {"s3-rpc"}, "targets": {"pgpass-podium"}, "prometheus": {"ray-token"}, "grafana": {"grafana-admin"},
    }  # fmt: skip
    assert set().union(*used.values()) == whole()["secrets"].keys()
    for service in services().values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN|_KEY", key) or value.startswith("/run/secrets/"), key
            assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", value), key


def as_user(folder: Path) -> list[str]:
    """How to run the script as one who is not root."""
    if os.geteuid():
        return []
    if shutil.which("runuser") is None:
        pytest.skip("secrets.sh is not for root, and there is no runuser")
    shutil.chown(folder, "nobody")
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["runuser", "-u", "nobody", "--"]


def test_the_script_makes_what_compose_wants(tmp_path: Path) -> None:
    script = shutil.copy(FOLDER / "secrets.sh", tmp_path)
    command = [*as_user(tmp_path), script]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    made = {path: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [*made, tmp_path / "secrets", tmp_path / "state"])
    subprocess.run(command, capture_output=True, check=True)
    assert {path: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made, "a second run changes nothing"

    files = [each["file"] for each in whole()["secrets"].values()]
    files += [file for service in services().values() for file in service.get("env_file", [])]
    folders = [volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])]
    assert all((tmp_path / file).is_file() for file in files)
    assert all((tmp_path / each if "state" in each else FOLDER / each).exists() for each in folders)
    assert re.fullmatch(r"PODIUM_USER=\d+:\d+\n", (tmp_path / ".env").read_text())

    secret = {path.name: content for path, content in made.items()}
    values = [line.split("=")[-1].split(":")[-1].strip() for content in made.values() for line in content.splitlines()]
    assert not [each for each in values if len(each) > 20 and each in said.stdout + said.stderr]
    key = re.fullmatch(
        r"GARAGE_DEFAULT_ACCESS_KEY=(GK[0-9a-f]{24})\nGARAGE_DEFAULT_SECRET_KEY=([0-9a-f]{64})\n"
        r"GARAGE_DEFAULT_BUCKET=podium\n",
        secret["s3.env"],
    )
    assert key is not None
    assert secret["s3-credentials"] == f"[default]\naws_access_key_id={key[1]}\naws_secret_access_key={key[2]}\n"
    assert secret["pgpass-podium"] == f"database:5432:*:podium:{secret['database-podium']}\n"
    assert secret["mlflow-admin"] in secret["mlflow.env"]
    assert secret["mlflow-cluster"] in secret["mlflow-credentials"], "training functions see no admin's password"
    assert secret["mlflow-admin"] not in secret["mlflow-credentials"]


def test_root_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("this is not root")
    script = shutil.copy(FOLDER / "secrets.sh", tmp_path)
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not as root" in done.stderr
    assert not (tmp_path / "secrets").exists()


def test_what_is_made_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {f"cluster/compose/{name}" for name in ("secrets/", "state/", ".env")} <= set(ignored)


def test_the_environment_is_what_podium_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    told = services()["worker"]["environment"]
    assert services()["head"]["environment"] == told
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    place = Place.of()
    assert place.store == told["PODIUM_STORE"]
    assert place.ledger == told["PODIUM_LEDGER"]
    assert place.tracking_uri == told["MLFLOW_TRACKING_URI"]
    assert parse(place.metrics) == ("cluster", 0), (
        "a port that the system gives out: cluster/hosts/firewall.sh closes it"
    )


@pytest.mark.parametrize("name", ["head", "worker", "worker-gpu"])
def test_there_is_time_to_save(name: str) -> None:
    service = services()[name]
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30 + LimitSettings().grace_s + 15


def test_who_is_asked_is_there() -> None:
    """Addresses name services, and ports that those listen to."""
    garage = tomllib.loads((FOLDER / "garage.toml").read_text())
    assert garage["rpc_bind_addr"].startswith("127.0.0.1:")
    assert "admin" not in garage
    port = garage["s3_api"]["api_bind_addr"].rpartition(":")[2]
    told = services()["worker"]["environment"]
    assert told["AWS_ENDPOINT_URL"] == f"http://s3:{port}"
    assert told["AWS_DEFAULT_REGION"] == garage["s3_api"]["s3_region"]
    assert told["MLFLOW_TRACKING_URI"] == "http://tracking:5000"

    head = services()["head"]
    address = head["networks"]["back"]["ipv4_address"]
    assert f"--node-ip-address={address}" in head["command"]
    assert f"--address={address}:6379" in services()["worker"]["command"]

    asked = yaml.safe_load((ROOT / "dashboards" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    discovery = next(each for each in asked if each["job_name"] == "ray")["http_sd_configs"][0]
    assert discovery["url"] == "http://head:8265/api/prometheus/sd"
    assert discovery["authorization"]["credentials_file"] == "/run/secrets/ray-token"
    drivers = next(each for each in asked if each["job_name"] == "podium")["file_sd_configs"][0]
    written = services()["targets"]["command"][services()["targets"]["command"].index("--write") + 1]
    assert [fnmatch(written, pattern) for pattern in drivers["files"]] == [True]
    for name, mode in (("targets", ""), ("prometheus", ":ro")):
        assert f"./state/targets:{Path(written).parent}{mode}" in services()[name]["volumes"]
    assert services()["targets"]["environment"]["PODIUM_LEDGER"] == told["PODIUM_LEDGER"]

    provisioning = ROOT / "dashboards" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "podium.yaml").read_text())["providers"]
    assert f"../../dashboards/grafana/dashboards:{provider['options']['path']}:ro" in services()["grafana"]["volumes"]
    shown = provisioning / "datasources" / "prometheus.yaml"
    assert [each["url"] for each in yaml.safe_load(shown.read_text())["datasources"]] == ["http://prometheus:9090"]


def test_mlflow_is_started_as_on_kubernetes() -> None:
    (container,) = manifests.named("gpu", "Deployment", "tracking")["spec"]["template"]["spec"]["containers"]
    there = [part.replace("$(ARTIFACTS)", "s3://podium/mlflow") for part in container["command"]]
    assert services()["tracking"]["command"] == there
