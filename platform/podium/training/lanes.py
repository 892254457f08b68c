"""Training: lanes, the trials that are trained as one stack of weights, with one forward and backward pass for all.

Weights, buffers and optimizer state have a leading lane axis, K long; hyperparameters are values for each lane. The
trials' own tensors become views of the stack's rows, so that a trial can be saved, or leave, at any step.
"""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from podium.training import draws
from podium.training.artifacts import Log
from podium.training.flat import stack as stack_weights
from podium.training.live import Gathered, LiveTrial
from podium.training.plain import Plain, mean_of, products_in, weighted_sum
from podium.training.probe import Inspection, Probe, inspection
from podium.training.ranks import ALONE, Ranks
from podium.training.samples import Samples
from podium.training.task import Task
from podium.training.toolbox.chance import Chance, begin_step
from podium.training.toolbox.hyperparameters import for_lanes
from podium.training.toolbox.layers import replace_layers
from podium.training.toolbox.optimizers import stack as stack_optimizers
from podium.training.toolbox.penalties import add_penalties, clip, norms_of
from podium.training.toolbox.recurrent import unroll_recurrent
from podium.training.toolbox.schedules import factor

Named = dict[str, Tensor]


class Group(Protocol):
    """Trials that make their steps together: `Plain` or `Stack`, whose methods say what these do."""

    @property
    def lives(self) -> tuple[LiveTrial, ...]: ...  # noqa: D102
    def begin_epoch(self, in_epoch: int, steps: int) -> None: ...  # noqa: D102
    def step(self, samples: Samples) -> None: ...  # noqa: D102
    def inspect(self, samples: Samples) -> Inspection: ...  # noqa: D102
    def collect(self) -> None: ...  # noqa: D102
    def settle(self) -> None: ...  # noqa: D102
    def begin_validation(self) -> None: ...  # noqa: D102
    def validate(self, samples: Samples, logs: Sequence[Log]) -> None: ...  # noqa: D102
    def end_validation(self) -> list[Gathered]: ...  # noqa: D102
    def are_finite(self) -> list[bool]: ...  # noqa: D102


