"""Training: the user's Python files, read once, compared with their digest, and imported as they were read.

Nothing else in their folder is imported here: no byte code, no extension module, no file that came later.
"""

import hashlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

from podium.errors import TaskError

Sources = Mapping[str, bytes]
"""By the path below its folder what each file holds."""

_checked: dict[Path, Sources] = {}
"""Those whose digest was right, by their folder."""

_installed = tuple(map(Path, sys.path))
"""Where modules lay before any task was loaded; a user's own folder may hold one of them, say that of a venv."""


def read_sources(folder: Path) -> Sources:
    """The Python files below a folder, in the order of their paths; hidden ones do not count."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*.py")) if path.is_file()}
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


class Finder:
    """Lets the modules of a folder be imported by their plain names.

    The folder is first on `sys.path`, as a script's own is, so that processes which a task spawns find it too; in this
    one its entry there, and each below it, gives what was read.

    Args:
        folder: The folder, resolved.
        sources: What it holds.

    Attributes:
        sources: The same.
    """

    def __init__(self, folder: Path, sources: Sources) -> None:
        self._folder, self.sources = folder, sources
        self._found: set[str] = set()

    def enter(self) -> None:
        """Finds from now on, before what is installed is looked through."""
        sys.path_hooks.insert(0, self._entry)
        self._forget_entries()
        sys.path.insert(0, str(self._folder))

    def leave(self) -> None:
        """Finds nothing any more, and forgets what was imported."""
        for name in sorted(self._found, reverse=True):
            if name in sys.modules and self._gave(name):
                del sys.modules[name]
        if str(self._folder) in sys.path:
            sys.path.remove(str(self._folder))
        sys.path_hooks.remove(self._entry)
        self._forget_entries()

    def spec(self, fullname: str, file: str, *, is_package: bool = False) -> ModuleSpec:
        """The specification of a module that is made of a file of the folder."""
        path = self._folder / file
        loader = _Loader(fullname, str(path), self.sources[file])
        found = importlib.util.spec_from_file_location(
            fullname, path, loader=loader, submodule_search_locations=[str(path.parent)] if is_package else None
        )
        assert found is not None
        self._found.add(fullname)
        return found

    def find(self, fullname: str, below: str) -> ModuleSpec | None:
        """The specification of the module that lies at a path below the folder, without its ending; None if none does.

        A folder without `__init__.py` has no loader: Python looks on for a module of that name that is whole.
        """
        if f"{below}/__init__.py" in self.sources:
            return self.spec(fullname, f"{below}/__init__.py", is_package=True)
        if f"{below}.py" in self.sources:
            return self.spec(fullname, f"{below}.py")
        if not any(each.startswith(f"{below}/") for each in self.sources):
            return None
        self._found.add(fullname)
        found = ModuleSpec(fullname, None, is_package=True)
        found.submodule_search_locations = [str(self._folder / below)]
        return found

    def _entry(self, path: str) -> "_Entry":
        entry = Path(os.path.abspath(path))
        others = [each for each in _installed if each != self._folder and each.is_relative_to(self._folder)]
        if not entry.is_relative_to(self._folder) or any(entry.is_relative_to(each) for each in others):
            raise ImportError(f"{path} holds no code of {self._folder}", path=path)
        return _Entry(self, entry.relative_to(self._folder))

    def _forget_entries(self) -> None:
        for path in list(sys.path_importer_cache):
            if Path(os.path.abspath(path)).is_relative_to(self._folder):
                del sys.path_importer_cache[path]

    def _gave(self, name: str) -> bool:
        """Whether a module is of this folder; one without a file is, unless another's modules are within it."""
        file = getattr(sys.modules[name], "__file__", None)
        if file is None:
            return not any(each.startswith(f"{name}.") for each in list(sys.modules))
        return Path(file).is_relative_to(self._folder)


class _Entry(importlib.abc.PathEntryFinder):
    """One entry of `sys.path`, or of a package's `__path__`: the folder, or one below it."""

    def __init__(self, finder: Finder, below: Path) -> None:
        self._finder, self._below = finder, below

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        return self._finder.find(fullname, (self._below / fullname.rpartition(".")[2]).as_posix())

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """What `pkgutil.iter_modules` lists: each name, and whether it is a package's."""
        for each in map(Path, self._finder.sources):
            if each.name == "__init__.py" and each.parent != self._below == each.parent.parent:
                yield prefix + each.parent.name, True
            elif each.name != "__init__.py" and each.parent == self._below:
                yield prefix + each.stem, False


class _Loader(SourceFileLoader):
    """Makes a module of a source that is in memory, and neither reads nor writes byte code."""

    def __init__(self, fullname: str, path: str, source: bytes) -> None:
        super().__init__(fullname, path)
        self._source = source

    def path_stats(self, path: str) -> Mapping[str, float]:
        """Nothing, so that Python takes no byte code for the file's."""
        raise OSError(f"{path} is in memory")

    def get_data(self, path: str) -> bytes:
        """The source; of any other file, what it holds."""
        return self._source if path == self.path else super().get_data(path)
