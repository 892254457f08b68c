"""Colours: seen by all eyes, on both grounds."""

from itertools import combinations

import numpy as np
import pytest

from podium.drawing.palette import DARK, LIGHT, Theme, contrast, style, variables, written_on
from podium.sweep.spans import Use
from podium.sweep.trial import TrialState

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])

SEEN = {
    "all colours": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""How colours are seen: Machado, Oliveira and Fernandes, 2009, severity 1, over linear RGB."""

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, eyes: str) -> np.ndarray:  # type: ignore[type-arg]
    """CIELAB under D65."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    ratio = TO_XYZ @ np.clip(SEEN[eyes] @ linear, 0, 1) / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1


@THEMES
def test_marks_stand_out_from_what_is_behind_them(theme: Theme) -> None:
    for colour in (*theme.states.values(), *theme.uses.values(), *theme.series, theme.top):
        assert min(contrast(colour, theme.ground), contrast(colour, theme.card)) >= 3, colour


@THEMES
def test_text_can_be_read(theme: Theme) -> None:
    for colour in (theme.ink, theme.soft, theme.accent):
        assert min(contrast(colour, theme.ground), contrast(colour, theme.card)) >= 4.5, colour
    assert contrast(theme.ink, theme.warn) >= 4.5
    for colour in theme.ramp:
        assert contrast(written_on(theme, colour), colour) >= 4.5, colour


@THEMES
@pytest.mark.parametrize("eyes", SEEN)
def test_no_two_states_look_alike(theme: Theme, eyes: str) -> None:
    for (one, first), (other, second) in combinations(theme.states.items(), 2):
        assert np.linalg.norm(lab(first, eyes) - lab(second, eyes)) >= 15, f"{one} and {other}"


@THEMES
def test_every_state_and_use_has_its_colour(theme: Theme) -> None:
    assert set(theme.states) == set(TrialState)
    assert set(theme.uses) == set(Use) - {Use.AWAY}


def test_the_style_sheet_defines_each_variable_for_both_grounds() -> None:
    written = style()
    for theme in (LIGHT, DARK):
        for name, value in variables(theme).items():
            assert f"{name}: {value};" in written
