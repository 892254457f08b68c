"""Training: the user's own code, loaded from the folder that holds it."""

import difflib
import hashlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from podium.errors import TaskError, UserError

_entered: list[tuple[Path, str]] = []
"""The code folder on `sys.path`, with its content's digest: a process works for one sweep at a time."""

_importing = threading.Lock()
"""A module is on `sys.modules` before it is whole; preflight and a worker may load the same one at once."""


def load(reference: str, folder: Path) -> Any:
    """The object that `file.py:name` refers to.

    The file's neighbours can be imported by their plain names. Code that has changed since is loaded anew.

    Raises:
        TaskError: naming file and line if the code cannot be imported, or the nearest name if there is none such.
    """
    file, _, name = reference.partition(":")
    path = folder / file
    if not path.is_file():
        there = ", ".join(sorted(each.name for each in folder.glob("*.py"))) or "no Python file"
        raise TaskError(f"the task {reference!r} is in no file {file!r} of {folder}; there is {there}")
    with _importing:
        module = _import(path, _enter(folder.resolve()))
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        nearest = difflib.get_close_matches(name, public, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise TaskError(f"{file} has nothing named {name!r}{hint}")
    return getattr(module, name)


def run(function: Callable[..., Any], reference: str, folder: Path, *arguments: Any) -> Any:
    """What a function of the user's returns; `reference` says where it was loaded from.

    Raises:
        TaskError: naming file and line, if it raises anything that Podium does not know.
    """
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:
        place = _where(error, folder.resolve() / reference.partition(":")[0])
        raise TaskError(f"{place}: {reference} failed: {type(error).__name__}: {error}") from error


def _import(path: Path, digest: str) -> ModuleType:
    name = f"podium_user_{digest[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TaskError(f"{_where(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _where(error: Exception, path: Path) -> str:
    """File and line of the user's code where an import broke off; what is imported is a copy, so no folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == path.parent
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else path.name


def _enter(folder: Path) -> str:
    """Makes the folder's modules importable, instead of those of the folder before; returns the code's digest."""
    digest = hashlib.blake2b(str(folder).encode())
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    current = (folder, digest.hexdigest())
    if current not in _entered:
        for left, _ in _entered:
            _leave(left)
        _entered[:] = [current]
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    return current[1]


def _leave(folder: Path) -> None:
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).is_relative_to(folder):
            del sys.modules[name]
