"""Sweeps to be drawn."""

from shown_sweeps import make_spec, make_story

__all__ = ["make_spec", "make_story"]
