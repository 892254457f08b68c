"""The house's arrows: the contracts of `[tool.importlinter]` in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path


def test_imports_point_one_way(root):
    lint = Path(sys.executable).with_name("lint-imports")
    shown = subprocess.run(
        [lint, "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
