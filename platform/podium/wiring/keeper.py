"""The keeper: removes checkpoints that a sweep no longer needs, by what its ledger says."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from podium.sweep.machine import Machine
from podium.sweep.messages import Advanced, Event, Saved
from podium.sweep.retention import superseded, surplus
from podium.training.checkpoint import erase, lying, withdraw

PATIENCE_S = 60.0
"""How long the end of a sweep waits for removals; what is left then goes when the sweep is resumed."""

GB = 10**9


class Keeper:
    """Keeps what `checkpoints.keep` and `checkpoints.total_gb` allow, and never makes a sweep fail.

    Workers remove nothing, as they cannot know what the ledger relies on. The keeper decides right after events were
    appended, which only the driver that holds the lease can do; and a checkpoint is out of sight before an advance
    begins that might have opened it. Removing what is out of sight, and looking at what earlier holders left, is done
    in a thread of its own.

    Args:
        machine: The sweep.
        store: Where its checkpoints are.
        holder: The driver's holder epoch.
        warn: Takes what the user should know, once for each kind of trouble.
    """

    def __init__(self, machine: Machine, store: str, holder: int, warn: Callable[[str], None]) -> None:
        self._machine, self._store, self._holder, self._warn = machine, store, holder, warn
        self._saved: dict[int, list[Saved]] = {}
        self._bytes = 0
        self._trouble: BaseException | None = None
        self._warned: set[str] = set()
        self._thread = ThreadPoolExecutor(1, "keeper")
        self._looking: Future[Any] | None = self._look(holder)

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def news(self, events: Sequence[Event]) -> None:
        """Takes events that the ledger and the machine have taken, and removes what nothing needs any more."""
        if not events:
            return
        saved = [event for event in events if isinstance(event, Saved)]
        self._add(saved)
        touched = {each.trial for each in saved}
        touched |= {report.trial for event in events if isinstance(event, Advanced) for report in event.reports}
        if self._looking is not None and self._looking.done():
            self._take_found(self._looking)
            self._looking, touched = None, set(self._saved)
        self._tidy(set(self._saved) if self._machine.is_ended else touched)

    def finish(self, is_interrupted: Callable[[], bool]) -> None:
        """Removes what killed workers have left, too, now that the sweep has ended and no worker lives.

        Args:
            is_interrupted: Whether the user does not want to wait.
        """
        deadline = time.monotonic() + PATIENCE_S

        def is_done(future: Future[Any]) -> bool:
            while not (future.done() or is_interrupted() or time.monotonic() > deadline):
                wait([future], timeout=0.1)
            return future.done()

        looking = self._look(self._holder + 1)
        if is_done(looking):
            self._saved, self._bytes = {}, 0
            self._take_found(looking)
            self._tidy(set(self._saved))
            is_done(self._do(len, ()))
            self._tell()

    def _look(self, before: int) -> Future[Any]:
        return self._do(lying, self._store, self._machine.spec.sweep, range(before))

    def _take_found(self, looking: Future[Any]) -> None:
        if looking.exception() is None:
            checkpoints, hidden = looking.result()
            self._add(checkpoints)
            for folder in hidden:
                self._do(erase, self._store, folder)

    def _add(self, saved: Iterable[Saved]) -> None:
        for each in saved:
            if each.trial in self._machine.trials:
                self._saved.setdefault(each.trial, []).append(each)
                self._bytes += each.bytes

    def _tidy(self, numbers: Iterable[int]) -> None:
        keep = self._machine.spec.checkpoints.keep
        for number in numbers:
            self._remove(superseded(self._machine.trials[number], self._saved.get(number, []), keep))
        limit = self._machine.spec.checkpoints.total_gb
        if limit is not None and self._bytes > limit * GB:
            self._make_room(limit)
        self._tell()

    def _make_room(self, limit: float) -> None:
        machine = self._machine
        excess = self._bytes - int(limit * GB)
        self._remove(surplus(machine.trials, self._saved, self._spared(), machine.ranking, excess))
        if self._bytes > limit * GB:
            self._warn_once(
                "budget",
                f"the checkpoints take {self._bytes / GB:.3g} GB, and checkpoints.total_gb is {limit:g}; left are "
                "the newest of trials that run, wait or may be promoted, and of the best",
            )

    def _spared(self) -> set[int]:
        machine = self._machine
        best = machine.best()
        spared = machine.promotable() | (set() if best is None else {best.number})
        if len(machine.spec.search.objectives) > 1:
            spared |= {each.number for each in machine.ranking.front(machine.trials[number] for number in self._saved)}
        return spared

    def _remove(self, saved: Iterable[Saved]) -> None:
        for each in saved:
            self._saved[each.trial].remove(each)
            self._bytes -= each.bytes
            try:
                rest = withdraw(self._store, each.folder)
            except OSError as error:
                self._trouble = error
            else:
                self._do(erase, self._store, rest)

    def _do(self, job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self._thread.submit(job, *arguments)
        future.add_done_callback(self._note)
        return future

    def _note(self, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._trouble = future.exception()

    def _tell(self) -> None:
        if self._trouble is not None:
            self._warn_once(
                "removal",
                f"checkpoints that are not needed any more could not be removed from {self._store}: {self._trouble}; "
                "they are when the sweep is resumed",
            )

    def _warn_once(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(text)
