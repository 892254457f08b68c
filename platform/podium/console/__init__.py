"""What is shown in a terminal: the live view, errors, and the words for numbers and times."""

from podium.console.terminal import Silent, Terminal
from podium.console.words import duration, number, rate, short

__all__ = ["Silent", "Terminal", "duration", "number", "rate", "short"]
