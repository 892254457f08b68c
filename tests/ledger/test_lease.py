"""The lease under drivers that pause, die and wake, and clocks that jump."""

import atexit
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from podium.errors import LeaseLost
from podium.ledger import Book, audit
from podium.ledger.database import open_database
from podium.ledger.lease import LEASE_S, LOOK_EVERY_S, RENEW_S, WATCH_S, Leases
from podium.ledger.schema import LEASES

DRIVERS = 2
DRIVER = st.integers(0, DRIVERS - 1)


class ManualClock:
    """One driver's clock in a world whose time passes when told to."""

    def __init__(self, world):
        self.world, self.offset_s = world, 0.0

    def time(self):
        return 1.7e9 + self.world.now + self.offset_s

    def monotonic(self):
        return self.world.now

    def sleep(self, seconds):
        self.world.let_pass(seconds)


class Driver:
    """A driver on a machine of its own: it renews its lease every `RENEW_S`, unless it is paused."""

    def __init__(self, world, number, engine, reader):
        self.clock = ManualClock(world)
        self.leases = Leases(engine, reader, self.clock, holder=f"host{number}|machine{number}|7|1.00")
        self.engine = engine
        self.epoch = None
        self.is_paused = self.was_silent = False
        self.renewed = 0.0

    def may_write(self):
        with self.engine.begin() as connection:
            try:
                self.leases.check(connection, "s", self.epoch)
            except LeaseLost:
                return False
        return True


@functools.cache
def opened():
    """One database for all examples."""
    folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    engine, reader = open_database(f"sqlite:///{folder.name}/ledger.db")
    atexit.register(folder.cleanup)
    atexit.register(engine.dispose)
    return engine, reader


class LeaseMachine(RuleBasedStateMachine):
    """Two drivers want one lease; whatever they and their clocks do, one of them writes."""

    @initialize()
    def begin(self):
        self._engine, reader = opened()
        with self._engine.begin() as connection:
            connection.execute(LEASES.delete())
        self.now, self.newest = 0.0, 0
        self.drivers = [Driver(self, number, self._engine, reader) for number in range(DRIVERS)]

    def let_pass(self, seconds):
        """Time passes in small steps, in which the drivers that are awake renew."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + LOOK_EVERY_S)
            for driver in self.drivers:
                if driver.epoch is not None and self.now - driver.renewed >= RENEW_S:
                    self._renew(driver)

    def _renew(self, driver):
        if driver.is_paused:
            driver.was_silent = True
            return
        try:
            driver.leases.renew("s", driver.epoch)
        except LeaseLost:
            assert driver.was_silent, "a driver that renewed in time was displaced"
            driver.epoch = None
        driver.renewed, driver.was_silent = self.now, False

    @rule(number=DRIVER)
    def take(self, number):
        driver, began = self.drivers[number], self.now
        if driver.is_paused or driver.epoch is not None:
            return
        try:
            epoch = driver.leases.take("s")
        except LeaseLost:
            return
        finally:
            assert self.now - began <= WATCH_S + LOOK_EVERY_S
        assert epoch == self.newest + 1
        self.newest = epoch
        driver.epoch, driver.renewed, driver.was_silent = epoch, self.now, False

    @rule(number=DRIVER)
    def pause_or_wake(self, number):
        self.drivers[number].is_paused = not self.drivers[number].is_paused

    @rule(number=DRIVER)
    def release(self, number):
        driver = self.drivers[number]
        if driver.epoch is not None and not driver.is_paused:
            driver.leases.release("s", driver.epoch)
            driver.epoch = None

    @rule(number=DRIVER, seconds=st.sampled_from([-1e9, -3600.0, -20.0, 20.0, 3600.0, 1e9]))
    def jump(self, number, seconds):
        self.drivers[number].clock.offset_s += seconds

    @rule(seconds=st.sampled_from([1.0, RENEW_S, 2 * LEASE_S]))
    def tick(self, seconds):
        self.let_pass(seconds)

    @rule(number=DRIVER)
    def inherit(self, number):
        """However the clocks stand, the lease of drivers that all sleep is had after a bounded wait."""
        driver = self.drivers[number]
        others = [other for other in self.drivers if other is not driver and other.epoch is not None]
        if driver.is_paused or driver.epoch is not None or not all(other.is_paused for other in others):
            return
        self.take(number)
        if driver.epoch is None:  # it was credible, and expires in time
            self.let_pass(LEASE_S + LOOK_EVERY_S)
            self.take(number)
        assert driver.epoch == self.newest, "the lease of a silent driver was not to be had"

    @invariant()
    def only_the_newest_holder_may_write(self):
        for driver in getattr(self, "drivers", ()):
            if driver.epoch is not None:
                assert driver.may_write() == (driver.epoch == self.newest)


LeaseMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=20)
TestLease = LeaseMachine.TestCase


RACE = """
import sys
from podium.errors import LeaseLost
from podium.ledger import Book
from podium.sweep.messages import Exhausted
book = Book(sys.stdin.readline().strip())
print("ready", flush=True)
sys.stdin.readline()
try:
    ledger = book.hold("s")
except LeaseLost:
    print("refused", flush=True)
else:
    for number in range(20):
        ledger.append([Exhausted(number=number)])
    print(f"held as {ledger.epoch}", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    address: str = request.getfixturevalue("postgresql").new_database()
    return address


def test_of_two_drivers_at_once_one_wins(url: str) -> None:
    book = Book(url)
    for race in range(3):
        racers = [
            subprocess.Popen([sys.executable, "-c", RACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for racer in racers:
            say(racer, url)
            assert hear(racer) == "ready"
        for racer in racers:
            say(racer, "go")
        assert sorted(hear(racer) for racer in racers) == [f"held as {race + 1}", "refused"]
        for racer in racers:
            racer.kill()
            racer.communicate()
        assert len(list(book.rows("s"))) == 20 * (race + 1)
    assert audit(book, "s") == []
    book.close()


def say(racer: "subprocess.Popen[str]", text: str) -> None:
    assert racer.stdin is not None
    racer.stdin.write(text + "\n")
    racer.stdin.flush()


def hear(racer: "subprocess.Popen[str]") -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()
