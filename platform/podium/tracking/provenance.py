"""Provenance: which code, machine and packages a sweep comes from. Imports no MLflow and no torch."""

import getpass
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podium.masking import mask, without_logins

PACKAGES = (
    "podium",
    "torch",
    "ray",
    "optuna",
    "cmaes",
    "scipy",
    "mlflow",
    "dask",
    "pyarrow",
    "numpy",
    "pandas",
    "pydantic",
    "sqlalchemy",
    "safetensors",
    "scikit-learn",
)
"""Those whose versions can change a result; what else is installed hardly does."""

DIFF_LIMIT = 200_000
"""Characters of uncommitted changes that are kept."""

ORIGIN = ".podium-origin.json"
"""The file that tells of a folder which was submitted from elsewhere where it lay there."""

USER = "PODIUM_USER"
"""Names in the environment who submitted from elsewhere what this process does."""

_SECRET = re.compile(r"(?i)(token|password|passwd|secret|credential|api_?key|access_?key)")


def provenance(folder: Path, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Where a result comes from, as plain data.

    Values of environment variables are never read into it, and secrets in the command line and in changes are masked.

    Args:
        folder: The folder of the sweep file; its git repository, if any, is described.
        command: The command line; this process's own if absent.

    Returns:
        `git` (`commit`, `branch`, `dirty`, `diff`; empty outside of a repository), `folder` (where the sweep file
        lies), `host` (the machine that has it, if it was submitted from there), `user`, `podium`, `source` (the digest
        of Podium's own code), `python`, `platform`, `hardware` (`processor`, `cores`, `memory_bytes`, `gpus`),
        `packages` (versions of all that is installed) and `command`.
    """
    installed = packages()
    return {
        **(_submitted(folder) or origin(folder)),
        "user": user(),
        "podium": installed.get("podium", ""),
        "source": _source_digest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": _gpus(),
        },
        "packages": installed,
        "command": masked(sys.argv if command is None else command),
    }


def origin(folder: Path) -> dict[str, Any]:
    """Where a folder lies and which commit it is at: `git` and `folder` of its provenance."""
    return {"git": _git(folder), "folder": str(folder.resolve())}


def user() -> str:
    """Who runs this process, or submitted from elsewhere what it does."""
    return os.environ.get(USER) or getpass.getuser()


def masked(command: Sequence[str]) -> list[str]:
    """A command line without its secrets: values of telling names, and logins within addresses."""
    shown: list[str] = []
    hide_next = False
    for word in command:
        name, equals, _ = word.partition("=")
        if hide_next:
            shown.append("***")
        elif equals and _SECRET.search(name):
            shown.append(f"{name}=***")
        else:
            shown.append(without_logins(word))
        hide_next = not hide_next and not equals and word.startswith("-") and bool(_SECRET.search(word))
    return shown


def packages() -> dict[str, str]:
    """By name the versions of everything that is installed, read off the names of folders, which takes no time."""
    found: dict[str, str] = {}
    for entry in sys.path:
        for path in sorted(Path(entry or ".").glob("*.dist-info")):
            name, _, version = path.stem.partition("-")
            found.setdefault(normalized(name), version)
    return found


def normalized(name: str) -> str:
    """A package's name as all ledgers agree on it."""
    return name.replace("_", "-").lower()


def _source_digest() -> str:
    """Of Podium's own code, which a version's number does not tell from what was changed since."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """The model of the processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def _submitted(folder: Path) -> dict[str, Any]:
    """The origin of a folder that was submitted from elsewhere; empty for another."""
    try:
        told: dict[str, Any] = json.loads((folder / ORIGIN).read_text())
    except (OSError, ValueError):
        return {}
    return told


def _git(folder: Path) -> Mapping[str, Any]:
    status = _run("git", "-C", str(folder), "status", "--porcelain=v2", "--branch")
    if status is None:
        return {}
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    diff = mask(_run("git", "-C", str(folder), "diff", "--no-ext-diff", "--no-color", "HEAD") or "")
    if len(diff) > DIFF_LIMIT:
        diff = f"{diff[:DIFF_LIMIT]}\n... {len(diff) - DIFF_LIMIT} more characters\n"
    return {
        "commit": heads.get("branch.oid", ""),
        "branch": heads.get("branch.head", ""),
        "dirty": any(not line.startswith("#") for line in lines),
        "diff": diff,
    }


def _gpus() -> list[str]:
    listed = _run("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return (listed or "").splitlines()


def _run(*command: str) -> str | None:
    """What a program prints, or None if it is not there, fails, or takes more than five seconds."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603
            [program, *command[1:]], capture_output=True, timeout=5, check=True, encoding="utf-8", errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
