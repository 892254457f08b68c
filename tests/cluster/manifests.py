"""The Kubernetes manifests as rendered, and what they say of pods and of the network between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "cluster" / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())

Document = dict[str, Any]

OPERATOR = {"app.kubernetes.io/component": "kuberay-operator"}


def documents(overlay: str) -> list[Document]:
    """All objects of an overlay, as committed."""
    return list(yaml.load_all((FOLDER / "rendered" / f"{overlay}.yaml").read_text(), yaml.CSafeLoader))


def of_kind(overlay: str, *kinds: str) -> list[Document]:
    return [each for each in documents(overlay) if each["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Document:
    (found,) = [each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name]
    return found


def ray_clusters(overlay: str) -> list[Document]:
    """The specs of Ray clusters, on their own or made by a RayJob."""
    alone = [each["spec"] for each in of_kind(overlay, "RayCluster")]
    return alone + [each["spec"]["rayClusterSpec"] for each in of_kind(overlay, "RayJob")]


@dataclass(frozen=True)
class Pod:
    """A pod that is made of a template: where that stands, and what it says."""

    where: str
    labels: dict[str, str]
    spec: Document
    autoscaler: Document | None = None

    @property
    def containers(self) -> list[Document]:
        """All containers, with the one that KubeRay adds to the head."""
        added = [{"name": "autoscaler", **self.autoscaler}] if self.autoscaler else []
        return [*self.spec["containers"], *self.spec.get("initContainers", []), *added]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]


def pods(overlay: str) -> list[Pod]:
    """Every pod of an overlay."""
    found = [_pod(each["metadata"]["name"], each["spec"]["template"]) for each in of_kind(overlay, *BUILT_IN)]
    for spec in ray_clusters(overlay):
        found.append(_pod("head", spec["headGroupSpec"]["template"], spec["autoscalerOptions"]))
        found += [_pod(group["groupName"], group["template"]) for group in spec["workerGroupSpecs"]]
    return found + [_pod("submitter", each["spec"]["submitterPodTemplate"]) for each in of_kind(overlay, "RayJob")]


BUILT_IN = ("Deployment", "StatefulSet")


def _pod(where: str, template: Document, autoscaler: Document | None = None) -> Pod:
    return Pod(where, template["metadata"]["labels"], template["spec"], autoscaler)


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector is met."""
    wanted = selector.get("matchLabels", {}).items()
    listed = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in listed), "this helper knows no other operator"
    return wanted <= labels.items() and all(labels.get(each["key"]) in each["values"] for each in listed)


def may_talk(overlay: str, source: dict[str, str], target: dict[str, str], port: int) -> bool:
    """Whether the policies let a pod with these labels call another of the same namespace at a port.

    KubeRay's operator is in another namespace, whose policies are not ours.
    """
    leaves = source == OPERATOR or any(_allows(rule, "to", target, port) for rule in _rules(overlay, source, "egress"))
    return leaves and any(_allows(rule, "from", source, port) for rule in _rules(overlay, target, "ingress"))


def _rules(overlay: str, labels: dict[str, str], direction: str) -> Iterator[Document]:
    for policy in of_kind(overlay, "NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], labels):
            yield from policy["spec"].get(direction, [])


def _allows(rule: Document, side: str, labels: dict[str, str], port: int) -> bool:
    is_stranger = labels == OPERATOR
    peers = [
        peer
        for peer in rule[side]
        if "podSelector" in peer
        and selects(peer["podSelector"], labels)
        and is_stranger == ("namespaceSelector" in peer)
    ]
    return bool(peers) and ("ports" not in rule or any(each["port"] == port for each in rule["ports"]))
