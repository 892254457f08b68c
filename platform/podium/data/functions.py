"""Functions of the user's that make or change records, from a file beside the sweep file."""

import functools
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from podium.errors import TaskError


@dataclass(frozen=True)
class Function:
    """A function of the user's, which travels with its code to hosts that do not have the file.

    Attributes:
        name: In its file.
        path: Of the file, for tracebacks and for what it imports from beside it.
        code: The file's text.
    """

    name: str
    path: str
    code: str

    def __call__(self, *arguments: Any) -> Any:
        """Calls it."""
        return self.found()(*arguments)

    def found(self) -> Callable[..., Any]:
        """The function itself.

        Raises:
            TaskError: if the file cannot be imported, or has no such function.
        """
        function = getattr(_module(self.path, self.code), self.name, None)
        if not callable(function):
            raise TaskError(f"{self.path} has no function {self.name!r}, which the data settings name")
        found: Callable[..., Any] = function
        return found


def load(reference: str, base: Path) -> Function:
    """The function that `file.py:name` means.

    Raises:
        TaskError: if there is none.
    """
    file, _, name = reference.rpartition(":")
    try:
        code = _read(reference, base).decode()
    except UnicodeDecodeError as error:
        raise TaskError(f"{base / file} is not in UTF-8: {error}") from None
    function = Function(name, str(base / file), code)
    function.found()
    return function


def code_digest(reference: str, base: Path) -> str:
    """The SHA-256 of the file that `file.py:name` means, in hexadecimal.

    Raises:
        TaskError: if it cannot be read.
    """
    return hashlib.sha256(_read(reference, base)).hexdigest()


def _read(reference: str, base: Path) -> bytes:
    path = base / reference.rpartition(":")[0]
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}, which the data settings name, cannot be read: {error}") from None


@functools.lru_cache(maxsize=64)
def _module(path: str, code: str) -> ModuleType:
    module = ModuleType(Path(path).stem)
    module.__file__ = path
    beside = str(Path(path).parent)
    sys.path.insert(0, beside)
    try:
        exec(compile(code, path, "exec"), vars(module))  # noqa: S102
    except (Exception, SystemExit) as error:
        raise TaskError(f"{path} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        sys.path.remove(beside)
    return module
