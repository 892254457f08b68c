"""How fast data are prepared, and in how much memory, against the same Dask graph writing plain Parquet.

    python tests/benchmarks/preparing.py [--gigabytes 4] [--rounds 3] [--folder FOLDER]

Both sides read the same blocks of images (uint8, 3 x 32 x 32 bytes each) with Dask's threads, in turn, each in a
process of its own; what they wrote is flushed to the disk within the time. The memory is the largest sum of the
resident memory of the process and its children, looked at every 50 ms; mapped pages of the source are among it.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

RECORD = (3, 32, 32)
LOOK_EVERY_S = 0.05

PODIUM = """
import sys, time
from pathlib import Path
from podium.data.prepare import prepare
from podium.spec.data import DataSettings
source, target = sys.argv[1:]
settings = DataSettings.model_validate({"source": {"kind": "arrays", "path": source}})
began = time.perf_counter()
folder = prepare(settings, base=Path(source), store=target, cache=Path(target) / "cache")
print(time.perf_counter() - began)
"""
PARQUET = """
import os, sys, time
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from dask.base import compute
from dask.delayed import delayed
from podium.data.sources import make_source
from podium.spec.data import DataSettings
source, target = sys.argv[1:]
settings = DataSettings.model_validate({"source": {"kind": "arrays", "path": source}})

def write(block, path):
    records = block.read()
    flat = pa.FixedSizeListArray.from_arrays(pa.array(records.inputs.reshape(-1)), records.inputs[0].size)
    pq.write_table(pa.table({"inputs": flat, "targets": pa.array(records.targets)}), path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())

Path(target).mkdir()
began = time.perf_counter()
blocks = make_source(settings, Path(source)).blocks(target)
compute(*[delayed(write)(block, f"{target}/{n:05d}.parquet") for n, block in enumerate(blocks)], scheduler="threads")
print(time.perf_counter() - began)
"""
AGAIN = PODIUM.replace("began = time.perf_counter()\n", "began = time.perf_counter()  # everything is there\n")


def write_source(folder: Path, gigabytes: float) -> int:
    """A folder of two `.npy` files; returns how many records it has."""
    count = int(gigabytes * 1e9 / np.prod(RECORD))
    generator = np.random.default_rng(0)
    inputs = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.uint8, shape=(count, *RECORD))
    for first in range(0, count, 10_000):
        part = inputs[first : first + 10_000]
        smooth = generator.integers(0, 256, (len(part), 3, 8, 8), dtype=np.uint8)
        part[:] = smooth.repeat(4, axis=2).repeat(4, axis=3) + generator.integers(0, 8, part.shape, dtype=np.uint8)
    inputs.flush()
    np.save(folder / "y.npy", np.arange(count) % 10)
    return count


def run(code: str, source: Path, target: Path) -> tuple[float, float]:
    """Seconds, and megabytes at the peak."""
    peak, ended = 0, threading.Event()
    with subprocess.Popen([sys.executable, "-c", code, source, target], stdout=subprocess.PIPE, text=True) as process:
        own = psutil.Process(process.pid)

        def look() -> None:
            nonlocal peak
            while not ended.wait(LOOK_EVERY_S):
                try:
                    peak = max(peak, sum(each.memory_info().rss for each in [own, *own.children(recursive=True)]))
                except psutil.Error:
                    continue

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        output, _ = process.communicate()
        ended.set()
        watcher.join()
        if process.returncode:
            raise SystemExit(f"a side failed with {process.returncode}")
    return float(output.split()[-1]), peak / 1e6


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    """Runs both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room for three times as much")
    arguments = parser.parse_args()
    results: dict[str, list[float]] = {
        "podium_s": [],
        "parquet_s": [],
        "podium_mb": [],
        "parquet_mb": [],
        "again_s": [],
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        count = write_source(source, arguments.gigabytes)
        print(f"{count} records of {np.prod(RECORD)} bytes", file=sys.stderr)
        for number in range(arguments.rounds):
            for side, code in (("parquet", PARQUET), ("podium", PODIUM)):
                seconds, megabytes = run(code, source, folder / side)
                results[f"{side}_s"].append(seconds)
                results[f"{side}_mb"].append(megabytes)
                print(f"round {number}: {side} {seconds:.1f} s, {megabytes:.0f} MB", file=sys.stderr)
                if side == "podium":
                    results["again_s"].append(run(AGAIN, source, folder / side)[0])
                shutil.rmtree(folder / side)
    ratios = [parquet / podium for parquet, podium in zip(results["parquet_s"], results["podium_s"], strict=True)]
    print(f"speed, as a share of plain Parquet's: {spread(ratios)}")
    print(f"seconds: {spread(results['podium_s'])} against {spread(results['parquet_s'])}")
    print(f"MB at the peak: {spread(results['podium_mb'])} against {spread(results['parquet_mb'])}")
    print(f"seconds of a second launch on prepared data: {spread(results['again_s'])}")
    print(json.dumps({"ratios": ratios, **results}))


if __name__ == "__main__":
    main()
