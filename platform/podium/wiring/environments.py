"""Virtual environments with the packages that a sweep was launched with."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import podium
from podium.errors import LookupFailed, UserError
from podium.wiring import reproductions
from podium.wiring.launch import Watcher
from podium.wiring.place import Place

TELL_EVERY_S = 2.0
LAST_LINES = 5

ASIDE = ("podium", "pip")
"""Podium is installed by itself, and pip is what installs."""


def reproduce_within(place: Place, run: str | None, sweep: str | None, as_json: bool, watcher: Watcher) -> int:
    """Runs `podium reproduce` in a fresh environment that is gone afterwards; returns its exit code.

    Raises:
        LookupFailed: if there is no such run or sweep, or its ledger does not tell its packages.
        UserError: if one of the versions cannot be had.
    """
    name = sweep if run is None else reproductions.find_run(place, run)[0]
    assert name is not None
    provenance = reproductions.provenance_of(place, name)
    packages = provenance.get("packages", {})
    if not packages:
        raise LookupFailed(f"the ledger of sweep {name!r} does not tell with which packages it was launched")
    if (then := provenance.get("python", "")) != (now := ".".join(map(str, sys.version_info[:3]))):
        watcher.warn(f"Python is {now}, and was {then}; a virtual environment cannot change that")
    with tempfile.TemporaryDirectory(prefix="podium-env-") as folder:
        python = build(Path(folder), packages, watcher)
        words = ["--from-sweep", sweep] if run is None else [run]
        command, environment = place.command("reproduce", *words, *(["--json"] if as_json else []))
        environment.pop("PYTHONPATH", None)
        watcher.stage("Reproducing within it")
        return subprocess.run([str(python), *command[1:]], env=environment, check=False).returncode  # noqa: S603


def build(folder: Path, packages: Mapping[str, str], watcher: Watcher) -> Path:
    """Makes an environment with these versions and this Podium; pip finds them as it is configured.

    Returns:
        Its Python.

    Raises:
        UserError: if one of the versions cannot be had, with pip's own words.
    """
    pins = folder / "requirements.txt"
    pins.write_text("".join(f"{line}\n" for line in requirements(packages)))
    python = folder / "bin" / "python"
    watcher.stage(f"Making a virtual environment with {len(packages)} packages")
    _run([sys.executable, "-m", "venv", str(folder)], watcher)
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    _run([*install, "-r", str(pins)], watcher)
    _run([*install, podium_requirement(packages)], watcher)
    return python


def requirements(packages: Mapping[str, str]) -> list[str]:
    """The pins of all packages but Podium's."""
    return [f"{name}=={version}" for name, version in sorted(packages.items()) if name not in ASIDE]


def podium_requirement(packages: Mapping[str, str]) -> str:
    """The source from which this Podium runs, if there is one; else the version of then."""
    root = Path(podium.__file__).resolve().parents[2]
    return str(root) if (root / "pyproject.toml").is_file() else f"podium=={packages.get('podium', '')}"


def _run(command: list[str], watcher: Watcher) -> None:
    """Runs a program that tells on its output what it collects."""
    lines: list[str] = []
    told = time.monotonic()
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            lines.append(line.strip())
            if line.startswith(("Collecting", "Installing")) and time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                watcher.stage(line.strip()[:80])
    if program.returncode:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-LAST_LINES:]
        raise UserError(
            "the packages of then cannot be installed: "
            + "; ".join(errors[-LAST_LINES:])
            + ". Leave out --env to reproduce with those of now, or have pip find them as it is configured"
        )
