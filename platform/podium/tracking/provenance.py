"""Provenance: which code, machine and packages a sweep comes from. Imports no MLflow and no torch."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

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
    "SQLAlchemy",
    "safetensors",
    "scikit-learn",
)
"""The packages whose versions can change a result."""

DIFF_LIMIT = 200_000
"""Characters of uncommitted changes that are kept."""

_SECRET = re.compile(r"(?i)(token|password|passwd|secret|credential|api_?key|access_?key)")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def provenance(folder: Path, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Where a result comes from, as plain data.

    Values of environment variables are never read into it, and secrets in the command line are masked.

    Args:
        folder: The folder of the sweep file; its git repository, if any, is described.
        command: The command line; this process's own if absent.

    Returns:
        `git` (`commit`, `branch`, `dirty`, `diff`; empty outside of a repository), `podium`, `python`,
        `platform`, `hardware` (`cores`, `memory_bytes`, `gpus`), `packages` (versions) and `command`.
    """
    packages = _versions()
    return {
        "git": _git(folder),
        "podium": packages.get("podium", ""),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": _gpus(),
        },
        "packages": packages,
        "command": masked(sys.argv if command is None else command),
    }


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
            shown.append(_LOGIN.sub("***", word))
        hide_next = not hide_next and not equals and word.startswith("-") and bool(_SECRET.search(word))
    return shown


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> Mapping[str, Any]:
    status = _run("git", "-C", str(folder), "status", "--porcelain=v2", "--branch")
    if status is None:
        return {}
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    diff = _run("git", "-C", str(folder), "diff", "--no-ext-diff", "--no-color", "HEAD") or ""
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
