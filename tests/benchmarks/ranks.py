"""Samples a second of two ranks of one thread each, of one rank, and of torch's DDP, on a LeNet at batch 256.

Beside them what this machine has to give: two processes with half a batch each that do not know each other.

python tests/benchmarks/ranks.py [--rounds 3] [--steps 40]

All three sides take turns, each in processes of its own that are ready before the clock starts. Random images stand in
for data, so that only steps are measured: forward, backward, averaging over the ranks, the optimizer.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from podium.data.manifest import Schema
from podium.data.order import share
from podium.execution.worker import keep_freed_memory
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane
from podium.training.live import LiveTrial
from podium.training.plain import Plain
from podium.training.ranks import Ranks
from podium.training.samples import Samples
from podium.training.seats import Seat, listen
from podium.training.tasks import Classification

BATCH, WARM = 256, 5
HERE = "127.0.0.1"
CPU = torch.device("cpu")


def member(side: str, seat: Seat, steps: int) -> None:
    """One process of a side; prints the samples a second of the whole batch, or of its part if it is apart."""
    torch.set_num_threads(1)
    keep_freed_memory()
    ranks = Ranks(lambda event: None, lambda: False)
    if side != "apart":
        ranks.sit(seat)
    first, last = share(0, BATCH, seat.rank, seat.count)
    torch.manual_seed(0)
    inputs, targets = torch.randn(BATCH, 1, 28, 28)[first:last], (torch.arange(BATCH) % 10)[first:last]
    inputs = inputs.to(memory_format=torch.channels_last)
    spec = SweepSpec.model_validate(
        {
            "sweep": "ranks",
            "task": "classification",
            "data": {"source": "mnist_5k", "batch_size": BATCH},
            "network": {"kind": "convnet", "depth": 2},
            "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
            "budget": {"trials": 1, "epochs": {"max": 1}},
        }
    )
    schema = Schema((1, 28, 28), "float32", (), "int64", 10, (), (), normalize=False)
    live = LiveTrial(spec, Classification(), schema, Lane(trial=0, parameters={}, seed=0), CPU)
    plain = Plain(live, ranks)
    plain.begin_epoch(steps + WARM, steps + WARM)
    samples = Samples(inputs, targets, torch.arange(first, last))
    network = nn.parallel.DistributedDataParallel(live.network) if side == "ddp" else None
    optimizer = None if network is None else torch.optim.Adam(network.parameters())

    def step() -> None:
        if network is None or optimizer is None:
            plain.step(samples)
            live.step += 1
            return
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    for _ in range(WARM):
        step()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    print((last - first if side == "apart" else BATCH) * steps / (time.perf_counter() - began))


def rate(side: str, count: int, steps: int) -> float:
    """The samples a second of a side with so many processes."""
    with listen(HERE) as listener:
        seat = Seat(0, count, HERE, listener.getsockname()[1], HERE, 60.0)
        members = []
        for rank in range(count):
            descriptor = listener.fileno() if rank == 0 else None
            own = replace(seat, rank=rank, listener=descriptor)
            told = json.dumps([side, own.__dict__, steps])
            kept = () if descriptor is None else (descriptor,)
            members.append(
                subprocess.Popen(
                    [sys.executable, str(Path(__file__)), "--member", told],
                    pass_fds=kept,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        rates = [float(each.communicate(timeout=300)[0]) for each in members]
    return sum(rates) if side == "apart" else rates[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--member", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        side, seat, steps = json.loads(options.member)
        member(side, Seat(**seat), steps)
        return
    sides = (("podium", 2), ("podium", 1), ("ddp", 2), ("apart", 2))
    rounds = [[rate(side, count, options.steps) for side, count in sides] for _ in range(options.rounds)]
    for name, ratios in (
        ("one rank (at least 1.7)", sorted(two / one for two, one, _, _ in rounds)),
        ("two processes of DDP", sorted(two / ddp for two, _, ddp, _ in rounds)),
        ("two that do not know each other", sorted(two / apart for two, _, _, apart in rounds)),
    ):
        print(f"two ranks: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times {name}")


if __name__ == "__main__":
    main()
