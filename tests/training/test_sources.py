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

    sys.path.insert(0, str(code))
    try:
        spec = importlib.util.find_spec("planted")
        assert spec is not None, "Python would import it from there"
    finally:
        sys.path.remove(str(code))

    require_digest(code, digest_of(read_sources(code)))
    assert load("task.py:value", code) == "good"
    assert importlib.util.find_spec("planted") is None
    assert not marker.exists()


def checked(folder: Path, files: dict[str, str]) -> Path:
    """A folder with these files, as a worker has it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    require_digest(folder, digest_of(read_sources(folder)))
    return folder


def test_a_subfolder_hides_no_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = "import tomlkit, tomlkit.items\nvalue = tomlkit.parse('a = 1')['a']\n"
    folder = checked(tmp_path, {"tomlkit/prepare.py": "", "tomlkit/items.py": "", "task.py": task})
    for name in [each for each in sys.modules if each.partition(".")[0] == "tomlkit"]:
        monkeypatch.delitem(sys.modules, name)
    assert load("task.py:value", folder) == 1


def test_a_module_comes_before_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "wsgiref"]:  # other tests import it
        monkeypatch.delitem(sys.modules, name)
    folder = checked(tmp_path, {"wsgiref.py": "value = 'own'", "task.py": "from wsgiref import value\n"})
    assert load("task.py:value", folder) == "own"


TASK = """\
import importlib.resources, inspect, pickle, pkgutil
from pathlib import Path
import nets
listed = sorted((each.name, each.ispkg) for each in pkgutil.iter_modules(nets.__path__))
source = inspect.getsource(nets.Small)
same = pickle.loads(pickle.dumps(nets.Small)) is nets.Small
def beside():
    return [
        (Path(__file__).parent / "notes.txt").read_text(),
        importlib.resources.files(nets).joinpath("notes.txt").read_text(),
        pkgutil.get_data("nets", "notes.txt").decode(),
    ]
"""
SMALL = "class Small:\n    size = 4\n"


def test_packages_work_as_they_do_elsewhere(tmp_path: Path) -> None:
    """Relative imports, pickles, sources, lists of modules, and what lies beside a file."""
    nets = {"__init__.py": "from .small import Small\n", "small.py": SMALL, "deep/__init__.py": "", "data/no.py": ""}
    folder = checked(tmp_path, {"task.py": TASK} | {f"nets/{name}": text for name, text in nets.items()})
    for each in (folder, folder / "nets"):
        (each / "notes.txt").write_text("a note")
    assert load("task.py:listed", folder) == [("deep", True), ("small", False)]
    assert load("task.py:source", folder) == SMALL
    assert load("task.py:same", folder) is True
    assert load("task.py:beside", folder)() == ["a note"] * 3


SPAWNING = """\
import multiprocessing
from helper import touch
def spawn(path):
    process = multiprocessing.get_context("spawn").Process(target=touch, args=(path,))
    process.start()
    process.join()
"""


def test_a_spawned_process_finds_what_lies_beside_the_code(tmp_path: Path, marker: Path) -> None:
    helper = "from pathlib import Path\ndef touch(path):\n    Path(path).touch()\n"
    load("task.py:spawn", checked(tmp_path / "code", {"helper.py": helper, "task.py": SPAWNING}))(str(marker))
    assert marker.exists()


def test_the_next_code_finds_nothing_of_the_last(tmp_path: Path) -> None:
    first = {"lib/deep/helper.py": "value = 1", "task.py": "from lib.deep.helper import value\n"}
    load("task.py:value", checked(tmp_path / "one", first))
    second = checked(tmp_path / "two", {"lib/deep.py": "", "task.py": "import lib.deep\nimport lib.deep.helper\n"})
    with pytest.raises(TaskError, match=r"task\.py:2: ModuleNotFoundError: No module named 'lib\.deep\.helper'"):
        load("task.py:value", second)
    assert str(tmp_path / "one") not in sys.path


def test_an_environment_inside_a_users_folder_stays_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extension modules too, which are no sources; byte code stands for them."""
    packages = tmp_path / "venv" / "packages"
    packages.mkdir(parents=True)
    (tmp_path / "native.txt").write_text("value = 3")
    py_compile.compile(str(tmp_path / "native.txt"), str(packages / "native_of_venv.pyc"))
    (tmp_path / "task.py").write_text("from native_of_venv import value\n")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setattr("podium.training.sources._installed", (packages,))
    assert load("task.py:value", tmp_path) == 3


def test_a_folder_whose_name_ends_like_a_files_is_no_file(tmp_path: Path) -> None:
    folder = checked(tmp_path, {"task.py": "value = 1", "parts.py/deep.py": ""})
    assert list(read_sources(folder)) == ["parts.py/deep.py", "task.py"]
    assert load("task.py:value", folder) == 1
