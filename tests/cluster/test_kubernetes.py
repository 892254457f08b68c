"""The Kubernetes manifests: what kustomize makes of them, whether Kubernetes and KubeRay take it, how safe it is."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import kubernetes_validate
import manifests
import psycopg
import pytest
import yaml
from manifests import FOLDER, OPERATOR, OVERLAYS, documents, may_talk, named, of_kind, pods, ray_clusters
from postgresql_server import Server, find_binaries

from podium.spec.files import read_sweep
from podium.spec.running import LimitSettings
from podium.wiring.clusters.http import basic
from podium.wiring.code import stage, staged
from podium.wiring.place import Place

KUBERNETES = "1.33"
SECRETS = {"podium-ray-token", "podium-environment", "podium-s3", "podium-mlflow", "podium-database"}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kuberay(real_data: Path) -> dict[str, jsonschema.Draft202012Validator]:
    """By kind what KubeRay's definitions accept; fields that they do not name are refused."""
    folder = real_data.parent / "schemas" / "kuberay"
    if not folder.is_dir():
        pytest.skip(f"KubeRay's definitions are not at {folder}")
    definitions = [yaml.load(path.read_text(), yaml.CSafeLoader)["spec"] for path in folder.glob("*.yaml")]
    return {
        each["names"]["kind"]: jsonschema.Draft202012Validator(
            _closed(each["versions"][0]["schema"]["openAPIV3Schema"], is_root=True)
        )
        for each in definitions
    }