def groups(lives: Sequence[LiveTrial], width: int, stacks_metrics: bool, ranks: Ranks = ALONE) -> list[Group]:
    """Trials of one signature in stacks of nearly equal size, at most `width` wide; alone they are trained plainly."""
    count = -(-len(lives) // width)
    cuts = [len(lives) * index // count for index in range(count + 1)]
    parts = [lives[first:last] for first, last in itertools.pairwise(cuts)]
    return [Plain(part[0], ranks) if len(part) == 1 else Stack(part, stacks_metrics, ranks) for part in parts]


class Stack:
    """K trials of one signature at the same step, trained as one.

    Args:
        lives: The trials; from now on their tensors are views of the stack's.
        stacks_metrics: Whether the task's metrics can be gathered for all lanes at once.
        ranks: Those that train them together; their networks have no batch norms then.

    Attributes:
        lives: The trials; a lane is an index into them.
    """

    def __init__(self, lives: Sequence[LiveTrial], stacks_metrics: bool = True, ranks: Ranks = ALONE) -> None:
        self.lives, self._ranks = tuple(lives), ranks
        first = lives[0]
        self._task, self._device, self._stacks_metrics = first.task, first.device, stacks_metrics
        self._template = _template(lives)
        self._chance = [(site, module) for site, module in self._template.named_modules() if isinstance(module, Chance)]
        self._flat = stack_weights([live.flat for live in lives])
        self._optimizer = stack_optimizers([live.optimizer for live in lives])
        self._fixed = _stacked([_fixed(live.network) for live in lives])
        for lane, live in enumerate(lives):
            row = {name: value[lane] for name, value in self._fixed.items()}
            live.move(self._flat.row(lane), self._optimizer.row(lane), row)
        views = self._flat.views(self._flat.weights)
        self._weights = {name: view.detach().requires_grad_() for name, view in views.items()}
        self._gradients = self._flat.views(self._flat.gradients)
        settings = [live.settings for live in lives]
        self._l1 = self._number([each.penalty.l1 for each in settings])
        self._l2 = self._number([each.penalty.l2 for each in settings])
        clips = [each.optimizer.clip for each in settings]
        self._clip = self._number([torch.inf if clip is None else clip for clip in clips]) if any(clips) else None
        values = {name: self._number([float(live.values[name]) for live in lives]) for name in first.values}
        self._same = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
        self._own = {
            name: value.view(-1).to(self._flat.weights.dtype)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        self._validation = self._fresh_sums()
        self.collect()

    def begin_epoch(self, in_epoch: int, steps: int) -> None:
        """An epoch of `in_epoch` steps begins or goes on; `epochs.max` epochs have `steps`."""
        first = self.lives[0]
        self._template.train()
        before = first.epoch * in_epoch
        rates = [
            [
                live.settings.optimizer.learning_rate
                * factor(live.settings.schedule, before + step, steps, live.record.drops)
                for live in self.lives
            ]
            for step in range(in_epoch)
        ]
        self._rates = torch.tensor(rates, dtype=torch.float64, device=self._device).unsqueeze(2)
        self._before = before
        for site, _ in self._chance:
            keys = [draws.fold(live.seed, "dropout", site, first.epoch) for live in self.lives]
            self._fixed[f"{site}.key"].copy_(torch.tensor(keys))

    def step(self, samples: Samples) -> None:
        """One step of all lanes: forward, backward, penalties, clipping, the optimizer."""
        flat, step = self._flat, self.lives[0].step
        sums = self._fresh_sums() if samples.stands_in else self._train
        parts = samples.parts(self.lives[0].compute.microbatch)
        is_whole = len(parts) == self._ranks.count == 1
        weights = torch.zeros(len(self.lives), device=self._device)
        for number, part in enumerate(parts):
            weights = weights + self._backward(part, self._fixed, sums, is_whole=is_whole, adds=number > 0)
        with torch.no_grad():
            if not is_whole:
                counts = float(not samples.stands_in)
                self._ranks.average(flat.gradients.mul_(counts), weights * counts)
            add_penalties(flat, self._l1, self._l2)
            if self._clip is not None:
                clip(flat.gradients, self._clip, norms_of(flat.gradients))
            self._optimizer.step(flat.weights, flat.gradients, self._rates[step], self._before + step + 1)

    def inspect(self, samples: Samples) -> Inspection:
        """Looks inside the networks, layer by layer, and changes nothing of the trials."""
        first, probe = self.lives[0], Probe(self._template, self._flat)
        fixed = {name: value.clone() for name, value in self._fixed.items()}

        def lane(*tensors: Tensor) -> Any:
            left = iter(tensors)
            named = {name: next(left) for name in (*self._weights, *fixed)}
            values = {**self._same, **{name: next(left) for name in self._own}}
            batch = samples.batch(values, first.settings.loss, first.class_weights)
            outputs = functional_call(self._template, named, batch.arguments(self._template))
            total, weight = weighted_sum(self._task, outputs, batch)
            return mean_of(total, weight), probe.take()

        with probe.watching(), products_in(first.compute, self._device):
            losses, seen = vmap(lane)(*self._weights.values(), *fixed.values(), *self._own.values())
        gradients = torch.autograd.grad(losses.sum(), list(self._weights.values()), allow_unused=True)
        return inspection(probe, self._flat, losses, seen, gradients)

    def collect(self) -> None:
        """Takes over the trials' sums of the epoch so far."""
        self._train = self._sums([live.gathered for live in self.lives])

    def settle(self) -> None:
        """Brings the sums of the epoch so far to the trials, so that these can be saved, or leave."""
        for lane, live in enumerate(self.lives):
            self._train.spread(lane, live.gathered)

    def begin_validation(self) -> None:
        """Validation begins."""
        self._template.eval()
        self._validation = self._fresh_sums()

    def validate(self, samples: Samples, logs: Sequence[Log]) -> None:
        """Takes in one batch; the task may log with it, one log a trial, if there are any. Gradients have to be off."""
        if samples.stands_in:
            return
        logs = logs if type(self._task).log is not Task.log else ()
        for part in samples.parts(self.lives[0].compute.microbatch):
            outputs = self._run(part, self._weights, self._fixed, self._validation, needs_outputs=bool(logs))[2]
            for lane, (live, log) in enumerate(zip(self.lives, logs, strict=False)):
                self._task.log(log, _lane(outputs, lane), live.batch(part))
            logs = ()

    def end_validation(self) -> list[Gathered]:
        """What was gathered for each trial."""
        found = [Gathered(self._task, self._device) for _ in self.lives]
        for lane, gathered in enumerate(found):
            self._validation.spread(lane, gathered)
        return found

    def are_finite(self) -> list[bool]:
        """Whether each trial's weights are all finite."""
        finite: list[bool] = torch.isfinite(self._flat.weights).all(dim=1).tolist()
        return finite

    def rehearse(self, samples: Samples) -> tuple[Tensor, Named]:
        """Makes a step without taking it: each lane's sum of losses, and the buffers that would follow.

        Raises:
            Exception: whatever a task raises that cannot be stacked.
        """
        fixed, sums = {name: value.clone() for name, value in self._fixed.items()}, self._fresh_sums()
        self._template.train()
        self._backward(samples, fixed, sums, is_whole=True)
        return sums.loss, fixed

    def _backward(self, samples: Samples, fixed: Named, sums: "_Sums", *, is_whole: bool, adds: bool = False) -> Tensor:
        """Brings the gradients of each lane's mean loss, or of its sum; gives the sums of weights, `[K]`."""
        begin_step(self._chance, samples.positions)
        total, weight, _ = self._run(samples, self._weights, fixed, sums)
        losses = mean_of(total, weight) if is_whole else total
        found = torch.autograd.grad(losses.sum(), list(self._weights.values()), allow_unused=True)
        put = Tensor.add_ if adds else Tensor.copy_
        for target, gradient in zip(self._gradients.values(), found, strict=True):
            put(target, torch.zeros_like(target) if gradient is None else gradient)
        return weight

    def _run(
        self, samples: Samples, weights: Named, fixed: Named, sums: "_Sums", needs_outputs: bool = False
    ) -> tuple[Tensor, Tensor, Any]:
        """Sums of losses and of weights, `[K]` each, which are also added to `sums`; and the outputs, if needed."""
        needs_outputs, first = needs_outputs or not self._stacks_metrics, self.lives[0]

        # vmap takes a flat list of tensors in a third of the time that it needs for dictionaries
        stacked = [value for each in (weights, fixed, self._own, *sums.states.values()) for value in each.values()]

        def lane(*tensors: Tensor) -> Any:
            left = iter(tensors)
            named = {name: next(left) for name in (*weights, *fixed)}
            values = {**self._same, **{name: next(left) for name in self._own}}
            batch = samples.batch(values, first.settings.loss, first.class_weights)
            outputs = functional_call(self._template, named, batch.arguments(self._template))
            total, weight = weighted_sum(self._task, outputs, batch)
            found = []
            with torch.no_grad():
                for name, state in sums.states.items():
                    metric = sums.metrics[name]
                    metric.state = {key: next(left) for key in state}
                    metric.update(outputs, batch)
                    found += [metric.state[key] for key in state]
            weight = torch.as_tensor(weight, dtype=total.dtype, device=total.device)
            return total, weight, outputs if needs_outputs else (), *found

        with products_in(first.compute, self._device):
            total, weight, outputs, *found = vmap(lane)(*stacked)
        left = iter(found)
        states = {name: {key: next(left) for key in state} for name, state in sums.states.items()}
        with torch.no_grad():
            sums.loss += total
            sums.weight += weight
            sums.states = states
            if not self._stacks_metrics:
                sums.update_each(outputs, [live.batch(samples) for live in self.lives])
        return total, weight, outputs

    def _number(self, numbers: Sequence[float]) -> Any:
        return for_lanes(numbers, self._device)

    def _fresh_sums(self) -> "_Sums":
        return self._sums([Gathered(self._task, self._device) for _ in self.lives])

    def _sums(self, gathered: Sequence[Gathered]) -> "_Sums":
        return _Sums(self._task, gathered, self._stacks_metrics)


class _Sums:
    """The sums of one pass over a split for all lanes.

    Attributes:
        loss: `[K]` float64, the sums of weighted losses.
        weight: `[K]` float64, the sums of weights.
        metrics: The task's own, which work on `states`.
        states: By metric, its state with a lane axis; empty if metrics cannot be stacked, and `each` has them.
    """

    def __init__(self, task: Task, gathered: Sequence[Gathered], stacks_metrics: bool) -> None:
        self.loss = torch.stack([each.loss for each in gathered])
        self.weight = torch.stack([each.weight for each in gathered])
        self.metrics, self.states = task.metrics(), dict[str, Named]()
        self.each = [each.metrics for each in gathered]
        if stacks_metrics:
            self.states = {name: _stacked([each[name].state for each in self.each]) for name in self.metrics}

    def update_each(self, outputs: Any, batches: Sequence[Any]) -> None:
        """Takes a batch into the metrics of one lane after the other."""
        for lane, (metrics, batch) in enumerate(zip(self.each, batches, strict=True)):
            for metric in metrics.values():
                metric.update(_lane(outputs, lane), batch)

    def spread(self, lane: int, gathered: Gathered) -> None:
        """Gives a lane's sums to `gathered`."""
        gathered.loss, gathered.weight = self.loss[lane].clone(), self.weight[lane].clone()
        for name, metric in gathered.metrics.items():
            stacked = self.states.get(name)
            metric.state = (
                self.each[lane][name].state
                if stacked is None
                else {key: value[lane].clone() for key, value in stacked.items()}
            )


def _template(lives: Sequence[LiveTrial]) -> nn.Module:
    """A network that computes a lane's outputs once it is given the lane's tensors."""
    template = copy.deepcopy(lives[0].network)
    unroll_recurrent(template)
    replace_layers(template)
    for parameter in template.parameters():
        parameter.grad = None
    networks = [dict(live.network.named_modules()) for live in lives]
    for site, module in template.named_modules():
        if isinstance(module, Chance):
            module.is_active = any(network[site].is_active for network in networks)
    return template


def _fixed(network: nn.Module) -> Named:
    """All tensors of a network that are not trained: buffers, and parameters that are frozen."""
    frozen = {name: value.detach() for name, value in network.named_parameters() if not value.requires_grad}
    return {**frozen, **dict(network.named_buffers())}


def _stacked(each: Sequence[Mapping[str, Tensor]]) -> Named:
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def _lane(outputs: Any, lane: int) -> Any:
    """One lane's part of what a network gave, whatever it is made of."""
    take: Callable[[Any], Any] = lambda leaf: leaf[lane] if isinstance(leaf, Tensor) else leaf  # noqa: E731
    return pytree.tree_map(take, outputs)
