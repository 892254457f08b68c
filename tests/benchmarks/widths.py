"""How many samples a second a stack of K trials trains, for K = 1 (plain), 2, 4, …, for some networks.

python tests/benchmarks/widths.py [--device cpu|cuda] [--widest 64] [--steps 20]

Prints one line a network: the rate of plain training, and by width how many times as many samples a second, the median
of three runs that take turns, with their range. On the CPU one thread does all the work, and its own time counts.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.execution.worker import keep_freed_memory
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane
from podium.training.lanes import groups
from podium.training.live import LiveTrial
from podium.training.samples import Samples
from podium.training.tasks import Classification

ROUNDS = 3
BATCH = 64


class Unit(nn.Module):
    """A residual unit (He et al., 2015, arXiv:1512.03385) of two 3 x 3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.other_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        inner = torch.relu(self.norm(self.first(inputs)))
        return torch.relu(inputs + self.other_norm(self.second(inner)))


class Mean(nn.Module):
    """Global average pooling."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(dim=(2, 3))


class Residual(Classification):
    """A small ResNet: two units of 16 channels, two of 32 at half the size."""

    def network(self, parameters: Any, schema: Schema) -> nn.Module:
        down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        body = [nn.Conv2d(schema.inputs[0], 16, 3, padding=1), Unit(16), Unit(16), down, Unit(32), Unit(32)]
        return nn.Sequential(*body, Mean(), nn.Linear(32, schema.classes))


WIDEST_ON_CPU = 16
"""Of convolutions: wider stacks of them take minutes there, and gain nothing more."""

NETWORKS: dict[str, tuple[Classification, tuple[int, ...], dict[str, Any]]] = {
    "mlp 64-64-10": (Classification(), (64,), {"kind": "mlp", "depth": 1}),
    "mlp 64-64-10, dropout": (Classification(), (64,), {"kind": "mlp", "depth": 1, "dropout": 0.2}),
    "mlp 784-64-64-10": (Classification(), (1, 28, 28), {"kind": "mlp", "depth": 2}),
    "LeNet, 28 x 28": (Classification(), (1, 28, 28), {"kind": "convnet", "depth": 2}),
    "ResNet of 10 layers, 28 x 28": (Residual(), (1, 28, 28), {}),
}


def rate(name: str, lanes: int, width: int, steps: int, device: torch.device) -> float:
    """Samples a second, summed over the lanes."""
    task, shape, network = NETWORKS[name]
    spec = SweepSpec.model_validate(
        {
            "sweep": "widths",
            "task": "classification",
            "data": {"source": "mnist_5k", "batch_size": BATCH},
            "network": network,
            "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
            "budget": {"trials": lanes, "epochs": {"max": 1}},
        }
    )
    schema = Schema(shape, "float32", (), "int64", 10, (), (), normalize=False)
    lives = [
        LiveTrial(
            spec, task, schema, Lane(trial=n, parameters={"optimizer.learning_rate": 1e-3 + 1e-4 * n}, seed=n), device
        )
        for n in range(lanes)
    ]
    draws = np.random.default_rng(0)
    inputs = torch.from_numpy(draws.normal(size=(BATCH, *shape)).astype(np.float32)).to(device)
    if device.type == "cpu" and len(shape) == 3:
        inputs = inputs.to(memory_format=torch.channels_last)
    samples = Samples(inputs, torch.arange(BATCH, device=device) % 10, torch.arange(BATCH, device=device))
    trained = groups(lives, width, True)
    for group in trained:
        group.begin_epoch(steps + 3, steps + 3)
    began = 0.0
    for step in range(steps + 3):
        if step == 3:
            began = stopwatch(device)
        for group in trained:
            group.step(samples)
        for live in lives:
            live.step += 1
    return BATCH * lanes * steps / (stopwatch(device) - began)


def stopwatch(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.thread_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--widest", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    device = torch.device(options.device)
    print(torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread", torch.__version__)
    for name in NETWORKS:
        is_slow = device.type == "cpu" and name.startswith(("LeNet", "ResNet"))
        widest = min(options.widest, WIDEST_ON_CPU) if is_slow else options.widest
        widths = [1 << power for power in range(1, widest.bit_length())]
        plain: list[float] = []
        gains: dict[int, list[float]] = {width: [] for width in widths}
        for _ in range(ROUNDS):
            plain.append(rate(name, 2, 1, options.steps, device))
            for width in widths:
                gains[width].append(rate(name, width, width, options.steps, device) / plain[-1])
        shown = "  ".join(
            f"{width}: {statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
            for width, each in gains.items()
        )
        print(f"{name}: plain {statistics.median(plain):,.0f} samples/s; {shown}", flush=True)


if __name__ == "__main__":
    main()
