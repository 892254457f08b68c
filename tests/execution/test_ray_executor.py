"""Ray's gangs and their driver: orphans leave, hosts come and go, memory that runs out is told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from executor_driver import arguments

from podium.errors import PodiumError, TaskError
from podium.execution.token import ensure_token
from podium.execution.worker import Assignment
from podium.sweep.messages import EVENT, Advance, Advanced, Event, GangLost, GangReady, Host, Lane, Progress, Saved
from podium.testing.executors import SLOW, TRAIN, Stage, last_saved, process_of, suite_spec
from podium.training.sources import digest_of, read_sources

pytestmark = [pytest.mark.ray, pytest.mark.slow]

GONE_S = 10.0
"""No worker outlives its driver for longer."""

LATE_S = 5.0
"""What a busy machine may add to a measured time."""


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    """A folder with `TRAIN` as code, and an empty store."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(TRAIN.replace("sleep(0.2", "sleep(0.5").replace("10)", "100)"))
    spec = suite_spec().written() | {"budget": {"trials": 8, "epochs": {"max": 99}, "policy": "none"}}
    folders = {"code": str(tmp_path / "code"), "store": str(tmp_path / "store"), "cache": str(tmp_path / "cache")}
    return with_its_digest(Assignment(spec=spec, digest="", data=None, holder=1, **folders))


class OtherDriver:
    """A driver in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.events: list[Event] = []

    def until(self, is_there: Callable[[list[Event]], object]) -> list[Event]:
        """All events, once those hold what is waited for; ended by the test's time limit."""
        assert self.process.stdout is not None
        while not is_there(self.events):
            line = self.process.stdout.readline()
            assert line, f"the driver has ended after {self.events}"
            self.events.append(EVENT.validate_json(line))
        return self.events

    def all(self, kind: type) -> list:  # type: ignore[type-arg]
        return [event for event in self.events if isinstance(event, kind)]

    def train(self, trial: int = 0) -> psutil.Process:
        """Has its first living gang train a trial for long; gives the worker's process once it has saved."""
        lost = {event.gang for event in self.all(GangLost)}
        ready = next(event for event in self.all(GangReady) if event.gang not in lost)
        lane = Lane(trial=trial, parameters={"x": SLOW}, seed=0)
        command = Advance(key=f"advance/{trial}", gang=ready.gang, until=99, lanes=(lane,))
        assert self.process.stdin is not None
        self.process.stdin.write(command.model_dump_json() + "\n")
        self.process.stdin.flush()
        self.until(lambda events: any(isinstance(event, Saved) and event.trial == trial for event in events))
        return psutil.Process(int(ready.devices.partition("process ")[2].partition(",")[0]))


