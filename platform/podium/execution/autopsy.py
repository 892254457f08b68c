"""What can still be found out about a gang after its process has died, on the host where it was."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from podium.errors import StorageFault
from podium.execution.logs import log_path, publish, tail
from podium.masking import Secrets
from podium.sweep.messages import Advance

VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        log_tail: The last lines of the log that the running advance wrote to; empty if none ran.
        oom_kills: How many processes the kernel of the host has killed because memory ran out.
    """

    log_tail: str = ""
    oom_kills: int = 0


def examine(store: str, sweep: str, trial: int | None, cache: Path) -> Findings:
    """Looks at the log of the trial that ran, which it publishes, and at the kernel's counters.

    Of a cohort it is the first lane's.
    """
    log_tail = ""
    if trial is not None:
        log = log_path(store, sweep, trial, cache)
        with contextlib.suppress(OSError):
            Secrets().mask_file(log)
            log_tail = tail(log)
        with contextlib.suppress(StorageFault):
            publish(store, sweep, trial, cache)
    return Findings(log_tail, count_oom_kills())


def count_oom_kills() -> int:
    """How many processes the kernel of this host has killed because memory ran out; 0 where it does not say."""
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def pointer(advance: Advance | None) -> str:
    """Whose log has what the lanes of an advance printed; nothing if none ran."""
    return "" if advance is None else f"; the log of trial {advance.lanes[0].trial} may say more"


def host_died(error: Exception) -> bool:
    """Whether Ray says that a gang's host died, and not its process alone."""
    return "its node has died" in str(error)
