"""Functions of the user's that make or change records, from a file beside the sweep file."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podium.errors import TaskError


def load(reference: str, base: Path) -> Callable[..., Any]:
    """The function that `file.py:name` means.

    It pickles with its code, so that it can be called on hosts that do not have the file.

    Raises:
        TaskError: if there is none.
    """
    import cloudpickle

    file, _, name = reference.rpartition(":")
    path = base / file
    # its own name, so that functions of two sweeps do not meet; the name stays while the code does
    module_name = f"podium_data_{code_digest(reference, base)[:16]}"
    if module_name not in sys.modules:
        specification = importlib.util.spec_from_file_location(module_name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_name] = module
        try:
            specification.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise TaskError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
        cloudpickle.register_pickle_by_value(module)
    function = getattr(sys.modules[module_name], name, None)
    if not callable(function):
        raise TaskError(f"{path} has no function {name!r}, which the data settings name")
    loaded: Callable[..., Any] = function
    return loaded


def code_digest(reference: str, base: Path) -> str:
    """The SHA-256 of the file that `file.py:name` means, in hexadecimal.

    Raises:
        TaskError: if it cannot be read.
    """
    path = base / reference.rpartition(":")[0]
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TaskError(f"{path}, which the data settings name, cannot be read: {error}") from None
