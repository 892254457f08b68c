"""How long the ledger takes to append one event: python tests/benchmarks/append.py [--folder .] [--events 500]

Prints one JSON line: median and 90th percentile in milliseconds, on SQLite in a folder, on PostgreSQL if it is
installed, and of a bare write and fsync of as many bytes beside them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from podium.ledger import Book
from podium.sweep.messages import Advanced, Report

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgresql_server

EVENT = Advanced(
    key="advance/1",
    gang="1-0",
    reports=(Report(trial=1, epoch=3, values=(0.9,), metrics={f"validation/{name}": 0.5 for name in "abcdef"}),),
)


def timed(act: Callable[[], object], events: int) -> dict[str, float]:
    """Milliseconds of one call."""
    times = []
    for _ in range(events):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return {"median_ms": round(statistics.median(times), 3), "p90_ms": round(statistics.quantiles(times, n=10)[8], 3)}


def ledger(url: str, events: int) -> dict[str, float]:
    """Single appends to the ledger at an address."""
    book = Book(url)
    held = book.hold("s")
    figures = timed(lambda: held.append([EVENT]), events)
    held.release()
    book.close()
    return figures


def bare(path: Path, events: int) -> dict[str, float]:
    """The same bytes written and synced to a file."""
    content = EVENT.model_dump_json().encode()
    with path.open("wb", buffering=0) as file:

        def write() -> None:
            file.write(content)
            os.fsync(file.fileno())

        return timed(write, events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--events", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        figures = {
            "fsync": bare(Path(name) / "bare", options.events),
            "sqlite": ledger(f"sqlite:///{Path(name).resolve()}/ledger.db", options.events),
        }
    binaries = postgresql_server.find_binaries()
    if binaries is not None:
        with postgresql_server.running(binaries) as server:
            figures["postgresql"] = ledger(server.new_database(), options.events)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
