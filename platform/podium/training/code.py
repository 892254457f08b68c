"""Training: the user's own code, loaded from the folder that holds it."""

import difflib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from podium.errors import TaskError, UserError
from podium.training.sources import Finder, digest_of, sources_of

_entered: list[tuple[Path, str, Finder]] = []
"""The code folder whose modules can be imported, with its digest: a process works for one sweep at a time."""

_importing = threading.Lock()
"""A module is on `sys.modules` before it is whole; preflight and a worker may load the same one at once."""


def load(reference: str, folder: Path) -> Any:
    """The object that `file.py:name` refers to.

    The file's neighbours can be imported by their plain names. Code that has changed since is loaded anew.

    Raises:
        TaskError: naming file and line if the code cannot be imported, or the nearest name if there is none such.
    """
    written, _, name = reference.partition(":")
    file = Path(written)
    with _importing:
        digest, finder = _enter(folder.resolve())
        if file.as_posix() not in finder.sources:
            there = ", ".join(each for each in finder.sources if "/" not in each) or "no Python file"
            raise TaskError(f"the task {reference!r} is in no file {written!r} of {folder}; there is {there}")
        module = _import(file, digest, finder)
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


def _import(file: Path, digest: str, finder: Finder) -> ModuleType:
    name = f"podium_user_{digest[:12]}_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = finder.spec(name, file.as_posix())
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TaskError(f"{_where(error, Path(spec.origin or file))}: {type(error).__name__}: {error}") from error
    return module


def _where(error: Exception, path: Path) -> str:
    """File and line of the user's code where an import broke off; what is imported is a copy, so no folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == path.parent
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else path.name


def _enter(folder: Path) -> tuple[str, Finder]:
    """Makes the folder's modules importable, instead of those of the folder before; returns the code's digest."""
    sources = sources_of(folder)
    digest = digest_of({"": str(folder).encode(), **sources})
    if not _entered or _entered[0][:2] != (folder, digest):
        for _, _, left in _entered:
            left.leave()
        finder = Finder(folder, sources)
        finder.enter()
        _entered[:] = [(folder, digest, finder)]
    return digest, _entered[0][2]
