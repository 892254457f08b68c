"""Training: the user's Python files, read once, compared with their digest, and imported as they were read.

Nothing else in their folder is ever imported: no byte code, no extension module, no file that came later.
"""

import hashlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from podium.errors import TaskError

Sources = Mapping[str, bytes]
"""By the path below its folder what each file holds."""

_checked: dict[Path, Sources] = {}
"""Those whose digest was right, by their folder."""


def read_sources(folder: Path) -> Sources:
    """The Python files below a folder, in the order of their paths; hidden ones do not count."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*.py"))}
    return {name.as_posix(): path.read_bytes() for name, path in paths.items() if not is_hidden(name)}


def is_hidden(path: Path) -> bool:
    """Whether a file does not count, or lies in a folder that does not."""
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def digest_of(sources: Sources) -> str:
    """The SHA-256 of names and contents, in hexadecimal."""
    parts = [part for name, content in sources.items() for part in (name.encode(), content)]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def require_digest(folder: Path, digest: str) -> None:
    """Makes sure that a folder holds the code that was launched; what is imported from it later was read here.

    Raises:
        TaskError: if it holds anything else.
    """
    sources = read_sources(folder)
    found = digest_of(sources)
    if found != digest:
        raise TaskError(
            f"the code in {folder} is not what was launched: its digest is {found[:12]}, and the ledger has "
            f"{digest[:12]}. Nothing of it was run. Find out who changed it, delete that folder, in the store and in "
            "this host's cache, and launch the sweep again from its own folder"
        )
    _checked[folder.resolve()] = sources


def sources_of(folder: Path) -> Sources:
    """Those of a folder whose digest was right; of any other folder, as they are now."""
    return _checked.get(folder) or read_sources(folder)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of a folder by their plain names.

    Args:
        folder: The folder; for tracebacks.
        sources: What it holds.

    Attributes:
        sources: The same.
    """

    def __init__(self, folder: Path, sources: Sources) -> None:
        self._folder, self.sources = folder, sources
        self._found: set[str] = set()

    def enter(self) -> None:
        """Finds from now on, before what is installed is looked through."""
        sys.meta_path.insert(sys.meta_path.index(PathFinder), self)

    def leave(self) -> None:
        """Finds nothing any more, and forgets what was imported."""
        sys.meta_path.remove(self)
        for name in self._found:
            sys.modules.pop(name, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's specification, or None for one that is not here."""
        name = fullname.replace(".", "/")
        if f"{name}/__init__.py" in self.sources:
            return self.spec(fullname, f"{name}/__init__.py", is_package=True)
        if f"{name}.py" in self.sources:
            return self.spec(fullname, f"{name}.py")
        if any(each.startswith(f"{name}/") for each in self.sources):
            self._found.add(fullname)
            return ModuleSpec(fullname, None, is_package=True)
        return None

    def spec(self, fullname: str, file: str, *, is_package: bool = False) -> ModuleSpec:
        """The specification of a module that is made of a file of the folder."""
        self._found.add(fullname)
        path = self._folder / file
        loader = _Loader(str(path), self.sources[file])
        found = importlib.util.spec_from_file_location(
            fullname, path, loader=loader, submodule_search_locations=[str(path.parent)] if is_package else None
        )
        assert found is not None
        return found


class _Loader(importlib.abc.SourceLoader):
    """Makes a module of a source that is in memory; without `path_stats`, no byte code is read or written."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._source
