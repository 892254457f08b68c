"""What is shown in a terminal: the live view, and errors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.console.terminal import Silent, Terminal

__all__ = ["Silent", "Terminal"]


def __getattr__(name: str) -> Any:
    """Loads what draws when it is asked for: `podium --help` draws nothing."""
    if name not in ("Silent", "Terminal"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from podium.console import terminal

    return getattr(terminal, name)
