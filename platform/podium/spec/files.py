"""Files of settings: YAML 1.2, for sweeps with dotted overrides, with errors that name file, line and key."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from podium.errors import SpecError
from podium.spec import checks, wording
from podium.spec.settings import Settings, suggestion
from podium.spec.sweep import SweepSpec
from podium.spec.wording import Path as KeyPath


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was written.

    Attributes:
        file: The file, or the override.
        line: The line in that file, from 1.
    """

    file: str
    line: int | None = None


Origins = Mapping[KeyPath, Origin]

S = TypeVar("S", bound=Settings)

PRESET = "preset"

MOST_VALUE = 1_000
"""Characters of a value that stands alone."""
"""The key of the override that names a preset."""


@dataclass(frozen=True, slots=True)
class SettingsFile(Generic[S]):
    """A file of settings that has been read.

    Attributes:
        settings: What it says.
        path: The file.
        origins: Where each setting was written.
    """

    settings: S
    path: Path
    origins: Origins

    def problem(self, key: str, text: str) -> SpecError:
        """An error about the setting at a dotted key, or where it would stand."""
        return _error(tuple(key.split(".")), text, self.origins)


@dataclass(frozen=True, slots=True)
class SweepFile:
    """A sweep file that has been read.

    Attributes:
        spec: What it asks for, overrides included.
        text: The file as written.
        folder: Where it lies, and `task.py` beside it.
        path: The file.
        origins: Where each setting was written.
    """

    spec: SweepSpec
    text: str
    folder: Path
    path: Path
    origins: Origins = field(default_factory=dict)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Gives file and line to an error about a setting that shows only when the sweep is tried out."""
        try:
            yield
        except SpecError as error:
            origin = _origin(tuple(error.key.split(".")), self.origins)
            if error.file is not None or origin is None:
                raise
            raise type(error)(error.problem, key=error.key, file=origin.file, line=origin.line) from error


def read_sweep(path: str | Path, overrides: Sequence[str] = ()) -> SweepFile:
    """Reads a sweep file.

    Args:
        path: The file.
        overrides: Assignments such as `budget.trials=64`, whose values are YAML 1.2; `preset=full` stands for the
            assignments of the file's preset `full`, which come before all others.

    Raises:
        SpecError: for the first thing that is wrong with the file or an override.
    """
    path = Path(path)
    text = _text(path)
    origins: dict[KeyPath, Origin] = {(): Origin(str(path), 1)}
    tree = _tree(text, path, origins, SweepSpec)
    assignments = [(*_assignment(override), Origin(override)) for override in overrides]
    for key, name, origin in assignments:
        if key == PRESET:
            _apply_preset(name, tree, origins, origin)
    for key, value, origin in assignments:
        if key != PRESET:
            _apply(key, value, tree, origins, origin)
    spec = parse_sweep(tree, origins)
    _check_beside(spec, path.parent, origins)
    return SweepFile(spec, text, path.parent, path, origins)


def parse_sweep(mapping: Mapping[str, Any], lines: Origins | None = None) -> SweepSpec:
    """Validates nested settings, from a file or a Python dict.

    Args:
        mapping: The settings.
        lines: Where each of them was written, by path; without it errors name keys only.

    Raises:
        SpecError: for the first thing that is wrong, in the order of `lines`.
    """
    origins = lines or {}
    spec = _validated(SweepSpec, mapping, origins)
    problems = list(checks.problems(spec))
    if problems:
        raise _first(problems, origins)
    return spec


def read_settings(path: str | Path, kind: type[S]) -> SettingsFile[S]:
    """Reads a file of settings that are no sweep's.

    Raises:
        SpecError: for the first thing that is wrong with it.
    """
    path = Path(path)
    origins: dict[KeyPath, Origin] = {(): Origin(str(path), 1)}
    tree = _tree(_text(path), path, origins, kind)
    return SettingsFile(_validated(kind, tree, origins), path, origins)


def _validated(kind: type[S], mapping: Mapping[str, Any], origins: Origins) -> S:
    try:
        return kind.model_validate(mapping)
    except ValidationError as error:
        raise _first(wording.problems(error, mapping), origins) from None


def _first(problems: list[tuple[KeyPath, str]], origins: Origins) -> SpecError:
    def line(problem: tuple[KeyPath, str]) -> float:
        origin = _origin(problem[0], origins)
        return float("inf") if origin is None or origin.line is None else origin.line

    path, text = min(problems, key=line)
    return _error(path, text, origins)


def _error(path: KeyPath, text: str, origins: Origins) -> SpecError:
    origin = _origin(path, origins)
    file, line = (origin.file, origin.line) if origin else (None, None)
    return SpecError(text, key=".".join(map(str, path)), file=file, line=line)


def _origin(path: KeyPath, origins: Origins) -> Origin | None:
    """Where `path`, or the section it would stand in, was written."""
    return next((origins[path[:end]] for end in range(len(path), -1, -1) if path[:end] in origins), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("there is no such file", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=str(path)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _tree(text: str, path: Path, origins: dict[KeyPath, Origin], kind: type[Settings]) -> dict[Any, Any]:
    try:
        document = YAML(typ="rt", pure=True).load(text)
    except YAMLError as error:
        raise SpecError(_yaml_problem(error), file=str(path), line=_yaml_line(error, text)) from None
    if not isinstance(document, CommentedMap):
        keys = ", ".join(f"`{name}`" for name, field in kind.model_fields.items() if field.is_required())
        raise SpecError(f"must be a mapping of keys ({keys}), and is {wording.show(document)}", file=str(path))
    _locate(document, (), str(path), origins)
    tree: dict[Any, Any] = _plain(document)
    return tree


def _yaml_problem(error: YAMLError) -> str:
    problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error)
    duplicate = re.match(r'found duplicate key "(.*?)" with value', problem)
    if duplicate:
        return f"the key {duplicate[1]!r} stands twice in this section"
    if "'\\t'" in problem:
        return "there is a tab; YAML is indented with spaces"
    return f"is not YAML: {problem}"


def _yaml_line(error: YAMLError, text: str) -> int | None:
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    return min(mark.line + 1, len(text.splitlines())) if mark else None


def _locate(node: Any, path: KeyPath, file: str, origins: dict[KeyPath, Origin]) -> None:
    """Enters the line of every key and entry below `node`."""
    if not isinstance(node, CommentedMap | CommentedSeq):
        return
    positions = node.lc.data or {}
    for key, child in node.items() if isinstance(node, CommentedMap) else enumerate(node):
        if key in positions:
            origins[(*path, key)] = Origin(file, positions[key][0] + 1)
        _locate(child, (*path, key), file, origins)


def _plain(node: Any) -> Any:
    """Python's own types in place of those that keep comments and styles."""
    if isinstance(node, Mapping):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(entry) for entry in node]
    if node is None or isinstance(node, bool):
        return node
    for kind in (int, float):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def parse_value(text: str) -> Any:
    """The value that `text` stands for in YAML 1.2.

    Raises:
        SpecError: if it is no YAML, or longer than a value is.
    """
    if len(text) > MOST_VALUE:
        raise SpecError(f"{text[:20]!r} and so on cannot be read: it has more than {MOST_VALUE:,} characters")
    try:
        return _loaded(text)
    except ValueError as error:
        raise SpecError(f"{text!r} cannot be read: {error}") from None