@contextmanager
def other_driver(address: str, most: int, assignment: Assignment, wrapped: Sequence[str] = ()) -> Iterator[OtherDriver]:
    """A driver with at least one gang ready; with a Ray of its own if the address is empty."""
    command, pipe = [*wrapped, *arguments(address, most, assignment)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        driver = OtherDriver(process)
        try:
            driver.until(lambda events: any(isinstance(event, GangReady) for event in events))
            yield driver
        finally:
            process.kill()


@pytest.fixture
def make_cgroup() -> Iterator[Callable[[int], Path]]:
    """Makes a control group of the kernel with so many megabytes of memory."""
    of_version_1 = Path("/sys/fs/cgroup/memory")
    group = (of_version_1 if of_version_1.is_dir() else Path("/sys/fs/cgroup")) / f"podium-{os.getpid()}"

    def make(megabytes: int) -> Path:
        try:
            group.mkdir()
            (group / ("memory.limit_in_bytes" if of_version_1.is_dir() else "memory.max")).write_text(
                str(megabytes << 20)
            )
        except OSError as error:
            pytest.skip(f"no control group with a memory limit can be made here: {error}")
        return group

    yield make
    while group.is_dir():  # a Ray whose driver was killed takes a minute to end by itself
        for process in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        with suppress(OSError):
            group.rmdir()


def newest(assignment: Assignment) -> int:
    """The step of the last checkpoint in the store."""
    return max(int(path.read_text()) for path in Path(assignment.store).rglob("step"))


def test_workers_of_a_killed_driver_end(running_ray: str, assignment: Assignment) -> None:
    with other_driver(running_ray, 1, assignment) as driver:
        worker = driver.train()
        driver.process.kill()
        worker.wait(GONE_S + LATE_S)


def test_workers_of_a_stopped_driver_save_and_leave_and_it_goes_on(running_ray: str, assignment: Assignment) -> None:
    with other_driver(running_ray, 1, assignment) as driver:
        worker = driver.train()
        told = last_saved(driver.events).epoch
        driver.process.send_signal(signal.SIGSTOP)
        worker.wait(GONE_S + LATE_S)
        assert newest(assignment) > told
        driver.process.send_signal(signal.SIGCONT)
        driver.until(lambda events: driver.all(GangLost) and len(driver.all(GangReady)) == 2)
        (lost,) = driver.all(GangLost)
        assert lost.cause == "preempted", "it is not the trial that is to blame"
        assert not driver.all(Advanced)
        driver.train(trial=1)


def test_a_rank_that_hears_nothing_saves_and_leaves(running_ray: str, assignment: Assignment) -> None:
    """Nobody beats it, and Ray sees nothing amiss: what a host's reset or a cut link looks like from here."""
    import ray

    from podium.execution.rank import Rank

    rank = ray.remote(Rank).options(num_cpus=1, max_concurrency=4).remote(assignment)
    where = ray.get(rank.warm_up.remote())
    ray.get(rank.beat.remote())
    began = time.monotonic()
    lane = Lane(trial=0, parameters={"x": SLOW}, seed=0)
    ray.get(rank.advance.remote(Advance(key="advance/1", gang="1-0", until=99, lanes=(lane,))))
    psutil.Process(where.process).wait(GONE_S + LATE_S)
    assert time.monotonic() - began > GONE_S / 2, "it waits for a driver that is merely busy"
    assert newest(assignment) > 1


def test_a_rank_that_was_stopped_itself_stays(running_ray: str, assignment: Assignment) -> None:
    from podium.execution.ray import RayExecutor

    patient = with_heartbeat(assignment, 60)
    stage = Stage(RayExecutor(patient, most=lambda: 1))
    process = psutil.Process(process_of(stage))
    process.suspend()
    time.sleep(GONE_S)
    process.resume()
    assert isinstance(stage.run(stage.command(stage.new_trial(0.25), until=99))[-1], Advanced)
    assert not [event for event in stage.events if isinstance(event, GangLost)]
    stage.executor.close()


def test_gangs_follow_the_hosts(assignment: Assignment) -> None:
    """Two hosts of one place each; one dies at once with its gang, and later another one joins."""
    ensure_token()
    program = Path(__file__).with_name("cluster_of_two.py")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, program], stdin=pipe, stdout=pipe, text=True) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        try:
            with other_driver(cluster.stdout.readline().strip(), 4, assignment) as driver:
                driver.until(lambda _: len(driver.all(GangReady)) == 2)
                cluster.stdin.write("kill\n")
                cluster.stdin.flush()
                driver.until(lambda _: driver.all(GangLost))
                driver.train()
                cluster.stdin.write("add\n")
                cluster.stdin.flush()
                driver.until(lambda _: len(driver.all(GangReady)) == 3)
                assert len(driver.all(GangLost)) == 1
                for ready in driver.all(GangReady):
                    assert ready.waited_s is not None
                    assert ready.startup_s is not None
                    assert ready.waited_s >= 0 < ready.startup_s
        finally:
            cluster.stdin.close()


def test_gangs_keep_to_hosts_with_their_accelerator_and_leave_those_that_are_drained(assignment: Assignment) -> None:
    ensure_token()
    labelled = replace(assignment, spec=assignment.spec | {"resources": {"accelerator": ["H100", "B200"]}})
    program, pipe = Path(__file__).with_name("labelled_cluster.py"), subprocess.PIPE
    with subprocess.Popen([sys.executable, program], stdin=pipe, stdout=pipe, text=True) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        try:
            with other_driver(cluster.stdout.readline().strip(), 4, labelled) as driver:
                driver.until(lambda _: len(driver.all(GangReady)) == 2)
                first, second = driver.all(GangReady)
                assert first.hosts == second.hosts == (Host(accelerator="H100", group="spot"),)
                worker = driver.train()
                cluster.stdin.write(first.devices.removeprefix("node ")[:8] + "\n")
                cluster.stdin.flush()
                driver.until(lambda _: driver.all(GangLost))
                (lost,) = driver.all(GangLost)
                assert (lost.gang, lost.cause) == (first.gang, "preempted")
                assert lost.detail.endswith("left, since its host is drained")
                told = [lane.epoch for event in driver.all(Progress) for lane in event.lanes]
                assert last_saved(driver.events).epoch >= max(told), "no step has to be trained again"
                worker.wait(GONE_S + LATE_S)
                assert cluster.stdout.readline() == "0\n", "nobody is left there"
                driver.train(trial=1)
                assert len(driver.all(GangReady)) == 2, "nothing is placed on a host that leaves"
        finally:
            cluster.stdin.close()


