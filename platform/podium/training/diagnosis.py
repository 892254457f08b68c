"""Training: diagnosis, what goes on inside networks, layer by layer, measured at a few moments of their training.

It changes nothing of the training: no gradient is left behind, no number drawn, and the statistics of norms stay. The
same few samples are measured every time, a stack in one pass for all its lanes; ranks measure alike, each by itself.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from podium.data.reader import Reader
from podium.spec.sweep import SweepSpec
from podium.training.lanes import Group
from podium.training.live import LiveTrial
from podium.training.plain import Plain, mean_of, weighted_sum
from podium.training.probe import Inspection, finite
from podium.training.samples import Samples, to_device
from podium.training.tasks import Classification
from podium.training.verdict import hopeless

SAMPLES = 64
"""So many training samples are measured."""

EARLY = 3
"""Before the first rung, so many times as many epochs lie before a moment as before the last one."""

TINY = 1e-6
"""The share of a class of which there are no samples."""


def moments(spec: SweepSpec) -> frozenset[int]:
    """The epochs whose last step is measured: the rungs, and 1, 3, 9, … before the first; 0 is the very first step."""
    rungs, early = spec.rungs(), [0, 1]
    while early[-1] < rungs[0]:
        early.append(EARLY * early[-1])
    return frozenset({*rungs, *(epoch for epoch in early if epoch < rungs[0])})


def first_samples(reader: Reader, spec: SweepSpec, live: LiveTrial) -> Samples:
    """The samples that are measured: the first ones of the first epoch's order, not augmented.

    No more than a batch has, or goes through the network at once.
    """
    assert spec.data is not None
    size = min(SAMPLES, live.batch_size, spec.compute.microbatch or SAMPLES, reader.size("train"))
    return to_device(next(iter(reader.epoch("train", batch_size=size, seed=spec.data.seed, epoch=0))), live.device)


def screened(live: LiveTrial, spec: SweepSpec, reader: Reader) -> str:
    """Why a trial that has not made a step is hopeless; empty if it is not. Nothing of it is changed."""
    (moment,) = Plain(live).inspect(first_samples(reader, spec, live)).moments(0)
    return hopeless(moment)


class Diagnosis:
    """Measures the trials of one advance when it is time to, and leaves what it found with each.

    Args:
        spec: The sweep.
        reader: The data.
    """

    def __init__(self, spec: SweepSpec, reader: Reader) -> None:
        self._spec, self._reader = spec, reader
        self._epochs = moments(spec) if spec.tracking.diagnosis else frozenset[int]()
        self._samples: Samples | None = None
        self._open: list[tuple[tuple[LiveTrial, ...], Inspection]] = []

    def begin_step(self, first: LiveTrial, in_epoch: int, groups: Sequence[Group]) -> None:
        """A step is about to be made by all groups, of which `first` is one of the trials."""
        is_last = first.step == in_epoch - 1
        self._epoch = first.epoch + 1 if is_last and first.epoch + first.step else 0
        if self._epoch not in self._epochs or not (is_last or first.epoch == first.step == 0) or first.is_sharded:
            return
        try:
            if self._samples is None:
                self._samples = first_samples(self._reader, self._spec, first)
            self._open = [(group.lives, group.inspect(self._samples)) for group in groups]
        except Exception as error:  # a user's network may do anything, and its training shall go on
            self._epochs = frozenset()
            sys.stderr.write(f"what goes on inside the network is not measured: {type(error).__name__}: {error}\n")

    def end_step(self) -> None:
        """The step is made."""
        for lives, found in self._open:
            for live, moment in zip(lives, found.moments(self._epoch), strict=True):
                live.moments.append(moment if live.moments else replace(moment, chance=self._chance(live)))
        self._open = []

    def _chance(self, live: LiveTrial) -> float | None:
        """The loss of whoever gives each class its share among the training samples; None where there are no classes.

        Of the built-in classification alone: what another task's losses take is its own affair.
        """
        if type(live.task) is not Classification or self._samples is None:
            return None
        counts = torch.tensor(self._reader.class_counts, dtype=live.flat.weights.dtype, device=live.device)
        scores = (counts / counts.sum()).clamp_min(TINY).log().expand(len(self._samples.positions), -1)
        return finite(float(mean_of(*weighted_sum(live.task, scores, live.batch(self._samples)))))
