"""Training: ranks, the processes that train one trial together.

Each holds the whole trial and takes its share of every batch. What they have to agree on, they sum: a sum over the
ranks is the same on each of them to the last bit, and so is whatever is decided by it. Torch is imported once they are
several.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil

from podium.errors import MeetingFailed, PodiumError, TaskError
from podium.sweep.messages import Event
from podium.training.seats import MEET_S, Seat

if TYPE_CHECKING:
    from torch import Tensor

    from podium.training.live import Gathered


INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables of the environment by which the user, or else this module, says which network interface to use."""


class Ranks:
    """What one of the processes that train a trial together knows of the others, and of the driver.

    A process by itself is one of one, and sums cost nothing.

    Args:
        emit: Takes events; the first rank's reach it, those of the others would say the same again.
        halted: Asked before every step; what one rank hears, all of them do at the same step.
        device: `cpu`, or `cuda` if what they exchange has to be on a GPU, where there is one.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        waited_s: Seconds spent in exchanges so far.
    """

    def __init__(self, emit: Callable[[Event], None], halted: Callable[[], bool], device: str = "cpu") -> None:
        self._emit, self._halted, self._device = emit, halted, device
        self.rank, self.count = 0, 1
        self.waited_s = 0.0
        self._unset = [name for name in INTERFACES if name not in os.environ]
        self._own = self._heard = (False, False)

    @property
    def is_first(self) -> bool:
        """Whether this rank saves and reports."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of every batch is this rank's, and of how many."""
        return self.rank, self.count

    def sit(self, seat: Seat) -> None:
        """Leaves the ranks it was with, and meets others: NCCL connects those on GPUs, gloo all others.

        Raises:
            MeetingFailed: if not all of them come in time.
        """
        self.leave()
        if seat.count == 1:
            return

        import torch
        import torch.distributed as dist

        if not torch.cuda.is_available():
            self._device = "cpu"
        os.environ |= dict.fromkeys(self._unset, _interface(seat.address))
        meeting, within = timedelta(seconds=MEET_S), timedelta(seconds=seat.within_s)
        try:
            store = dist.TCPStore(  # type: ignore[attr-defined]
                seat.host,
                seat.port,
                seat.count,
                seat.rank == 0,
                meeting,
                wait_for_workers=False,
                master_listen_fd=seat.listener,
            )
            store.set(f"here/{seat.rank}", "yes")
            store.wait([f"here/{rank}" for rank in range(seat.count)], meeting)
            backend = "nccl" if self._device == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=seat.rank, world_size=seat.count, timeout=within)
        except RuntimeError as error:
            raise MeetingFailed(
                f"rank {seat.rank} of {seat.count} did not meet the others at {seat.host}:{seat.port}: {error}"
            ) from error
        self.rank, self.count = seat.rank, seat.count

    def leave(self) -> None:
        """Is alone from now on; who still waits for this rank learns of it at once."""
        was, self.rank, self.count = self.count, 0, 1
        if was > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    def require_connection(self) -> None:
        """Makes sure that the ranks are still together.

        Raises:
            TaskError: if the user's code has ended that.
        """
        if self.count > 1:
            import torch.distributed as dist

            if not dist.is_initialized():
                raise TaskError(
                    "the training function destroyed torch's process group, which its ranks need again: leave "
                    "`destroy_process_group` out"
                )

    def total(self, tensors: "Sequence[Tensor]") -> None:
        """Sums each tensor over the ranks, in place and in one exchange; they are of one dtype."""
        if self.count == 1:
            return

        import torch

        bucket = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._sum(bucket)
        for tensor, part in zip(tensors, torch.split(bucket, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def average(self, gradients: "Tensor", weights: "Tensor", *, are_summed: bool = False) -> None:
        """Divides gradients of sums of losses by the sum of weights, both over all ranks; carries the flags along.

        Args:
            gradients: `[K, P]`, this rank's; in place.
            weights: `[K]`, the sums of its samples' weights.
            are_summed: Whether the gradients are those of all ranks already.
        """
        weights = weights.to(gradients.dtype, copy=True)
        if self.count > 1:
            flags = gradients.new_tensor(self._own)
            self.total([weights, flags] if are_summed else [gradients, weights, flags])
            self._heard = _any(flags, self._heard)
        gradients.div_(weights.masked_fill_(weights == 0, 1).unsqueeze(1))  # where nothing counts, they are 0

    def emit(self, event: Event) -> None:
        """Tells the driver."""
        if self.is_first:
            self._emit(event)

    def begin_step(self, is_due: bool) -> None:
        """Notes whether this rank was told to halt, and whether for it a checkpoint is due, for the others to hear."""
        self._own, self._heard = (self._halted(), is_due), (False, False)

    def end_step(self) -> tuple[bool, bool]:
        """Whether one of the ranks was told to halt before the step, and whether for one a checkpoint was due."""
        return self._own if self.count == 1 else self._heard

    def hear(self, is_due: bool) -> tuple[bool, bool]:
        """The same between two steps, at the price of an exchange."""
        self.begin_step(is_due)
        if self.count > 1:
            import torch

            flags = torch.tensor(self._own, dtype=torch.float32, device=self._device)
            self._sum(flags)
            self._heard = _any(flags, self._heard)
        return self.end_step()

    def largest(self, number: float) -> float:
        """The largest of the numbers that the ranks give."""
        if self.count == 1:
            return number

        import torch
        import torch.distributed as dist

        largest = torch.tensor(number, dtype=torch.float64, device=self._device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return float(largest)

    def merge(self, gathered: "Gathered") -> None:
        """Takes in what the other ranks have gathered, in their order."""
        if self.count == 1:
            return

        import torch
        import torch.distributed as dist

        self.total([gathered.loss, gathered.weight])
        fresh = gathered.fresh_metrics()
        for name, metric in gathered.metrics.items():
            states = [{key: torch.empty_like(value) for key, value in metric.state.items()} for _ in range(self.count)]
            for key, value in metric.state.items():
                dist.all_gather([state[key] for state in states], value.contiguous())
            metric.state = states[0]
            for state in states[1:]:
                fresh[name].state = state
                metric.merge(fresh[name])

    def told(self, texts: Sequence[str]) -> list[str]:
        """The first rank's texts."""
        if self.count == 1:
            return list(texts)

        import torch
        import torch.distributed as dist

        written = torch.tensor(list(json.dumps(list(texts)).encode()), dtype=torch.uint8, device=self._device)
        size = torch.tensor([len(written)], device=self._device)
        dist.broadcast(size, 0)
        if not self.is_first:
            written = torch.empty(int(size), dtype=torch.uint8, device=self._device)
        dist.broadcast(written, 0)
        found: list[str] = json.loads(bytes(written.tolist()))
        return found

    def _sum(self, tensor: "Tensor") -> None:
        import torch.distributed as dist

        began = time.perf_counter()
        dist.all_reduce(tensor)
        self.waited_s += time.perf_counter() - began


ALONE = Ranks(emit=lambda event: None, halted=lambda: False)
"""The one rank of a trial that nobody asks about."""


def _any(flags: "Tensor", before: tuple[bool, bool]) -> tuple[bool, bool]:
    halted, is_due = (flags > 0).tolist()
    return halted or before[0], is_due or before[1]


def _interface(address: str) -> str:
    """The network interface that has an address of this host."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return str(name)
    raise PodiumError(f"no network interface of this host has the address {address}, by which the other ranks call it")
