"""The colours of all that is looked at: one for each state, for light and for dark grounds.

Every mark has a contrast of at least 3 to its grounds, and all text of at least 4.5 (WCAG 2.2, AA); no two states look
alike to the colour-blind (differences in CIELAB under the simulation of Machado et al., 2009).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from podium.sweep.spans import Use
from podium.sweep.trial import TrialState


@dataclass(frozen=True)
class Theme:
    """The colours on one ground.

    Attributes:
        ground: Of the page.
        card: Of what is set off from it.
        ink: Of text.
        soft: Of text that matters less, and of axes.
        rule: Of lines that only guide the eye.
        warn: The ground of warnings.
        accent: Of links and of what has the focus.
        states: By state.
        uses: By what gang time goes into.
        series: Of sweeps that are compared, in their order.
        ramp: From the worst to the best of many.
        top: Of the very best.
        rest: Of those that only stand behind.
    """

    ground: str
    card: str
    ink: str
    soft: str
    rule: str
    warn: str
    accent: str
    states: Mapping[TrialState, str]
    uses: Mapping[Use, str]
    series: tuple[str, ...]
    ramp: tuple[str, ...]
    top: str
    rest: str


LIGHT = Theme(
    ground="#ffffff",
    card="#f6f8fa",
    ink="#1f2328",
    soft="#59636e",
    rule="#d8dee4",
    warn="#fff4d6",
    accent="#0a58b0",
    states={
        TrialState.COMPLETE: "#072ab6",
        TrialState.STOPPED: "#a87400",
        TrialState.DIVERGED: "#871c00",
        TrialState.FAILED: "#891779",
        TrialState.CANCELLED: "#2a2d32",
        TrialState.PAUSED: "#328dff",
        TrialState.RUNNING: "#007949",
        TrialState.WAITING: "#868e96",
    },
    uses={
        Use.TRAINING: "#007949",
        Use.REDONE: "#c9252d",
        Use.DATA: "#a3307f",
        Use.CHECKPOINT: "#0e7285",
        Use.START_UP: "#6a3fc2",
        Use.GANG: "#8a5a00",
        Use.PROPOSALS: "#4f6300",
        Use.NOTHING: "#6e7781",
    },
    series=("#0072b2", "#d55e00", "#009e73", "#b4588f", "#a87400", "#3d8fc4"),
    ramp=("#c3d6ea", "#94b8dc", "#6297c9", "#3573ae", "#134f8a"),
    top="#e0660b",
    rest="#c9ced4",
)

DARK = Theme(
    ground="#14181d",
    card="#1d2329",
    ink="#e6edf3",
    soft="#9aa5b1",
    rule="#343c45",
    warn="#3d3213",
    accent="#6cb2f5",
    states={
        TrialState.COMPLETE: "#2f80dc",
        TrialState.STOPPED: "#eaa400",
        TrialState.DIVERGED: "#e63b1e",
        TrialState.FAILED: "#c475b9",
        TrialState.CANCELLED: "#6a6d72",
        TrialState.PAUSED: "#b0d3ff",
        TrialState.RUNNING: "#19bd7e",
        TrialState.WAITING: "#b7babf",
    },
    uses={
        Use.TRAINING: "#19bd7e",
        Use.REDONE: "#ff6b63",
        Use.DATA: "#ee86cd",
        Use.CHECKPOINT: "#45c1d6",
        Use.START_UP: "#ab8ff5",
        Use.GANG: "#e0a84a",
        Use.PROPOSALS: "#b3cc4d",
        Use.NOTHING: "#8b949e",
    },
    series=("#4ea8e6", "#ff8c42", "#37c796", "#e08fc0", "#e5b53a", "#8accf5"),
    ramp=("#26405c", "#305f8c", "#4489c4", "#67abe0", "#a9d6f7"),
    top="#ff9a3d",
    rest="#3b434c",
)


def contrast(one: str, other: str) -> float:
    """How much two colours differ in luminance, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def written_on(theme: Theme, colour: str) -> str:
    """The colour of text on an area of some colour."""
    return max((theme.ink, theme.ground), key=lambda text: contrast(text, colour))


def variables(theme: Theme) -> dict[str, str]:
    """The colours of a theme by the names of the style sheet's variables."""
    plain = ("ground", "card", "ink", "soft", "rule", "warn", "accent", "top", "rest")
    return {
        **{f"--{name}": getattr(theme, name) for name in plain},
        **{f"--{state}": colour for state, colour in theme.states.items()},
        **{f"--use-{use.name.lower().replace('_', '-')}": colour for use, colour in theme.uses.items()},
        **{f"--s{index}": colour for index, colour in enumerate(theme.series)},
        **{f"--g{index}": colour for index, colour in enumerate(theme.ramp)},
        **{f"--on-g{index}": written_on(theme, colour) for index, colour in enumerate(theme.ramp)},
    }


def style() -> str:
    """The variables of the style sheet: as light or dark as the reader's system, or as the page's `data-theme` says."""
    light, dark = (" ".join(f"{name}: {value};" for name, value in variables(theme).items()) for theme in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
        ":root[data-theme=light] { color-scheme: light; }\n"
    )
