"""Training: one trial's state in memory, which a checkpoint can take the place of at any step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from podium.data import reader as data
from podium.data.manifest import Schema
from podium.errors import SpecError, TaskError
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane, Stretch
from podium.training import draws, verdict
from podium.training.flat import FlatWeights, fixed_state, flatten
from podium.training.metrics import Metric
from podium.training.record import Record, from_plain, load_record, to_plain
from podium.training.samples import Samples, to_device
from podium.training.task import Batch, Task
from podium.training.toolbox.augmentations import Augmentation
from podium.training.toolbox.chance import replace_torch_dropout, sites
from podium.training.toolbox.initializers import initialize
from podium.training.toolbox.losses import class_weights
from podium.training.toolbox.norms import BatchNorm, require_whole_batches, share
from podium.training.toolbox.optimizers import RULES, Optimizer, make_optimizer
from podium.training.toolbox.penalties import norms_of
from podium.training.verdict import Moment

ROOM = 0.6
"""The share of a GPU's memory that weights, gradients, optimizer state and the best epoch's weights may take whole."""


class Gathered:
    """The sums of one pass over a split: the loss and the task's metrics.

    Attributes:
        loss: float64, the sum of weighted losses.
        weight: float64, the sum of weights.
        metrics: The task's own.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self.fresh_metrics = task.metrics
        self.loss, self.weight = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
        self.metrics: dict[str, Metric] = task.metrics()
        for metric in self.metrics.values():
            metric.state = {name: value.to(device) for name, value in metric.state.items()}

    def add(self, total: Tensor, weight: Tensor | int, outputs: Any, batch: Batch) -> None:
        """Takes in a batch: its sums of weighted losses and of weights, and metrics. Gradients have to be off."""
        self.loss += total
        self.weight += weight
        for metric in self.metrics.values():
            metric.update(outputs, batch)

    def compute(self, split: str) -> dict[str, float]:
        """The metrics of a split, by full name."""
        computed = {name: float(metric.compute()) for name, metric in self.metrics.items()}
        return {
            f"{split}/{name}": value for name, value in ({"loss": float(self.loss / self.weight)} | computed).items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """All sums, by name."""
        states = {f"{name}.{key}": value for name, each in self.metrics.items() for key, value in each.state.items()}
        return {"loss": self.loss, "weight": self.weight} | states


class LiveTrial:
    """The network of one trial with all that its training has gathered.

    Args:
        spec: The sweep.
        task: The task.
        schema: What a sample looks like.
        lane: The trial's number, parameters and seed; it starts from the beginning.
        device: Where it is trained.
        class_counts: Samples or pixels of each class in the train split; empty for numbers.

    Attributes:
        data_share: The share of the train split that it is trained on.
        epoch: Whole epochs trained.
        step: Steps beyond them.
        gathered: The train split's sums over those steps.
        record: Which epoch counts so far.
        best: Tensors of the network in that epoch, by name; empty where the last epoch counts, or none yet.
        metrics: Those of the last whole epoch.
        samples_per_s: Samples trained in a second of the last epoch.
        waiting: The share of that epoch in which gradients were exchanged.
        folder: The checkpoint that holds exactly this state; empty if none does.
        device_s: Seconds that it took since its advance began, each divided by the trials that shared it.
        width: Lanes of the stack it was trained in last; 1 for plain training.
        is_sharded: Whether each rank holds a part of every parameter.
        shared_norms: The norms that know whole batches of which ranks have parts; none for one rank.
        moments: What was measured inside the network so far.
        history: How it was trained so far.
        repeat: How it has to be trained; None as is best.
    """

    is_sharded = False

    def __init__(
        self,
        spec: SweepSpec,
        task: Task,
        schema: Schema,
        lane: Lane,
        device: torch.device,
        class_counts: Sequence[int] = (),
    ) -> None:
        self.task, self.device = task, device
        self.trial, self.seed, self.parameters = lane.trial, lane.seed, dict(lane.parameters)
        self.settings, self.compute = spec.components(lane.parameters), spec.compute
        self.batch_size, self.data_share = spec.batch_size(lane.parameters), spec.data_share(lane.parameters)
        assert spec.data is not None
        if task.batch_loss and self.settings.augmentation.mixup:
            raise SpecError(
                f"is {self.settings.augmentation.mixup}, and {type(task).__name__} says batch_loss, so that its losses "
                "cannot be mixed; leave it out",
                key="augmentation.mixup",
            )
        self._augmentation = Augmentation(self.settings.augmentation, spec.data.seed, schema)
        self.network = make_network(spec, task, schema, lane).to(device)
        self.flat: FlatWeights = flatten(self.network)
        self.optimizer = make_optimizer(self.settings.optimizer, self.flat)
        self.chance = sites(self.network)
        loss = self.settings.loss
        numbers = ("label_smoothing", "delta", "gamma", "kl_weight", "kl_floor", "sparsity")
        self.values = {f"loss.{name}": getattr(loss, name) for name in numbers}
        self.values |= spec.head_weights(lane.parameters)
        self._classes, self._class_counts = schema.classes or math.prod(schema.targets), tuple(class_counts)
        self.epoch = self.step = 0
        self.gathered = Gathered(task, device)
        self.record = Record()
        self.best: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}
        self.samples_per_s, self.waiting = math.nan, 0.0
        self.folder = ""
        self.device_s, self.width = 0.0, 1
        self.shared_norms: list[BatchNorm] = []
        self.moments: list[Moment] = []
        self.history: tuple[Stretch, ...] = ()
        self.repeat = lane.repeat

    @property
    def count(self) -> int:
        """Number of trainable parameters."""
        return self.flat.count

    @cached_property
    def class_weights(self) -> Tensor | None:
        """`[C]` float32, what a sample of each class counts; None where all count alike.

        Raises:
            SpecError: for settings that do not fit the classes.
        """
        found = class_weights(self.settings.loss, self._classes, self._class_counts)
        return None if found is None else found.to(self.device)

    def train_samples(self, samples: data.Batch) -> Samples:
        """A train batch on the device, augmented."""
        return self._augmentation(to_device(samples, self.device), self.epoch)

    def batch(self, samples: Samples) -> Batch:
        """What the task is shown of samples."""
        return samples.batch(self.values, self.settings.loss, self.class_weights)

    def parts(self, samples: Samples) -> Sequence[Samples]:
        """A batch as it goes through the network."""
        return samples.parts(self.compute.microbatch)

    def collect_gradients(self) -> None:
        """Brings what backward left to `flat`, where it is already."""

    def gradient_norms(self) -> Tensor:
        """`[1, 1]`, the Euclidean norm of all gradients."""
        return norms_of(self.flat.gradients)

    def spread_weights(self) -> None:
        """Brings the weights of `flat` to the network, whose weights they are."""

    def is_finite(self) -> bool:
        """Whether all weights are finite."""
        return bool(torch.isfinite(self.flat.weights).all())

    def prepare_norms(self, ranks: int) -> None:
        """Has batch norms take whole batches, of which so many ranks have parts, unless the sweep file leaves that.

        Raises:
            TaskError: for norms that cannot.
        """
        if self.compute.norm == "microbatch":
            return
        if self.compute.microbatch is not None and self.compute.microbatch < self.batch_size:
            require_whole_batches(self.network)
        self.shared_norms = share(self.network, ranks)

    def move(self, flat: FlatWeights, optimizer: Optimizer, fixed: Mapping[str, Tensor]) -> None:
        """Lives in these tensors from now on, which hold its state: its row of `flat`, and the rest by name."""
        self.flat, self.optimizer = flat, replace(self.optimizer, state=optimizer.state)
        flat.bind(self.network)
        for name, value in fixed.items():
            owner, _, own = name.rpartition(".")
            module = self.network.get_submodule(owner)
            if own in module._buffers:
                module._buffers[own] = value
            else:
                module.get_parameter(own).data = value

    def network_tensors(self) -> dict[str, Tensor]:
        """The network's state, by name: its weights `[K, P]`, and what is not trained."""
        fixed = {f"fixed.{name}": value for name, value in fixed_state(self.network).items()}
        return {"weights": self.flat.weights, **fixed}

    def begin_stretch(self, stack: Sequence[int], stacks_metrics: bool, ranks: int) -> None:
        """Is trained in that stack, and by so many ranks, from now on."""
        stretch = Stretch(
            epoch=self.epoch,
            step=self.step,
            stack=tuple(stack),
            stacks_metrics=stacks_metrics or len(stack) == 1,
            ranks=ranks,
            strategy="sharded" if self.is_sharded else "replicated",
        )
        self.width = len(stretch.stack)
        before = tuple(each for each in self.history if each.place < stretch.place)
        if not before or before[-1].model_copy(update={"epoch": self.epoch, "step": self.step}) != stretch:
            before += (stretch,)
        self.history = before

    def become_twin(self) -> None:
        """Moves every weight by one unit in its last place; those that are zero, gaps among them, stay."""
        weights = self.flat.weights
        moved = torch.nextafter(weights, torch.full_like(weights, math.inf))
        weights.copy_(torch.where(weights == 0, weights, moved))
        self.spread_weights()

    def keep_best(self) -> None:
        """Copies the network's state: the epoch just trained is the best."""
        self.best = {name: value.clone() for name, value in self.network_tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything in tensors, by name."""
        return self._tensors()

    def _tensors(self) -> dict[str, Tensor]:
        named = self.network_tensors()
        named |= {f"optimizer.{name}": value for name, value in self.optimizer.state.items()}
        named |= {f"gathered.{name}": value for name, value in self.gathered.tensors().items()}
        return named | {f"best.{name}": value for name, value in self.best.items()}

    def state(self) -> dict[str, Any]:
        """Everything else, as plain data."""
        record, metrics = asdict(self.record), to_plain(self.metrics)
        place = {"epoch": self.epoch, "step": self.step}
        history = [stretch.model_dump(mode="json") for stretch in self.history]
        told = {"moments": verdict.to_plain(self.moments), "history": history}
        return {**place, "record": record, "metrics": metrics, **told}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Takes over what `tensors` and `state` gave."""
        self.best = {name: value.to(self.device) for name, value in below("best.", tensors).items()}
        for name, value in self._tensors().items():
            value.copy_(tensors[name])
        self.epoch, self.step = state["epoch"], state["step"]
        self.record = load_record(state["record"])
        self.metrics = from_plain(state["metrics"])
        self.moments = verdict.from_plain(state.get("moments", ()))
        self.history = tuple(Stretch.model_validate(each) for each in state.get("history", ()))

    def best_network(self) -> nn.Module:
        """The network with the weights that count, for evaluation; the trial cannot be trained further."""
        for name, value in self.network_tensors().items():
            value.copy_(self.best.get(name, value))
        for parameter in self.network.parameters():
            parameter.grad = None
            parameter.data = parameter.data.clone()
        return self.network.eval()


def make_network(spec: SweepSpec, task: Task, schema: Schema, lane: Lane) -> nn.Module:
    """A trial's network with its initial weights.

    The initializer acts on built-in tasks with built-in networks, and on a user's own where the sweep file names one;
    else the weights stay as the user's code made them, with torch's generator seeded by the trial.

    Raises:
        TaskError: if the task gives no module.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(draws.fold(lane.seed, "torch") >> 1 & (1 << 62) - 1)
        network = task.network({**spec.fixed(), **lane.parameters}, schema)
    if not isinstance(network, nn.Module):
        raise TaskError(
            f"{type(task).__name__}.network returned {type(network).__name__}; it has to return an nn.Module"
        )
    replace_torch_dropout(network)
    searched = any(name.startswith("initializer.") for name in lane.parameters)
    if not spec.has_code or searched or "initializer" in spec.model_fields_set:
        initialize(network, spec.components(lane.parameters).initializer, lane.seed)
    return network


def is_too_large(spec: SweepSpec, task: Task, schema: Schema, lane: Lane, memory_bytes: int) -> bool:
    """Whether a network with all that belongs to it leaves too little room on a device of so much memory."""
    network = make_network(spec, task, schema, lane)
    weights = sum(value.numel() * value.element_size() for value in network.parameters())
    copies = 3 + len(RULES[spec.components(lane.parameters).optimizer.kind][1])
    return copies * weights > ROOM * memory_bytes


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
