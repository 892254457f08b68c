"""Training: ranks, the processes that train one trial together.

Each holds the whole trial and takes its share of every batch. What they have to agree on, they sum: a sum over the
ranks is the same on each of them to the last bit, and so is whatever is decided by it.
"""

import json
import os
from collections.abc import Callable, Sequence
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from podium.errors import PodiumError
from podium.sweep.messages import Event
from podium.training.live import Gathered
from podium.training.seats import Seat


class Ranks:
    """What one of the processes that train a trial together knows of the others, and of the driver.

    A process by itself is one of one, and sums cost nothing.

    Args:
        emit: Takes events; the first rank's reach it, those of the others would say the same again.
        halted: Asked after every step; what one rank hears, all of them do at the same step.
        rank: Its number, from 0.
        count: How many there are.
        device: Where what they exchange has to be.

    Attributes:
        rank: As above.
        count: As above.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        halted: Callable[[], bool],
        rank: int = 0,
        count: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self._emit, self._halted = emit, halted
        self.rank, self.count = rank, count
        self._device = device or torch.device("cpu")

    @property
    def is_first(self) -> bool:
        """Whether this rank saves and reports."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of every batch is this rank's, and of how many."""
        return self.rank, self.count

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Sums each tensor over the ranks, in place and in one exchange; they are of one dtype."""
        if self.count == 1:
            return
        bucket = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(bucket)
        parts = torch.split(bucket, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def emit(self, event: Event) -> None:
        """Tells the driver."""
        if self.is_first:
            self._emit(event)

    def hear(self, is_due: bool) -> tuple[bool, bool]:
        """Whether one of the ranks was told to halt, and whether for one of them a checkpoint is due."""
        flags = self._halted(), is_due
        if self.count == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.float32, device=self._device)
        dist.all_reduce(raised)
        halted, is_due = (raised > 0).tolist()
        return halted, is_due

    def merge(self, gathered: Gathered) -> None:
        """Takes in what the other ranks have gathered, in their order."""
        if self.count == 1:
            return
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
        written = torch.tensor(list(json.dumps(list(texts)).encode()), dtype=torch.uint8, device=self._device)
        size = torch.tensor([len(written)], device=self._device)
        dist.broadcast(size, 0)
        if not self.is_first:
            written = torch.empty(int(size), dtype=torch.uint8, device=self._device)
        dist.broadcast(written, 0)
        found: list[str] = json.loads(bytes(written.tolist()))
        return found


ALONE = Ranks(emit=lambda event: None, halted=lambda: False)
"""The one rank of a trial that nobody asks about."""


def join(seat: Seat | None, device: torch.device, emit: Callable[[Event], None], halted: Callable[[], bool]) -> Ranks:
    """Meets the other ranks: NCCL connects those on GPUs, gloo all others. They stay together as long as the process.

    Args:
        seat: This rank's; None if it is alone.
        device: Where it trains.
        emit: Takes events.
        halted: Asked after every step.

    Raises:
        PodiumError: if not all of them come in time.
    """
    if seat is None:
        return Ranks(emit, halted)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, _interface(seat.address))
    within, is_first = timedelta(seconds=seat.within_s), seat.rank == 0
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        store = TCPStore(
            seat.host,
            seat.port,
            seat.count,
            is_first,
            within,
            wait_for_workers=False,
            master_listen_fd=seat.listener,
        )
        dist.init_process_group(backend, store=store, rank=seat.rank, world_size=seat.count, timeout=within)
    except RuntimeError as error:
        raise PodiumError(
            f"rank {seat.rank} of {seat.count} did not meet the others at {seat.host}:{seat.port}: {error}"
        ) from error
    return Ranks(emit, halted, seat.rank, seat.count, device)


def _interface(address: str) -> str:
    """The network interface that has an address of this host."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return str(name)
    raise PodiumError(f"no network interface of this host has the address {address}, by which the other ranks call it")
