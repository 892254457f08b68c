"""Code that is not what was launched is not run."""

import importlib.util
import os
import py_compile
import sys
from pathlib import Path

import pytest

from podium.errors import TaskError
from podium.training.code import load
from podium.training.sources import digest_of, read_sources, require_digest

EVIL = "from pathlib import Path\nPath({marker!r}).touch()\nvalue = 'evil'\n"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder whose task imports what lies beside it."""
    folder = tmp_path / "code"
    (folder / "lib").mkdir(parents=True)
    (folder / "task.py").write_text("from helper import value\nfrom lib.deep import depth\n")
    (folder / "helper.py").write_text("value = 'good'\n")
    (folder / "lib" / "deep.py").write_text("depth = 2\n")
    return folder


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was-run"


def evil(marker: Path) -> str:
    return EVIL.format(marker=str(marker))


def test_code_with_its_digest_is_imported_with_what_lies_beside_it(code: Path) -> None:
    require_digest(code, digest_of(read_sources(code)))
    assert load("task.py:value", code) == "good"
    assert load("task.py:depth", code) == 2


@pytest.mark.parametrize("change", ["altered", "added", "removed", "renamed"])
def test_changed_code_is_refused_before_any_of_it_is_run(change: str, code: Path, marker: Path) -> None:
    digest = digest_of(read_sources(code))
    if change == "altered":
        (code / "helper.py").write_text(evil(marker))
    elif change == "added":
        (code / "lib" / "__init__.py").write_text(evil(marker))
    elif change == "removed":
        (code / "lib" / "deep.py").unlink()
    else:
        (code / "helper.py").rename(code / "json.py")
    with pytest.raises(
        TaskError, match=r"is not what was launched: .* Nothing of it was run\. .* launch the sweep again"
    ):
        require_digest(code, digest)
    assert not marker.exists()


def test_what_is_changed_after_the_look_is_not_run(code: Path, marker: Path) -> None:
    require_digest(code, digest_of(read_sources(code)))
    for file in ("task.py", "helper.py"):
        (code / file).write_text(evil(marker))
    assert load("task.py:value", code) == "good"
    assert not marker.exists()


def test_byte_code_beside_the_code_is_not_run(code: Path, marker: Path, tmp_path: Path) -> None:
    """Python itself would prefer it, as long as it names the source's size and time."""
    helper = code / "helper.py"
    source = evil(marker)
    helper.write_text(f"value = 'good'{'#' * (len(source) - len('value = .good.'))}")
    (tmp_path / "evil.py").write_text(source)
    os.utime(tmp_path / "evil.py", (helper.stat().st_atime, helper.stat().st_mtime))
    py_compile.compile(str(tmp_path / "evil.py"), importlib.util.cache_from_source(str(helper)))
    py_compile.compile(str(tmp_path / "evil.py"), str(code / "planted.pyc"))
    (code / "task.py").write_text("from helper import value\ntry:\n    import planted\nexcept ImportError:\n    pass\n")

    require_digest(code, digest_of(read_sources(code)))
    assert load("task.py:value", code) == "good"
    assert not marker.exists()

    sys.path.insert(0, str(code))
    try:
        spec = importlib.util.find_spec("planted")
        assert spec is not None, "Python would import it from there"
    finally:
        sys.path.remove(str(code))