def with_heartbeat(assignment: Assignment, seconds: float) -> Assignment:
    """The same with other patience, for ranks that are slow on purpose."""
    return replace(assignment, spec=assignment.spec | {"limits": {"heartbeat_s": seconds}})


def with_its_digest(assignment: Assignment) -> Assignment:
    """As if its code had been launched as it is now."""
    return replace(assignment, digest=digest_of(read_sources(Path(str(assignment.code)))))


def eat_memory(assignment: Assignment, megabytes: int) -> Assignment:
    """The same with code of which every step of a trial takes memory and keeps it."""
    code = Path(str(assignment.code)) / "train.py"
    take = f"held.append(b'x' * {megabytes << 20}); (folder /"
    code.write_text("held = []\n" + code.read_text().replace("(folder /", take))
    return with_its_digest(assignment)


IN_A_SMALL_HOST = """
mount --bind {group} {group.parent}
echo $$ > {group.parent}/cgroup.procs
exec env RAY_memory_usage_threshold=0.5 "$@"
"""


def test_a_gang_that_ray_ends_for_memory_is_told_as_such(
    assignment: Assignment, make_cgroup: Callable[[int], Path]
) -> None:
    """Driver and Ray see a control group as the whole memory, as in a container."""
    patient = with_heartbeat(eat_memory(assignment, megabytes=300), 60)
    host = IN_A_SMALL_HOST.format(group=make_cgroup(4096))
    with other_driver("", 1, patient, ["unshare", "--mount", "bash", "-ec", host, "host"]) as driver:
        driver.train()
        driver.until(lambda _: driver.all(GangLost))
        (lost,) = driver.all(GangLost)
        assert (lost.cause, "running low on memory" in lost.detail) == ("out_of_memory", True)


def test_gangs_that_die_before_they_are_ready_end_the_launch(running_ray: str, assignment: Assignment) -> None:
    from podium.execution.ray import RayExecutor

    (Path(str(assignment.code)) / "train.py").write_text("import os\n\nos._exit(3)\n")
    executor = RayExecutor(with_its_digest(assignment), most=lambda: 1)
    with pytest.raises(PodiumError, match="3 gangs in a row died before they were ready"):
        Stage(executor)
    executor.close()


def test_a_replacement_that_cannot_work_ends_the_launch_with_its_own_words(
    running_ray: str, assignment: Assignment
) -> None:
    from podium.execution.ray import RayExecutor

    stage = Stage(RayExecutor(assignment, most=lambda: 1))
    (Path(str(assignment.code)) / "train.py").write_text("changed = True\n")
    os.kill(process_of(stage), signal.SIGKILL)
    with pytest.raises(TaskError, match="is not what was launched"):
        stage.until(GangReady)
    stage.executor.close()


def test_a_gang_that_the_kernel_kills_for_memory_is_told_as_such(
    running_ray: str, assignment: Assignment, make_cgroup: Callable[[int], Path]
) -> None:
    from podium.execution.ray import RayExecutor

    stage = Stage(RayExecutor(eat_memory(assignment, megabytes=8), most=lambda: 1))
    stage.executor.advance(stage.command(stage.new_trial(SLOW), until=99))
    stage.until(Saved)
    (make_cgroup(32) / "cgroup.procs").write_text(str(process_of(stage)))
    (lost,) = (event for event in stage.until(GangLost) if isinstance(event, GangLost))
    stage.executor.close()
    assert (lost.cause, "killed by the kernel" in lost.detail) == ("out_of_memory", True), lost
