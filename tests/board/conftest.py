"""The fixtures of whoever looks at the board without a browser."""

from boards import board, open_board, prepared

__all__ = ["board", "open_board", "prepared"]
