"""The folder `platform/` must not shadow the standard library's module of that name."""

import subprocess
import sys

import pytest


def test_the_folder_is_no_package(root):
    assert (root / "platform" / "podium" / "__init__.py").parent.is_dir()
    assert not (root / "platform" / "__init__.py").exists()


@pytest.mark.parametrize("folder", [".", "platform", "tests"])
def test_the_standard_librarys_platform_wins(root, folder):
    """With `python -c` the working directory comes first on the path."""
    script = "import platform; print(platform.__file__, platform.system())"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=root / folder, capture_output=True, text=True, check=True
    ).stdout
    file, system = shown.split()
    assert not file.startswith(str(root / "platform"))
    assert system


def test_pytest_as_a_module_starts_in_the_root(root):
    """`python -m pytest` puts the working directory on the path before anything is imported."""
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "--version"], cwd=root, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("pytest")


def test_every_built_in_task_may_stand_in_a_sweep_file():
    from podium.spec.sweep import BUILT_IN_TASKS
    from podium.training.tasks import TASKS

    assert set(BUILT_IN_TASKS) == set(TASKS)
