"""Training, the toolbox: the learning rate as a pure function of the absolute step, and of what a trial has reached."""

import math

from podium.spec.sweep import ScheduleSettings


def factor(settings: ScheduleSettings, step: int, steps: int, drops: int = 0) -> float:
    """What the learning rate is multiplied by at a step.

    During the warm-up of w = warmup * steps steps, (step + 1) / w, at most 1 (Goyal et al., 2017, arXiv:1706.02677).
    Afterwards, with t the share of the remaining steps that has passed:
    constant 1; cosine floor + (1 - floor) * (1 + cos(pi * t)) / 2 (Loshchilov and Hutter, 2016, arXiv:1608.03983);
    step factor^floor(step / (step_every * steps)), counted from the first step of all;
    plateau factor^drops, at least floor.

    one_cycle has no warm-up: with p = rise * steps - 1 the step of its peak, it rises from `start` to 1 at p and falls
    to `floor` at the last step, both along half a period of a cosine (Smith, 2018, arXiv:1803.09820; the momentum,
    which the paper moves the other way, stays).

    Args:
        settings: Shape and numbers.
        step: The absolute step, from 0.
        steps: Steps in `epochs.max` epochs.
        drops: How often the objective has stayed without improvement for `patience` epochs.
    """
    if settings.kind == "one_cycle":
        peak = max(0.0, settings.rise * steps - 1)
        if step < peak:
            return _eased(settings.start, 1.0, step / peak)
        return _eased(1.0, settings.floor, (step - peak) / max(1.0, steps - 1 - peak))
    warmup = settings.warmup * steps
    if step + 1 < warmup:
        return (step + 1) / warmup
    if settings.kind == "cosine":
        passed = (step - warmup) / max(1.0, steps - warmup)
        return _eased(1.0, settings.floor, passed)
    if settings.kind == "step":
        return float(settings.factor ** math.floor(step / (settings.step_every * steps) + 1e-9))
    if settings.kind == "plateau":
        return float(max(settings.floor, settings.factor**drops))
    return 1.0


def _eased(first: float, last: float, passed: float) -> float:
    """From `first` to `last` along half a period of a cosine, the share `passed` of the way."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, max(0.0, passed)))) / 2
