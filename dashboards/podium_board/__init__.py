"""The board: sweeps as they stand, in a browser."""
