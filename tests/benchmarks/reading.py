"""Samples a second of the reader, against what else hands out batches of the same records from the local disk.

Random batches of 256 images of 3 KB against torch's DataLoader over the same arrays in memory, and against WebDataset,
MosaicML Streaming and LitData where they are installed, each with as many workers of 0, 1 and 2 as suit it best; and
batches in the order of the shards against numpy, which copies the same bytes.

python tests/benchmarks/reading.py [--rounds 3] [--samples 60000]

All sides take turns. A clock starts with a side's first batch, so that no start of workers is measured. The files stay
in the page cache, so that no disk is measured either.
"""

import argparse
import importlib
import io
import json
import statistics
import sys
import tarfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.execution.worker import keep_freed_memory
from podium.spec.data import DataSettings

BATCH, SHAPE = 256, (3, 16, 16)
IN_FILE = 10_000
WORKERS = (0, 1, 2)

Batches = Callable[[int], Iterable[Any]]
"""An epoch's batches, handed out by so many workers."""


def dataloader(images: Any, labels: Any, folder: Path) -> Batches:
    del folder
    samples = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    return lambda workers: DataLoader(samples, batch_size=BATCH, shuffle=True, num_workers=workers)


def webdataset(images: Any, labels: Any, folder: Path) -> Batches:
    import webdataset as wds

    for first in range(0, len(images), IN_FILE):
        with tarfile.open(folder / f"{first // IN_FILE:03d}.tar", "w") as tar:
            for row in range(first, min(first + IN_FILE, len(images))):
                buffer = io.BytesIO()
                np.save(buffer, images[row])
                for ending, content in (("npy", buffer.getvalue()), ("cls", str(labels[row]).encode())):
                    entry = tarfile.TarInfo(f"{row:08d}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    files = sorted(map(str, folder.glob("*.tar")))

    def batches(workers: int) -> Iterable[Any]:
        samples = wds.WebDataset(files, shardshuffle=len(files)).shuffle(1000).decode().to_tuple("npy", "cls")
        return DataLoader(samples.batched(BATCH), batch_size=None, num_workers=workers)

    return batches


def streaming(images: Any, labels: Any, folder: Path) -> Batches:
    from streaming import MDSWriter, StreamingDataset

    columns = {"image": f"ndarray:float32:{','.join(map(str, SHAPE))}", "label": "int"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for image, label in zip(images, labels, strict=True):
            writer.write({"image": image, "label": int(label)})

    def batches(workers: int) -> Iterable[Any]:
        samples = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
        return DataLoader(samples, batch_size=BATCH, num_workers=workers)

    return batches


def litdata(images: Any, labels: Any, folder: Path) -> Batches:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=2**26)
    for row in range(len(images)):
        writer.add_item(row, {"image": images[row], "label": int(labels[row])})
    writer.done()
    writer.merge()

    def batches(workers: int) -> Iterable[Any]:
        samples = StreamingDataset(str(folder), shuffle=True)
        return StreamingDataLoader(samples, batch_size=BATCH, num_workers=workers)

    return batches


OTHERS = {"torch": (dataloader, 5), "webdataset": (webdataset, 3), "streaming": (streaming, 3), "litdata": (litdata, 3)}
"""By package what writes its files, and how many times as many samples a second we are to hand out at least."""


def rate(batches: Iterable[Any], limit_s: float = 10.0) -> float:
    """Batches a second, from the first one on."""
    each = iter(batches)
    next(each)
    began, count = time.perf_counter(), 0
    for _ in each:
        count += 1
        if time.perf_counter() - began > limit_s:
            break
    return count / (time.perf_counter() - began)


def best(batches: Batches) -> float:
    """With as many workers as suit it best."""
    rates = {workers: rate(batches(workers)) * BATCH for workers in WORKERS}
    print(f"  {json.dumps({workers: round(value) for workers, value in rates.items()})}", file=sys.stderr, flush=True)
    return max(rates.values())


def tell(ratios: list[float], meaning: str) -> None:
    print(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) {meaning}", flush=True)


def copies(images: Any) -> Iterable[Any]:
    for first in range(0, len(images), BATCH):
        yield images[first : first + BATCH].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=60_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.simplefilter("ignore")
    random = np.random.default_rng(0)
    images = random.random((options.samples, *SHAPE), dtype=np.float32)
    labels = random.integers(0, 10, options.samples)
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", x=images, y=labels)
        source = {"kind": "arrays", "path": "images.npz"}
        split = {"train": 1, "validation": 0, "test": 0}
        data = DataSettings.model_validate({"source": source, "split": split, "normalize": False})
        reader = Reader(prepare(data, base=folder, store=name, cache=folder))
        sides = {}
        for package, (write, least) in OTHERS.items():
            try:
                importlib.import_module(package)
            except ImportError as error:
                print(f"{package} is left out: {error}")
                continue
            (folder / package).mkdir()
            sides[package] = (write(images, labels, folder / package), least)
        ratios: dict[str, list[float]] = {package: [] for package in sides}
        contiguous = []
        for number in range(options.rounds):
            for package, (batches, _) in sides.items():
                ours = rate(reader.epoch("train", batch_size=BATCH, seed=0, epoch=number)) * BATCH
                print(f"reader: {ours:.0f}, {package}, by workers:", file=sys.stderr, flush=True)
                ratios[package].append(ours / best(batches))
            contiguous.append(rate(reader.sequential("train", BATCH)) / rate(copies(images)))
        for package, (_, least) in sides.items():
            tell(ratios[package], f"times as many random samples a second as {package} (at least {least})")
        tell(contiguous, "times as many samples a second in the order of the shards as numpy copies (at least 0.5)")


if __name__ == "__main__":
    main()
