"""A job of Slurm that runs one sweep: the file for sbatch."""

import importlib.resources
import re
import shlex
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from podium.errors import CapacityError, UserError
from podium.spec.files import SweepFile
from podium.sweep.placement import Node, count_gangs
from podium.wiring.place import Place

LEAD_S = 90
"""Seconds beside `limits.grace_s` that are left for ending everything: Slurm may send its signal a minute late."""

ALL_CPUS = 1e6
"""More CPUs than a node has: where whole nodes are asked for, how many they have shows when the job runs."""

MINUTES, CLOCK, DAYS = r"(\d+)(?::(\d+))?", r"(\d+):(\d+):(\d+)", r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?"


@dataclass(frozen=True)
class Allocation:
    """What a job asks of Slurm.

    Attributes:
        nodes: So many.
        time: As Slurm writes it, say `8:00:00`.
        cpus_per_node: None for whole nodes.
        gpus_per_node: So many.
        words: Further options of sbatch with their values, such as the partition; None for what is not given.
        signal_s: So many seconds before its time is up the sweep is told to leave; None for what the sweep needs.
    """

    nodes: int
    time: str
    cpus_per_node: int | None
    gpus_per_node: int
    words: dict[str, str | None]
    signal_s: int | None

    def __post_init__(self) -> None:
        for option, word in self.words.items():
            if word is not None and not re.fullmatch(r"[^\s\"'\\#]+", word):
                raise UserError(f"--{option} is {word!r}; give one word, without blanks, quotes, '\\' and '#'")

    def lead_s(self, grace_s: float) -> int:
        """How long before its end the job is told to leave.

        Raises:
            UserError: if that is no shorter than the job.
        """
        lead_s = int(grace_s + LEAD_S) if self.signal_s is None else self.signal_s
        if lead_s >= (whole_s := seconds(self.time)):
            raise UserError(
                f"--time {self.time} is {whole_s} s, and the sweep is told to leave {lead_s} s before its end; give "
                "more time, or fewer seconds by --signal-s"
            )
        return lead_s


def seconds(time: str) -> int:
    """The seconds of a time as Slurm writes it.

    Raises:
        UserError: for anything else.
    """
    for pattern, units in ((MINUTES, (60, 1)), (CLOCK, (3600, 60, 1)), (DAYS, (86400, 3600, 60, 1))):
        if match := re.fullmatch(pattern, time):
            return sum(int(part or 0) * unit for part, unit in zip(match.groups(), units, strict=True))
    raise UserError(
        f"--time is {time!r}; give minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or "
        "days-hours:minutes:seconds"
    )


def require_room(file: SweepFile, asked: Allocation) -> None:
    """Checks that a trial of the sweep fits on the nodes.

    Raises:
        CapacityError: if not even one does.
    """
    resources = file.spec.resources
    cpus = asked.cpus_per_node or ALL_CPUS
    try:
        count_gangs([Node(str(number), cpus, asked.gpus_per_node) for number in range(asked.nodes)], resources)
    except CapacityError as error:
        offered = f"{asked.cpus_per_node} CPU(s)" if asked.cpus_per_node else "all its CPUs"
        spread = f", on {resources.fewest_ranks // resources.hosts} hosts" if isinstance(resources.hosts, int) else ""
        problem = (
            f"a trial needs {resources.fewest_ranks} rank(s) of {resources.cpus} CPU(s) and {resources.gpus:g} GPU(s)"
            f"{spread}, and the job asks for {asked.nodes} node(s) with {offered} and {asked.gpus_per_node} GPU(s) "
            "each. Lower `resources`, or ask for more by --nodes, --cpus-per-node and --gpus-per-node"
        )
        raise CapacityError(problem, key="resources") from error


def job(file: SweepFile, overrides: Sequence[str], asked: Allocation, place: Place, environment: Path) -> str:
    """The file for sbatch.

    Args:
        file: The sweep.
        overrides: Of its settings.
        asked: What the job asks of Slurm.
        place: The sweep's home and store.
        environment: The folder with Podium's `bin`.

    Raises:
        CapacityError: if no trial fits on the nodes.
        UserError: for other things that cannot be asked of Slurm.
    """
    require_room(file, asked)
    sweep = shlex.join([str(file.path.resolve()), *overrides])
    paths = {"environment": str(environment), "home": str(place.home), "store": place.store}
    lines = [
        "#!/usr/bin/env bash",
        f"# The sweep {file.spec.sweep} in a job of Slurm, written by `podium cluster slurm`.",
        f"# Submit it:  sbatch {file.spec.sweep}.sbatch",
        "# Submitted again after its end, the same file goes on with the sweep.",
        *(f"#SBATCH --{option}" for option in _options(asked, file)),
        "",
        *(f"{name}={shlex.quote(path)}" for name, path in paths.items()),
        f"sweep=({sweep})",
        f"gpus={asked.gpus_per_node} # of each node",
        "",
    ]
    body = importlib.resources.files("podium.wiring.clusters") / "job.sh"
    return "\n".join(lines) + body.read_text(encoding="utf-8")


def _options(asked: Allocation, file: SweepFile) -> Iterator[str]:
    words = {"job-name": file.spec.sweep, **{name: word for name, word in asked.words.items() if word is not None}}
    yield from (f"{name}={word}" for name, word in words.items())
    yield f"nodes={asked.nodes}"
    yield "ntasks-per-node=1"
    yield f"cpus-per-task={asked.cpus_per_node}" if asked.cpus_per_node else "exclusive"
    if asked.gpus_per_node:
        yield f"gpus-per-node={asked.gpus_per_node}"
    yield f"time={asked.time}"
    yield f"signal=B:TERM@{asked.lead_s(file.spec.limits.grace_s)}"
    yield "requeue"
    yield "open-mode=append"
    yield "output=%x-%j.log"


def environment(given: Path | None) -> Path:
    """The environment that the job's nodes are to use, by default the one of this Python.

    Raises:
        UserError: if Podium and Ray are not in it.
    """
    folder = Path(sys.prefix) if given is None else given.expanduser().absolute()
    missing = [name for name in ("podium", "ray") if not (folder / "bin" / name).exists()]
    if missing:
        raise UserError(
            f"--environment {folder} has no bin/{missing[0]}; give the folder of a virtual or conda environment in "
            "which Podium is installed"
        )
    return folder


def write(out: Path, text: str) -> None:
    """Writes the file, whole or not at all.

    Raises:
        UserError: if there is another one in its place, or it cannot be written.
    """
    draft = out.with_name(f".{uuid.uuid4().hex}-{out.name}")
    try:
        if out.exists() and out.read_text(encoding="utf-8") != text:
            raise UserError(f"--out {out} exists and is another file; remove it, or give another one")
        draft.write_text(text, encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from error