def _loaded(text: str) -> Any:
    try:
        return _plain(YAML(typ="safe", pure=True).load(text))
    except YAMLError as error:
        raise ValueError(_yaml_problem(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _assignment(override: str) -> tuple[str, Any]:
    """The key and the value of an override."""
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise SpecError("is not an override; write key=value, such as budget.trials=64", file=override)
    try:
        return key, _loaded(text)
    except ValueError as error:
        raise SpecError(str(error), key=key, file=override) from None


def _apply_preset(name: Any, tree: dict[Any, Any], origins: dict[KeyPath, Origin], origin: Origin) -> None:
    presets = tree.get("presets", {})
    if not isinstance(presets, dict) or not isinstance(name, str) or name not in presets:
        known = presets if isinstance(presets, dict) else {}
        raise SpecError(
            f"{wording.show(name)} is no preset of this sweep{suggestion(str(name), known)}",
            key=PRESET,
            file=origin.file,
        )
    if not isinstance(presets[name], dict):
        raise _error(("presets", name), f"must be a section of keys, and is {wording.show(presets[name])}", origins)
    for key, value in presets[name].items():
        _apply(str(key), value, tree, origins, origins.get(("presets", name, key), origin))


def _apply(key: str, value: Any, tree: dict[Any, Any], origins: dict[KeyPath, Origin], origin: Origin) -> None:
    """Enters a setting, and that it was written at `origin`."""
    section, path = tree, list[str | int]()
    names = _split(key, tree)
    for name in names[:-1]:
        path.append(name)
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise SpecError(
                f"{'.'.join(map(str, path))} is {wording.show(section)}, and has no keys of its own",
                key=key,
                file=origin.file,
                line=origin.line,
            )
    section[names[-1]] = copy.deepcopy(value)
    place = (*path, names[-1])
    for known in [known for known in origins if known[: len(place)] == place]:
        del origins[known]
    origins[place] = origin


def _split(key: str, tree: Mapping[Any, Any]) -> list[str]:
    """The keys of an override from the outside in: the longest that exist; below `search.space` the rest is one."""
    if key.startswith("search.space."):
        return ["search", "space", key.removeprefix("search.space.")]
    parts, names, section = key.split("."), list[str](), tree
    while parts:
        lengths = range(len(parts), 0, -1)
        inside = section if isinstance(section, Mapping) else {}
        length = next((length for length in lengths if ".".join(parts[:length]) in inside), 1)
        names.append(".".join(parts[:length]))
        section = inside.get(names[-1], {})
        parts = parts[length:]
    return names


def _check_beside(spec: SweepSpec, folder: Path, origins: Origins) -> None:
    """Checks that the files which the sweep names are there."""
    for key, reference in (("task", None if spec.is_built_in else spec.task), ("network", spec.own_network)):
        file = "" if reference is None else reference.partition(":")[0]
        if file and not (folder / file).is_file():
            raise _error((key,), f"there is no file {file} in {folder}", origins)
    source = spec.data.source if spec.data else None
    path = getattr(source, "path", None)
    if path is not None and not any(sign in path for sign in ("://", "*", "?", "[")) and not (folder / path).exists():
        raise _error(("data", "source", "path"), f"there is no {path} in {folder}", origins)
