"""The alias `champion` in MLflow's registry, and the versions that can have it."""

from collections.abc import Mapping
from pathlib import Path

from podium.registry.client import connect

CHAMPION = "champion"

ARTIFACTS = "promotion"
"""The folder of a run's artifacts with what a promotion found of its model."""


def champion(tracking_uri: str, name: str) -> str:
    """The version that has the alias; empty if none has it, or there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        return str(connect(tracking_uri).get_registered_model(name).aliases.get(CHAMPION, ""))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ""


def crown(tracking_uri: str, name: str, version: str) -> None:
    """Gives the alias to a version; whoever asks for the champion meanwhile gets the old or the new one."""
    connect(tracking_uri).set_registered_model_alias(name, CHAMPION, version)


def has_version(tracking_uri: str, name: str, version: str) -> bool:
    """Whether a model has that version; none has an empty one."""
    if not version:
        return False
    found = connect(tracking_uri).search_model_versions(f"name = '{name}'")
    return version in (str(each.version) for each in found)


def tags_of(tracking_uri: str, name: str, version: str) -> dict[str, str]:
    """The tags of a version."""
    return dict(connect(tracking_uri).get_model_version(name, version).tags)


def attach(tracking_uri: str, name: str, version: str, folder: Path) -> None:
    """Keeps the files of a folder beside a version: under `promotion` among the artifacts of its run."""
    client = connect(tracking_uri)
    client.log_artifacts(str(client.get_model_version(name, version).run_id), str(folder), ARTIFACTS)


def card_of(tracking_uri: str, name: str, version: str) -> str:
    """Where the card of a version is: a file, or an address."""
    client = connect(tracking_uri)
    run = client.get_run(str(client.get_model_version(name, version).run_id))
    return f"{run.info.artifact_uri.removeprefix('file://')}/{ARTIFACTS}/card.html"


def describe(tracking_uri: str, name: str, version: str, tags: Mapping[str, str], description: str) -> None:
    """Writes what a promotion found to a version: tags, and a description in Markdown of up to 5,000 characters."""
    client = connect(tracking_uri)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    client.update_model_version(name, version, description)