def _closed(schema: Any, *, is_root: bool = False) -> Any:
    """A definition that refuses what it does not name, as the API server does with `--validate=strict`."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if is_root:
        closed["properties"]["metadata"] = {"type": "object"}  # the API server knows it by itself
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        closed["additionalProperties"] = False
    return closed


def test_rendered_text_is_what_kustomize_makes(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    said = subprocess.run([kubectl, "version", "--client"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Kustomize Version: v(\d+)", said)
    if found is None or int(found[1]) < 5:
        pytest.skip(f"kubectl has no kustomize 5: {said}")
    subprocess.run([FOLDER / "render.sh", tmp_path], check=True)
    for name in OVERLAYS:
        made, committed = (folder / f"{name}.yaml" for folder in (tmp_path, FOLDER / "rendered"))
        assert committed.read_text() == made.read_text(), f"run cluster/kubernetes/render.sh for {name}"
    assert sorted(path.stem for path in (FOLDER / "rendered").iterdir()) == OVERLAYS


def test_kubernetes_accepts_it(overlay: str) -> None:
    for document in documents(overlay):
        if document["apiVersion"] != "ray.io/v1":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kuberay_accepts_it(overlay: str, kuberay: dict[str, jsonschema.Draft202012Validator]) -> None:
    found = of_kind(overlay, *kuberay)
    assert len(found) == 1
    for document in found:
        kuberay[document["kind"]].validate(document)


def test_misspelt_fields_are_refused(kuberay: dict[str, jsonschema.Draft202012Validator]) -> None:
    claim, cluster = named("small", "PersistentVolumeClaim", "store"), named("small", "RayCluster", "podium")
    claim["spec"]["acessModes"] = claim["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError, match="acessModes"):
        kubernetes_validate.validate(claim, KUBERNETES, strict=True)
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePulPolicy"):
        kuberay["RayCluster"].validate(cluster)


def test_pods_meet_the_restricted_profile_and_more(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(overlay):
        spec, settings = pod.spec, pod.spec["securityContext"]
        assert settings["runAsNonRoot"] is True, pod.where
        assert settings["runAsUser"] > 0, pod.where
        assert settings["seccompProfile"] == {"type": "RuntimeDefault"}, pod.where
        assert spec["automountServiceAccountToken"] is False, pod.where
        assert spec["enableServiceLinks"] is False, f"{pod.where}: services would set MLFLOW_… and RAY_… variables"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), pod.where
        assert all("hostPath" not in volume for volume in spec["volumes"]), pod.where
        for container in pod.containers:
            where = f"{pod.where}/{container['name']}"
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, where
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], where


def test_only_the_autoscaler_has_a_token_for_kubernetes(overlay: str) -> None:
    for pod in pods(overlay):
        tokens = {volume["name"] for volume in pod.spec["volumes"] if "projected" in volume}
        having = [
            container["name"]
            for container in pod.containers
            if tokens & {mount["name"] for mount in container["volumeMounts"]}
        ]
        assert having == (["autoscaler"] if pod.component == "head" else []), pod.where


def test_mounted_volumes_exist_and_writable_ones_are_bounded(overlay: str) -> None:
    for pod in pods(overlay):
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        claims = {"data"} if pod.component == "database" else set()
        for container in pod.containers:
            for mount in container["volumeMounts"]:
                assert mount["name"] in volumes.keys() | claims, f"{pod.where}/{container['name']}"
        for name, volume in volumes.items():
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], f"{pod.where}: {name}"


def test_resources_probes_and_time_to_save(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            where = f"{pod.where}/{container['name']}"
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), where
            if pod.component in ("database", "tracking"):  # KubeRay adds those of Ray's pods
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), where
        if pod.component in ("head", "worker"):
            needed_s = _drain_s(overlay) + LimitSettings().grace_s + 15
            assert pod.spec["terminationGracePeriodSeconds"] >= needed_s, pod.where


def _drain_s(overlay: str) -> float:
    return float(named(overlay, "ConfigMap", "podium")["data"]["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])


def test_what_must_not_be_moved_has_a_disruption_budget(overlay: str) -> None:
    single = {pod.component for pod in pods(overlay)} & {"head", "database"}
    budgets = {each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: each["spec"]["minAvailable"]
               for each in of_kind(overlay, "PodDisruptionBudget")}  # fmt: skip
    assert budgets == dict.fromkeys(single, 1)


def test_secrets_are_references(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    used = {spec["authOptions"]["secretName"] for spec in ray_clusters(overlay)}
    assert all(spec["authOptions"]["mode"] == "token" for spec in ray_clusters(overlay))
    for pod in pods(overlay):
        used |= {volume["secret"]["secretName"] for volume in pod.spec["volumes"] if "secret" in volume}
        for container in pod.containers:
            sources = container.get("envFrom", [])
            used |= {source["secretRef"]["name"] for source in sources if "secretRef" in source}
            for each in container.get("env", []):
                is_file = each["name"].endswith("_FILE")
                assert is_file or not re.search("PASSWORD|SECRET|TOKEN|_KEY", each["name"]), pod.where
    without = {"podium-database"} if overlay == "external" else set()
    assert used == SECRETS - without
    text = (FOLDER / "rendered" / f"{overlay}.yaml").read_text()
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), "an address holds a password"
    assert not re.search(r"(?i)(password|secret_key|access_key\w*) *[:=] *[^\s:'{$]", text.replace("PASSWORD_FILE", ""))


def test_secrets_that_the_script_makes_are_those_that_are_used(tmp_path: Path) -> None:
    script = FOLDER / "secrets.sh"
    first = subprocess.run([script, tmp_path / "secrets"], check=True, capture_output=True, text=True).stdout
    made = {
        path.relative_to(tmp_path): path.read_text() for path in (tmp_path / "secrets").rglob("*") if path.is_file()
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "secrets").rglob("*"))
    again = subprocess.run([script, tmp_path / "secrets"], check=True, capture_output=True, text=True).stdout
    assert again == first
    assert all((tmp_path / path).read_text() == text for path, text in made.items()), "a second run keeps what is there"
    commands = re.findall(r"kubectl .*create secret generic (\S+) --from-(?:env-)?file=(\S+)", first)
    assert {name for name, _ in commands} == SECRETS
    assert all(Path(path.split("=")[-1]).exists() for name, path in commands if name != "podium-s3")
    assert not [text for text in made.values() if text.split("=")[-1].strip() in first], "the script shows no secret"
    used = {key for key in re.findall(r"^(\w+)=", (tmp_path / "secrets" / "environment").read_text(), re.MULTILINE)}
    assert used == {"PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert (tmp_path / "secrets" / "admin").read_text() not in (tmp_path / "secrets" / "environment").read_text()


def test_the_account_for_runs_is_made_by_the_command_that_the_scripts_print(tmp_path: Path) -> None:
    asked = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

    printed = subprocess.run([FOLDER / "secrets.sh", tmp_path], check=True, capture_output=True, text=True).stdout
    (code,) = re.findall("-- python -c '(.*)' <", printed)
    assert code in (FOLDER.parent / "compose" / "secrets.sh").read_text()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.handle_request, daemon=True).start()
        command = [sys.executable, "-c", code.replace("5000", str(server.server_port))]
        admin, cluster = ((tmp_path / name).read_text() for name in ("admin", "cluster"))
        environment = {**os.environ, "MLFLOW_AUTH_ADMIN_PASSWORD": admin}
        subprocess.run(command, input=cluster, env=environment, text=True, check=True)
    (path, authorization, body) = asked[0]
    assert (path, authorization) == ("/api/2.0/mlflow/users/create", basic("admin", admin))
    assert body == {"username": "cluster", "password": cluster}


def test_images_are_pinned(overlay: str) -> None:
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    for pod in pods(overlay):
        for container in pod.spec["containers"]:
            name, _, tag = container["image"].rpartition(":")
            assert name, f"{pod.where}: {container['image']} has no tag"
            assert tag != "latest"
            assert "podium" not in name or tag == project
    assert all(spec["rayVersion"] == version("ray") for spec in ray_clusters(overlay))


def test_the_environment_is_what_podium_reads(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = named(overlay, "ConfigMap", "podium")["data"]
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    place = Place.of()
    assert str(place.home) == told["PODIUM_HOME"]
    assert place.store == told["PODIUM_STORE"]
    assert place.ledger == told["PODIUM_LEDGER"]
    assert place.tracking_uri == told["MLFLOW_TRACKING_URI"]
    known = "".join(path.read_text() for path in (FOLDER.parents[1] / "platform").rglob("*.py"))
    assert all(f'"{name}"' in known for name in told if name.startswith(("PODIUM_", "MLFLOW_")))


def test_every_pod_is_selected_by_a_policy_of_its_own(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    (default,) = [each["spec"] for each in policies if each["metadata"]["name"] == "default"]
    assert default["podSelector"] == {}
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    own = [each["spec"]["podSelector"] for each in policies if each["spec"]["podSelector"]]
    for pod in pods(overlay):
        assert any(manifests.selects(selector, pod.labels) for selector in own), pod.where


ALLOWED = [
    ("head", "worker", 6380), ("worker", "head", 6379), ("worker", "worker", 10100),
    ("head", "database", 5432), ("worker", "database", 5432), ("tracking", "database", 5432),
    ("head", "tracking", 5000), ("worker", "tracking", 5000),
    ("submitter", "head", 8265), ("kuberay-operator", "head", 8265),
]  # fmt: skip
REFUSED = [
    ("kuberay-operator", "head", 6379), ("kuberay-operator", "worker", 8265), ("kuberay-operator", "database", 5432),
    ("submitter", "head", 6379), ("submitter", "database", 5432), ("submitter", "worker", 10100),
    ("tracking", "head", 8265), ("tracking", "worker", 10100), ("database", "head", 6379),
    ("database", "tracking", 5000), ("head", "tracking", 22), ("worker", "database", 22), ("stranger", "head", 8265),
    ("stranger", "database", 5432),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "port"), ALLOWED)
def test_who_may_call_whom(source: str, target: str, port: int) -> None:
    assert may_talk("sweep", _labels(source), _labels(target), port)


@pytest.mark.parametrize(("source", "target", "port"), REFUSED)
def test_who_may_not_call_whom(source: str, target: str, port: int) -> None:
    assert not may_talk("sweep", _labels(source), _labels(target), port)


def _labels(component: str) -> dict[str, str]:
    return OPERATOR if component == "kuberay-operator" else {"app.kubernetes.io/component": component}


def test_nobody_reaches_the_metadata_of_the_cloud(overlay: str) -> None:
    blocks = [
        peer["ipBlock"]
        for policy in of_kind(overlay, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    wide = [block for block in blocks if block["cidr"] == "0.0.0.0/0"]
    assert wide
    assert all(block["except"] == ["169.254.0.0/16"] for block in wide)


def test_worker_groups() -> None:
    specs = {name: ray_clusters(name)[0]["workerGroupSpecs"] for name in OVERLAYS}
    groups = {name: {group["groupName"]: group for group in found} for name, found in specs.items()}
    assert {name: sorted(found) for name, found in groups.items()} == {
        "small": ["cpu"], "external": ["cpu"], "sweep": ["cpu"],
        "gpu": ["cpu", "gpu"], "spot": ["cpu", "cpu-spot", "gpu", "gpu-spot"],
    }  # fmt: skip
    for group in [group for found in groups.values() for group in found.values()]:
        assert group["minReplicas"] == 0 < group["maxReplicas"], "an idle cluster shrinks to its head"
        spec, labels = group["template"]["spec"], group.get("labels", {})
        is_gpu, is_spot = "gpu" in group["groupName"], "spot" in group["groupName"]
        limits = spec["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == ("ray.io/accelerator-type" in labels) == is_gpu
        assert (labels.get("ray.io/market-type") == "spot") == ("affinity" in spec) == is_spot
        tolerated = {each["key"] for each in spec.get("tolerations", [])}
        assert ("nvidia.com/gpu" in tolerated) == is_gpu
        assert ("cloud.google.com/gke-spot" in tolerated) == is_spot


def test_a_job_makes_the_same_cluster_that_stands_alone() -> None:
    (job,) = of_kind("sweep", "RayJob")
    made, alone = copy.deepcopy(job["spec"]["rayClusterSpec"]), ray_clusters("external")[0]
    head = made["headGroupSpec"]["template"]["spec"]
    assert head["volumes"].pop()["configMap"]["name"] == "sweep"
    folder = head["containers"][0]["volumeMounts"].pop()["mountPath"]
    assert made == alone
    assert not of_kind("sweep", "RayCluster")
    assert job["spec"]["backoffLimit"] > 0
    assert job["spec"]["entrypoint"].startswith(f"podium launch {folder}/sweep.yaml ")


def test_the_sweep_of_the_job_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(named("sweep", "ConfigMap", "sweep")["data"]["sweep.yaml"])
    assert read_sweep(file).spec.sweep == "digits"


def test_a_task_beside_the_sweep_is_found_in_a_mounted_config_map(tmp_path: Path) -> None:
    """Kubernetes mounts it as links into a hidden folder, which is exchanged as a whole."""
    folder, hidden = tmp_path / "sweep", tmp_path / "sweep" / "..2026_11_29"
    hidden.mkdir(parents=True)
    (folder / "..data").symlink_to(hidden.name)
    for name, content in {"sweep.yaml": SWEEP, "task.py": "def train(trial): ..."}.items():
        (hidden / name).write_text(content)
        (folder / name).symlink_to(f"..data/{name}")
    read = read_sweep(folder / "sweep.yaml")
    place = Place.of(home=tmp_path / "home", store=str(tmp_path / "store"))
    copy_of = tmp_path / "store" / staged(stage(read.folder, place))
    assert [path.name for path in copy_of.glob("*.py")] == ["task.py"]


SWEEP = """
sweep: tiny
task: task.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 3, epochs: {min: 1, max: 3}}
"""


def test_roles_and_databases_are_made_as_written(postgresql: Server, tmp_path: Path) -> None:
    """By psql, as PostgreSQL's image does it; under other names, since the server has a role `podium`."""
    tmp_path.chmod(0o755)
    for name in ("podium", "mlflow"):
        (tmp_path / name).write_text(f"{name}'s own")
    script = tmp_path / "databases.sql"
    text = named("small", "ConfigMap", "database")["data"]["databases.sql"]
    text = re.sub(r"(ROLE|OWNER|DATABASE) (\w+)", r"\1 manifest_\2", text)
    script.write_text(text.replace("/run/secrets/database", str(tmp_path)))
    binaries = find_binaries()
    assert binaries is not None
    psql = [binaries / "psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f", script, postgresql.address("postgres")]
    subprocess.run(psql, check=True, capture_output=True)
    own = {"podium": ["podium"], "mlflow": ["mlflow", "mlflow_auth"]}
    for role, databases in own.items():
        for database in ("podium", "mlflow", "mlflow_auth"):
            to = {"host": "127.0.0.1", "port": postgresql.port, "user": f"manifest_{role}", "password": f"{role}'s own"}
            if database in databases:
                with psycopg.connect(dbname=f"manifest_{database}", **to) as connection:
                    connection.execute("create table mine (x int)")
            else:
                with pytest.raises(psycopg.OperationalError, match="permission denied"):
                    psycopg.connect(dbname=f"manifest_{database}", **to)
