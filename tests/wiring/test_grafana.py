"""Grafana's dashboards: written by their description, and understood by Grafana as far as its library can tell."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from podium.drawing.palette import DARK

FOLDER = Path(__file__).resolve().parents[2] / "dashboards" / "grafana"
FILES = sorted((FOLDER / "dashboards").glob("*.json"))


def trees() -> list[Any]:
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in FILES]


def panels(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in tree["panels"] if panel["type"] != "row"]


def test_files_are_what_the_description_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import dashboards

    assert dashboards.texts() == {path.name: path.read_text() for path in FILES}, (
        "python dashboards/grafana/dashboards.py"
    )


def missing(ours: Any, understood: Any, path: str = "") -> list[str]:
    """What of ours is not in what was understood, or is something else there."""
    if isinstance(ours, dict) and isinstance(understood, dict):
        return [each for key in ours for each in missing(ours[key], understood.get(key), f"{path}/{key}")]
    if isinstance(ours, list) and isinstance(understood, list) and len(ours) == len(understood):
        pairs = zip(ours, understood, strict=True)
        return [each for index, pair in enumerate(pairs) for each in missing(*pair, f"{path}/{index}")]
    return [] if ours == understood else [path]


@pytest.mark.parametrize("tree", trees())
def test_grafana_knows_every_key(tree: dict[str, Any]) -> None:
    register_default_plugins()
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(tree)))
    assert missing(tree, understood) == []
    tree["panels"][1]["options"]["legned"] = {}
    assert missing(tree, json.loads(JSONEncoder().encode(Dashboard.from_json(tree)))) == ["/panels/1/options/legned"]


@pytest.mark.parametrize("tree", trees())
def test_panels_say_what_they_show_and_in_which_unit(tree: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert tree["description"]
    assert len({panel["id"] for panel in tree["panels"]}) == len(tree["panels"])
    for panel in panels(tree):
        assert panel["title"]
        assert panel["description"].endswith(".")
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert panel["type"] == "stat" or defaults["custom"]["axisLabel"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": source["type"], "uid": source["uid"]}


@pytest.mark.parametrize("tree", trees())
def test_panels_lie_beside_each_other(tree: dict[str, Any]) -> None:
    taken = [panel["gridPos"] for panel in tree["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in taken)
    for one, other in combinations(taken, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("tree", trees())
def test_states_have_the_colours_that_they_have_everywhere(tree: dict[str, Any]) -> None:
    (panel,) = [panel for panel in panels(tree) if panel["title"] == "Trials by state"]
    given = {
        each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"]
        for each in panel["fieldConfig"]["overrides"]
    }
    assert given == DARK.states
