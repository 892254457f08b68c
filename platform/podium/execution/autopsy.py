"""What can still be found out about a gang after its process has died, on the host where it was."""

from dataclasses import dataclass
from pathlib import Path

from podium.execution.logs import tail

VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        log_tail: The last lines of the log of the trial that ran; empty if none did.
        oom_kills: How many processes the kernel of the host has killed because memory ran out.
    """

    log_tail: str = ""
    oom_kills: int = 0


def examine(log: Path | None) -> Findings:
    """Looks at the log of the trial that ran, and at the kernel's counters."""
    return Findings(last_lines(log), count_oom_kills())


def last_lines(log: Path | None) -> str:
    """The last lines of a log; empty if there is none, or it cannot be read."""
    try:
        return "" if log is None else tail(log)
    except OSError:
        return ""


def count_oom_kills() -> int:
    """How many processes the kernel of this host has killed because memory ran out; 0 where it does not say."""
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
