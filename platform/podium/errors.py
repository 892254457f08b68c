"""Every error Podium raises on purpose, rooted by what the caller can do about it.

PodiumError                     exit code 1
├── UserError (ValueError)      exit code 2: something given to Podium has to change
│   ├── SpecError               the sweep file; names file, line and key
│   │   └── CapacityError       more resources than there are
│   ├── TaskError               the user's own code
│   ├── DataError               the data
│   └── LookupFailed            a sweep, trial or model that is not there
├── Refused                     exit code 3: Podium could, but must not
│   └── LeaseLost               another driver holds the sweep
├── LedgerError                 the ledger contradicts itself
├── CheckpointError             a checkpoint cannot be read back
├── ModelError                  a registered model does not load or answer
├── MeetingFailed               ranks that are to train together did not find each other
└── Interrupted                 exit code 75: stopped from outside, resumable
    └── StorageFault            a disk, store or database that fails for now
"""

DEFECT = 70
"""The exit code for an error that Podium did not expect, which comes with its traceback."""


class PodiumError(Exception):
    """The root of all errors that Podium raises on purpose."""

    exit_code = 1


class UserError(PodiumError, ValueError):
    """What the user gave cannot be carried out; the message says what to change."""

    exit_code = 2


class SpecError(UserError):
    """A sweep file that cannot be launched.

    Args:
        problem: What is wrong, the value, what is allowed, the fix.
        key: The dotted key in the sweep file, empty if the file as a whole is meant.
        file: The path of the sweep file, if it came from one.
        line: The line in that file, counted from 1.
    """

    def __init__(self, problem: str, *, key: str = "", file: str | None = None, line: int | None = None) -> None:
        self.problem, self.key, self.file, self.line = problem, key, file, line
        where = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (where, key, problem) if part))


class CapacityError(SpecError):
    """A gang that can never fit on the resources there are."""


class TaskError(UserError):
    """The user's task or training function does not keep its contract."""


class DataError(UserError):
    """Data that cannot be prepared or read."""


class LookupFailed(UserError):
    """A sweep, trial, model or version that does not exist."""


class Refused(PodiumError):
    """An action that is possible but must not happen."""

    exit_code = 3


class LeaseLost(Refused):
    """Another driver holds the lease of this sweep."""


class LedgerError(PodiumError):
    """The ledger's events contradict each other or the machine."""


class CheckpointError(PodiumError):
    """A checkpoint is missing, truncated or altered."""


class ModelError(PodiumError):
    """A registered model does not load, or does not answer what it should."""


class MeetingFailed(PodiumError):
    """One of the ranks that are to train a trial together did not come, or died while they met."""


class Interrupted(PodiumError):
    """The sweep was interrupted; it can be resumed."""

    exit_code = 75


class StorageFault(Interrupted):
    """A disk, a store or a database cannot be written or read for now; nothing that was committed is lost."""
