"""The Dockerfiles. No image is built here: what can be checked without Docker is."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FILES = ["Dockerfile", "Dockerfile.cuda"]


@pytest.fixture(params=FILES)
def dockerfile(request: pytest.FixtureRequest, root: Path) -> str:
    return (root / "cluster" / "docker" / request.param).read_text()


@pytest.mark.parametrize("name", FILES)
def test_lint_finds_nothing(root: Path, name: str) -> None:
    lint = [Path(sys.executable).parent / "hadolint", "--no-color", root / "cluster" / "docker" / name]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:latest\nRUN pip install torch\n")
    lint = [Path(sys.executable).parent / "hadolint", "--no-color", file]
    assert subprocess.run(lint, capture_output=True, check=False).returncode == 1


def test_bases_are_pinned_and_of_one_python(root: Path) -> None:
    """Ray refuses hosts whose Python is of another minor version."""
    bases = {
        base
        for name in FILES
        for base in re.findall(r"^FROM (\S+)", (root / "cluster" / "docker" / name).read_text(), re.MULTILINE)
    }
    assert len(bases) == 1
    found = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-bookworm", bases.pop())
    assert found is not None
    asked = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    assert Requirement(f"python{asked}").specifier.contains(found[1])


def test_nobody_is_root(dockerfile: str) -> None:
    last = dockerfile.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in last
    assert "--uid 10001 " in last
    assert last.index("USER 10001") < last.index("CMD")
    assert "COPY . " not in dockerfile


def test_what_is_installed_exists(dockerfile: str, root: Path) -> None:
    extras = re.findall(r"'\.\[([\w,]+)\]'", dockerfile)
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[0].split(",")) <= known.keys()
    assert all("--constraint constraints.txt" in line for line in dockerfile.splitlines() if "pip install" in line)


def test_both_files_differ_in_torch_alone(root: Path) -> None:
    ends = [(root / "cluster" / "docker" / name).read_text().partition("slim-bookworm\nRUN")[2] for name in FILES]
    cpu, cuda = ([line.rstrip(" \\") for line in end.splitlines()] for end in ends)
    assert [line for line in cuda if line not in cpu] == [
        "    NVIDIA_VISIBLE_DEVICES=all",
        "    NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ]
    assert [line for line in cpu if line not in cuda] == []


def test_the_context_makes_a_whole_package(root: Path, tmp_path: Path) -> None:
    """What .dockerignore lets through and a Dockerfile copies is enough to build the wheel, with all its files."""
    text = (root / "cluster" / "docker" / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--)(.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    ignored = (root / ".dockerignore").read_text().splitlines()
    assert sorted(f"!{name}" for name in copied) == sorted(line for line in ignored if line[0] == "!")
    context = tmp_path / "context"
    context.mkdir()
    for name in copied:
        source, target = root / name, context / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(source, target)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, context]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("hatchling cannot be had here")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(("podium/", "podium_board/"))}
    folders = [root / "platform" / "podium", root / "dashboards" / "podium_board"]
    paths = [(path, folder.parent) for folder in folders for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(parent).as_posix() for path, parent in paths}
    scripts = {f"podium/wiring/clusters/host_scripts/{name}.sh" for name in ("common", "head", "worker")}
    assert packed == {name for name in files if "__pycache__" not in name} | scripts
