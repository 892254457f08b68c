"""The files for Ray's cluster launcher: whether Ray takes them, and what they would start. No cloud is asked."""

import copy
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from podium.wiring.place import Place

FOLDER = Path(__file__).resolve().parents[2] / "cluster" / "cloud"
CLOUDS = ["aws", "azure", "gcp"]
SHARED = ["file_mounts", "initialization_commands", "worker_setup_commands", "worker_start_ray_commands",
          "head_start_ray_commands"]  # fmt: skip

Document = dict[str, Any]


def read(cloud: str) -> Document:
    return yaml.safe_load((FOLDER / f"{cloud}.yaml").read_text())


@pytest.fixture(params=CLOUDS)
def settings(request: pytest.FixtureRequest) -> Document:
    return read(request.param)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    text = (Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text()
    return jsonschema.Draft7Validator(json.loads(text))


def test_ray_accepts_it(settings: Document, schema: jsonschema.Draft7Validator) -> None:
    schema.validate(settings)
    filled = prepare_config(copy.deepcopy(settings))
    validate_config(filled)
    assert filled["available_node_types"]["head"]["max_workers"] == 0
    assert filled["available_node_types"].keys() == settings["available_node_types"].keys()


def test_misspelt_fields_are_refused(schema: jsonschema.Draft7Validator) -> None:
    wrong = read("aws")
    wrong["idle_timout_minutes"] = wrong.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timout_minutes"):
        schema.validate(wrong)
    wrong = read("aws")
    wrong["available_node_types"]["gpu"]["max_wokers"] = 1
    with pytest.raises(jsonschema.ValidationError, match="max_wokers"):
        schema.validate(wrong)


def is_spot(node: Document) -> bool:
    """Whether the cloud may take such a node back, in the words of any of the clouds."""
    settings = node["node_config"]
    return (
        settings.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        or settings.get("scheduling", {}).get("provisioningModel") == "SPOT"
        or settings.get("azure_arm_parameters", {}).get("priority") == "Spot"
    )


def test_kinds_of_nodes(settings: Document) -> None:
    nodes = settings["available_node_types"]
    assert sorted(nodes) == ["cpu", "cpu-spot", "gpu", "gpu-spot", "head"]
    assert settings["idle_timeout_minutes"] <= 10
    head = nodes.pop("head")
    assert head["resources"] == {"CPU": 0}, "no trial on the head"
    assert not is_spot(head)
    for name, node in nodes.items():
        assert node["min_workers"] == 0 < node["max_workers"], "an idle cluster shrinks to its head"
        assert is_spot(node) == name.endswith("-spot")
        assert node["labels"]["ray.io/market-type"] == ("spot" if is_spot(node) else "on-demand")
        assert ("GPU" in node["resources"]) == ("ray.io/accelerator-type" in node["labels"]) == name.startswith("gpu")
        assert disk_gb(node) >= 100, name
    most = sum(node["max_workers"] for node in nodes.values())
    assert settings["max_workers"] <= most


def disk_gb(node: Document) -> int:
    settings = node["node_config"]
    if "azure_arm_parameters" in settings:
        return settings["azure_arm_parameters"]["osDiskSize"]
    if "disks" in settings:
        return settings["disks"][0]["initializeParams"]["diskSizeGb"]
    return settings["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]


def test_the_clouds_differ_in_their_nodes_and_libraries_alone() -> None:
    first, *others = [read(cloud) for cloud in CLOUDS]
    common = len(first["setup_commands"])
    for other in others:
        assert {key: other[key] for key in SHARED} == {key: first[key] for key in SHARED}
        assert other["setup_commands"][:common] == first["setup_commands"]


def commands(settings: Document) -> list[str]:
    return [each for key, listed in settings.items() if key.endswith("_commands") for each in listed]


def test_commands_are_shell(settings: Document) -> None:
    for command in commands(settings):
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_ray_is_started_with_a_token_and_its_dashboard_on_loopback(settings: Document) -> None:
    assert settings["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [settings[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker")]
    assert all(". ~/podium.env && set +a && " in start for start in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "RAY_AUTH_MODE=token" in (FOLDER / "podium.env.example").read_text().splitlines()
    assert any(command.startswith("chmod 600 ~/.ray/auth_token") for command in settings["setup_commands"])
    assert not re.search("AUTH_TOKEN=|PASSWORD", json.dumps(settings)), "the token is a file"


def test_aws_opens_no_port_to_the_world() -> None:
    """Without a group of the user's Ray makes one with port 22 open to everybody."""
    assert all(node["node_config"]["SecurityGroupIds"] for node in read("aws")["available_node_types"].values())


def test_what_is_installed_is_this_podium(settings: Document, root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (install,) = [each for each in settings["setup_commands"] if "podium[" in each]
    extras = re.search(r"podium\[([\w,]+)\]", install)
    assert extras is not None
    assert set(extras[1].split(",")) <= project["optional-dependencies"].keys()
    assert f"podium-{project['version']}-py3-none-any.whl" in install
    assert "--constraint ~/podium-wheel/constraints.txt" in install
    assert any("uv venv --quiet --python 3.11 " in each for each in settings["setup_commands"])


def test_the_environment_is_what_podium_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"set -a && . {FOLDER / 'podium.env.example'} && env"
    said = subprocess.run(["env", "-i", "HOME=/home/ubuntu", "bash", "-c", script], capture_output=True, check=True)
    told = dict(line.split("=", 1) for line in said.stdout.decode().splitlines())
    for name, value in told.items():
        if name.startswith("PODIUM_"):
            monkeypatch.setenv(name, value)
    place = Place.of()
    assert str(place.home) == "/home/ubuntu/podium-home"
    assert place.store == told["PODIUM_STORE"]
    named = re.findall(r"^#? ?(\w+)=", (FOLDER / "podium.env.example").read_text(), re.MULTILINE)
    known = "".join(path.read_text() for path in (FOLDER.parents[1] / "platform").rglob("*.py"))
    assert all(f'"{name}"' in known for name in named if name.startswith("PODIUM_") or name == "MLFLOW_TRACKING_URI")


def test_what_is_made_is_not_committed(root: Path) -> None:
    ignored = (root / ".gitignore").read_text().splitlines()
    assert {"cluster/cloud/podium.env", "cluster/cloud/podium-wheel/"} <= set(ignored)
