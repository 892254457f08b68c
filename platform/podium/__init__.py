"""Podium launches sweeps of deep-learning trials, keeps every result, and promotes the best model on evidence."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.api import Result, launch, load_result, load_sweep
    from podium.errors import PodiumError, UserError
    from podium.training.task import Batch, Task

_HOMES = {
    "Batch": "podium.training.task",
    "PodiumError": "podium.errors",
    "Result": "podium.api",
    "Task": "podium.training.task",
    "UserError": "podium.errors",
    "launch": "podium.api",
    "load_result": "podium.api",
    "load_sweep": "podium.api",
}

__all__ = ["Batch", "PodiumError", "Result", "Task", "UserError", "launch", "load_result", "load_sweep"]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import podium` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'podium' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
