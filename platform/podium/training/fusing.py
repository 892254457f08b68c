"""Training: how the trials of an advance are stacked, from what was found out about their signature."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from podium.data.reader import Reader
from podium.spec.space import Value, signature
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Measured
from podium.training.live import LiveTrial
from podium.training.ranks import Ranks
from podium.training.stackable import examine
from podium.training.widths import Known, Notes, Race, read_known

Signature = tuple[tuple[str, Value], ...]


class Fusing:
    """Says how wide the stacks of an advance are.

    Args:
        spec: The sweep.
        reader: The data, for the batch of a trial step.
        notes: What this host found out before.
        ranks: Those that train the trials together, who all have to do the same. The driver is told `Measured` where
            something new is known.
    """

    def __init__(self, spec: SweepSpec, reader: Reader, notes: Notes, ranks: Ranks) -> None:
        self._spec, self._reader, self._notes, self._ranks = spec, reader, notes, ranks
        self._fixed = spec.fuse if isinstance(spec.fuse, int) else None
        self._known: dict[Signature, Known] = {}

    def race(self, lives: Sequence[LiveTrial]) -> Race:
        """The widths to train `lives` at, trials of one signature at the same epoch and step.

        Several ranks do what the first one knows. They train plainly what is shared out over them, and networks whose
        norms need all samples of a batch; so does everybody whose networks are compiled, or who is not to fuse. What
        is to be trained as before has its stacks from there.
        """
        is_plain = self._spec.fuse == "off" or self._spec.compute.compile or lives[0].repeat is not None
        if is_plain or lives[0].is_sharded or lives[0].shared_norms:
            return Race(len(lives), Known(), fixed=1)
        key = self._key(lives[0])
        if self._ranks.is_first:
            self._find_out(lives, key)
        if self._ranks.count > 1:
            (told,) = self._ranks.told([json.dumps(asdict(self._known.get(key, Known())))])
            self._known[key] = read_known(json.loads(told))
        return Race(len(lives), self._known.get(key, Known()), self._fixed)

    def _find_out(self, lives: Sequence[LiveTrial], key: Signature) -> None:
        if key not in self._known and (found := self._notes.find(key)) is not None:
            self._tell(lives[0], key, found)
        if key not in self._known and len(lives) > 1:
            known = self._examined(lives)
            self._known[key] = known
            if known.reason:
                self._learn(lives[0], key, known)

    def note(self, live: LiveTrial, race: Race) -> None:
        """Takes over what a race has found out about the signature of `live`."""
        key = self._key(live)
        if race.is_over and race.known != self._known.get(key, Known()):
            self._learn(live, key, race.known)

    def narrow(self, live: LiveTrial, race: Race) -> None:
        """Memory was too small for the race's width."""
        self._learn(live, self._key(live), race.known.ran_out(race.width))

    def _key(self, live: LiveTrial) -> Signature:
        own = signature(live.parameters, self._spec.fixed())
        return own if self._ranks.count == 1 else (*own, ("ranks", self._ranks.count))

    def _learn(self, live: LiveTrial, key: Signature, known: Known) -> None:
        self._notes.keep(key, known)
        self._tell(live, key, known)

    def _tell(self, live: LiveTrial, key: Signature, known: Known) -> None:
        self._known[key] = known
        found = {"width": known.width, "rates": dict(known.rates), "reason": known.reason}
        self._ranks.emit(Measured(trial=live.trial, ranks=self._ranks.count, **found))

    def _examined(self, lives: Sequence[LiveTrial]) -> Known:
        """What a trial step on the next batch says."""
        first, data = lives[0], self._spec.data
        assert data is not None
        reader = self._reader.subset(first.data_share, data.seed)
        steps = reader.steps("train", first.batch_size)
        batches = reader.epoch(
            "train", batch_size=first.batch_size, seed=data.seed, epoch=first.epoch, start_step=first.step
        )
        samples = first.train_samples(next(iter(batches))).parts(self._spec.compute.microbatch)[0]
        found = examine(lives, samples, steps, steps * self._spec.budget.epochs.max)
        return Known(reason=found.reason, metrics=found.metrics)


def circumstances(spec: SweepSpec, reader: Reader, device: torch.device, code: str) -> dict[str, Any]:
    """What a measurement depends on beside the signature."""
    return {
        "task": spec.task,
        "compute": spec.compute.model_dump(),
        "code": code,
        "inputs": reader.schema.inputs,
        "targets": [reader.schema.targets, reader.schema.classes],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
