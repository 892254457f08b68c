"""Podium launches sweeps of deep-learning trials, keeps every result, and promotes the best model on evidence."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.api import Result, compare, launch, load_network, load_result, load_sweep, promote, reproduce
    from podium.errors import PodiumError, UserError
    from podium.training.task import Batch, Task

_HOMES = {
    "Batch": "podium.training.task",
    "PodiumError": "podium.errors",
    "Result": "podium.api",
    "Task": "podium.training.task",
    "UserError": "podium.errors",
    "compare": "podium.api",
    "launch": "podium.api",
    "load_network": "podium.api",
    "load_result": "podium.api",
    "load_sweep": "podium.api",
    "promote": "podium.api",
    "reproduce": "podium.api",
}

__all__ = [
    "Batch",
    "PodiumError",
    "Result",
    "Task",
    "UserError",
    "compare",
    "launch",
    "load_network",
    "load_result",
    "load_sweep",
    "promote",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import podium` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'podium' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
