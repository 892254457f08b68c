"""What the shards of one data set take in memory when many processes of a host read them.

    python tests/benchmarks/sharing.py [--gigabytes 1] [--processes 10] [--folder FOLDER]

Each process reads every sample of the train and the validation split by `podium.data.reader.Reader`, and waits for
the others. Then the proportional set sizes (PSS: a page that n processes map counts 1/n for each) of the shards'
mappings are summed, as /proc/PID/smaps tells them, for one process and for all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from preparing import write_source

from podium.data.prepare import prepare
from podium.spec.data import DataSettings

READ = """
import sys
from pathlib import Path
from podium.data.reader import Reader
reader = Reader(Path(sys.argv[1]))
for split in ("train", "validation"):
    for batch in reader.epoch(split, batch_size=256, seed=0, epoch=0):
        pass
print("read", flush=True)
sys.stdin.readline()
"""


def shards_mb(process: int) -> float:
    """The PSS of the mappings of shards in one process, in megabytes (10^6 bytes)."""
    kilobytes, is_shard = 0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            is_shard = bool(rest) and rest[-1].endswith(".arrow")
        elif name == "Pss:" and is_shard:
            kilobytes += int(rest[0])
    return kilobytes * 1024 / 1e6


def summed_mb(folder: Path, processes: int) -> float:
    """Of so many processes that have read everything."""
    command = [sys.executable, "-c", READ, folder]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for reader in readers:
        assert reader.stdout is not None
        if reader.stdout.readline() != "read\n":
            raise SystemExit("a process could not read the shards")
    total = sum(shards_mb(reader.pid) for reader in readers)
    for reader in readers:
        reader.communicate("\n")
    return total


def main() -> None:
    """Measures one process, and many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "source").mkdir()
        write_source(folder / "source", arguments.gigabytes)
        settings = DataSettings.model_validate({"source": {"kind": "arrays", "path": "source"}})
        shards = prepare(settings, base=folder, store=str(folder), cache=folder / "cache")
        one, many = summed_mb(shards, 1), summed_mb(shards, arguments.processes)
    print(f"one process: {one:.1f} MB; {arguments.processes} processes: {many:.1f} MB in sum, {many / one:.3f} times")
    print(json.dumps({"one_mb": one, "many_mb": many, "processes": arguments.processes, "ratio": many / one}))


if __name__ == "__main__":
    main()
