"""Training, the toolbox: the learning rate as a pure function of the absolute step."""

import math

from podium.spec.sweep import ScheduleSettings


def factor(settings: ScheduleSettings, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step.

    During the warm-up of w = warmup * steps steps, (step + 1) / w, at most 1 (Goyal et al., 2017, arXiv:1706.02677).
    Afterwards, with t the share of the remaining steps that has passed:
    constant 1; cosine floor + (1 - floor) * (1 + cos(pi * t)) / 2 (Loshchilov and Hutter, 2016, arXiv:1608.03983);
    step factor^floor(step / (step_every * steps)), counted from the first step of all.

    Args:
        settings: Shape and numbers.
        step: The absolute step, from 0.
        steps: Steps in `epochs.max` epochs.
    """
    warmup = settings.warmup * steps
    if step + 1 < warmup:
        return (step + 1) / warmup
    if settings.kind == "cosine":
        passed = (step - warmup) / max(1.0, steps - warmup)
        return settings.floor + (1 - settings.floor) * (1 + math.cos(math.pi * min(1.0, max(0.0, passed)))) / 2
    if settings.kind == "step":
        return float(settings.factor ** math.floor(step / (settings.step_every * steps) + 1e-9))
    return 1.0
