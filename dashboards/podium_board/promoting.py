"""Promotions that are begun from the board: processes of their own, which go on when the board ends."""

import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from podium.errors import Refused
from podium.masking import Secrets
from podium.tracking.provenance import USER
from podium.wiring.place import Place

TAIL_BYTES = 40_000


@dataclass
class Begun:
    """A promotion that this board has begun."""

    process: "subprocess.Popen[bytes]"
    by: str

    @property
    def code(self) -> int | None:
        """How its process has ended; None while it runs."""
        return self.process.poll()


class Promotions:
    """Begins promotions, at most one of a sweep at a time.

    Args:
        place: Where the sweeps are.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._begun: dict[str, Begun] = {}
        self._one_by_one = threading.Lock()

    def begin(self, sweep: str, by: str) -> None:
        """Runs `podium promote` in the name of `by`.

        Raises:
            Refused: if the sweep is being promoted already.
        """
        with self._one_by_one:
            self.require_idle(sweep)
            command, environment = self._place.command("promote", sweep)
            log = self.log(sweep)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                process = subprocess.Popen(  # noqa: S603
                    command,
                    env={**environment, USER: by},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._begun[sweep] = Begun(process, by)

    def require_idle(self, sweep: str) -> None:
        """Refuses a sweep that is being promoted, by this board or by anybody else.

        Raises:
            Refused: saying who does it.
        """
        from podium.wiring import plans  # which takes seconds to import

        mine = self._begun.get(sweep)
        if mine is not None and mine.code is None:
            raise Refused(f"{sweep} is being promoted already, in the name of {mine.by} (process {mine.process.pid})")
        plan = plans.find_open(self._place, sweep)
        driver = None if plan is None else self._place.book().holder(plan.name)
        if plan is not None and driver:
            raise Refused(f"{sweep} is being promoted already: {driver} drives {plan.name}")

    def begun(self, sweep: str) -> Begun | None:
        """The promotion of a sweep that this board has begun last."""
        return self._begun.get(sweep)

    def log(self, sweep: str) -> Path:
        """Where the promotion that was begun last has written what it says."""
        return self._place.home / "logs" / sweep / "promotion.log"

    def said(self, sweep: str) -> str:
        """The end of what it says, without secrets."""
        log = self.log(sweep)
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            start = file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return Secrets().mask_end(file.read(), is_cut=start > 0)
