"""What the hosts of a cluster told of themselves, judged: findings with what mends them. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from podium.wiring.clusters.facts import SHARED_MEMORY, Disk, HostFacts, Link
from podium.wiring.findings import Finding

MOST_SKEW_S = 2.0
"""Clocks that are further apart muddle logs and runs, and let leases expire early or late."""

LEAST_DISK_BYTES, LEAST_SHARED_BYTES = 2_000_000_000, 256_000_000
"""Below which a disk, and shared memory, counts as full."""

CLOCK_FIX = "set both by NTP: apt-get install chrony, and see `chronyc tracking`"

GB = 1e9


OWN = Link("")
"""A file of the host that asks."""


class Skew(NamedTuple):
    """How far a host's clock is before the one where the doctor runs, and how well that is known, in seconds."""

    ahead_s: float
    within_s: float


@dataclass(frozen=True)
class Exchange:
    """What came of two hosts that were to add up numbers.

    Attributes:
        hosts: Their names.
        library: NCCL or gloo.
        took_s: How long it took.
        problem: Why it failed; empty if it did not.
    """

    hosts: tuple[str, str]
    library: str = ""
    took_s: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """What was found out about a cluster.

    Attributes:
        here: The host that the others are compared with: where the doctor runs, if that answers.
        hosts: By name what each tells of itself.
        silent: By name of the others, why they do not.
        gpus: By name how many GPUs Ray counts on it.
        skews: By name.
        ledger: Where the ledger of whoever asks is; `is_own` if it is a file.
        tracking: Where their MLflow is, likewise.
        store: Where their store is.
        blind: By name what is wrong with the store there.
        exchanges: Between neighbours.
    """

    here: str
    hosts: Mapping[str, HostFacts]
    silent: Mapping[str, str] = field(default_factory=dict)
    gpus: Mapping[str, float] = field(default_factory=dict)
    skews: Mapping[str, Skew] = field(default_factory=dict)
    ledger: Link = OWN
    tracking: Link = OWN
    store: str = ""
    blind: Mapping[str, str] = field(default_factory=dict)
    exchanges: Sequence[Exchange] = ()


def judge(facts: ClusterFacts) -> list[Finding]:
    """Everything that was looked at, in the order in which it is mended."""
    looks = _LOOKS if facts.hosts else (_hosts,)
    return [finding for look in looks for finding in look(facts)]


def _hosts(facts: ClusterFacts) -> Iterator[Finding]:
    for name, why in facts.silent.items():
        fix = (
            "install the same Podium there, for the Python that starts its Ray"
            if "No module named" in why or "has no attribute" in why
            else "look at its Ray's logs, and start its worker.sh again"
        )
        yield Finding(False, "host", f"{name}: {why}", fix)
    if facts.hosts:
        yield Finding(True, "hosts", f"{len(facts.hosts)} answer: {', '.join(facts.hosts)}")


def _clocks(facts: ClusterFacts) -> Iterator[Finding]:
    wrong = {name: skew for name, skew in facts.skews.items() if abs(skew.ahead_s) - skew.within_s > MOST_SKEW_S}
    for name, skew in wrong.items():
        how = "ahead of" if skew.ahead_s > 0 else "behind"
        found = f"{name} is {abs(skew.ahead_s):.1f} s {how} {facts.here}"
        yield Finding(False, "clocks", found, CLOCK_FIX)
    if not wrong and facts.skews:
        most_s = max(abs(skew.ahead_s) + skew.within_s for skew in facts.skews.values())
        yield Finding(True, "clocks", f"at most {most_s:.2f} s apart")


def _python(facts: ClusterFacts) -> Iterator[Finding]:
    here = facts.hosts[facts.here].python
    differing = _differing(here, {name: host.python for name, host in facts.hosts.items()})
    if differing:
        yield Finding(False, "Python", f"{here} on {facts.here}, {differing}", f"install Python {here} there")
    else:
        yield Finding(True, "Python", here)


def _packages(facts: ClusterFacts) -> Iterator[Finding]:
    here, is_well = facts.hosts[facts.here].versions, True
    for package, version in here.items():
        differing = _differing(version, {name: host.versions[package] for name, host in facts.hosts.items()})
        if differing:
            is_well = False
            fix = f"pip install {package}=={version} there, or on all hosts: pip install -c constraints.txt podium"
            yield Finding(False, "packages", f"{package} {version} on {facts.here}, {differing}", fix)
    if is_well:
        versions = ", ".join(f"{package} {version}" for package, version in here.items())
        yield Finding(True, "packages", f"the same everywhere: {versions}")


def _differing(here: str, versions: Mapping[str, str]) -> str:
    """The hosts with another version, in words."""
    return ", ".join(f"{version or 'none'} on {name}" for name, version in versions.items() if version != here)


def _ledger(facts: ClusterFacts) -> Iterator[Finding]:
    yield from _service("ledger", "PODIUM_LEDGER", facts.ledger, facts, lambda host: host.ledger)


def _tracking(facts: ClusterFacts) -> Iterator[Finding]:
    yield from _service("MLflow", "MLFLOW_TRACKING_URI", facts.tracking, facts, lambda host: host.tracking)


def _service(
    what: str, variable: str, ours: Link, facts: ClusterFacts, get: Callable[[HostFacts], Link]
) -> Iterator[Finding]:
    """Whether every host reaches what a driver needs, so that it can go on there when its own host dies."""
    if ours.problem:
        fix = "start it, or mend the address and its credentials; `podium up` starts one"
        yield Finding(False, what, f"from {facts.here}: {ours.problem}", fix)
        return
    if ours.is_own:
        yield Finding(True, what, f"{ours.address}, a file of {facts.here}: a driver cannot go on elsewhere")
        return
    links = {name: get(host) for name, host in facts.hosts.items()}
    unset = [name for name, link in links.items() if link.is_own and name != facts.here]
    other = {name: link for name, link in links.items() if not link.is_own and link.address != ours.address}
    failing = {name: link for name, link in links.items() if link.problem and name not in other}
    if unset:
        fix = f"set {variable} there before its Ray is started, or no driver can go on there"
        yield Finding(False, what, f"{variable} is not set on {', '.join(unset)}", fix)
    for name, link in other.items():
        fix = f"set {variable} there to the same, and start its Ray again"
        yield Finding(False, what, f"{ours.address} on {facts.here}, {link.address} on {name}", fix)
    for name, link in failing.items():
        fix = f"open the way from {name} to it, and give {name} the credentials before its Ray is started"
        yield Finding(False, what, f"from {name}: {link.problem}", fix)
    if not (unset or other or failing):
        yield Finding(True, what, f"{ours.address}, from every host")


def _store(facts: ClusterFacts) -> Iterator[Finding]:
    is_address = "://" in facts.store
    for name, why in facts.blind.items():
        fix = (
            f"install the package for its protocol on {name}, and set its credentials before its Ray is started"
            if is_address
            else f"mount the same folder on {name} under this path, or give --store an address such as s3://…"
        )
        yield Finding(False, "store", f"{facts.store} on {name}: {why}", fix)
    if not facts.blind:
        yield Finding(True, "store", f"{facts.store}: what one host writes the others read")


def _gpus(facts: ClusterFacts) -> Iterator[Finding]:
    problems = False
    for name, host in facts.hosts.items():
        counted = facts.gpus.get(name, 0)
        if counted > len(host.gpus):
            problems = True
            found = f"{name}: Ray counts {counted:g}, torch finds {len(host.gpus)} (driver {host.driver or 'none'})"
            fix = "run nvidia-smi there: install the driver, and a torch that was built for its CUDA"
            yield Finding(False, "GPUs", found, fix)
    drivers = {host.driver for host in facts.hosts.values() if host.driver}
    if len(drivers) > 1:
        problems = True
        told = ", ".join(f"{host.driver} on {name}" for name, host in facts.hosts.items() if host.driver)
        yield Finding(False, "GPUs", f"drivers differ: {told}", "install the same driver on all hosts")
    if not problems:
        told = "; ".join(f"{name}: {', '.join(host.gpus)}" for name, host in facts.hosts.items() if host.gpus)
        driver = f", driver {drivers.pop()}" if drivers else ""
        yield Finding(True, "GPUs", f"{told}{driver}" if told else "none")


def _disks(facts: ClusterFacts) -> Iterator[Finding]:
    full = [(name, disk) for name, host in facts.hosts.items() for disk in host.disks if _is_full(disk)]
    for name, disk in full:
        found = f"{name}: {disk.path} has {disk.free / GB:.1f} of {disk.total / GB:.1f} GB left"
        if disk.path == SHARED_MEMORY:
            fix = "give it more: mount -o remount,size=…, or --shm-size of a container; Ray keeps its objects there"
        else:
            fix = "free it, or start Ray there with --temp-dir on another disk; PODIUM_CACHE_GB limits the cache"
        yield Finding(False, "disks", found, fix)
    if not full:
        least = min((disk.free for host in facts.hosts.values() for disk in host.disks), default=0)
        yield Finding(True, "disks", f"at least {least / GB:.1f} GB free on each of every host")


def _is_full(disk: Disk) -> bool:
    return disk.free < (LEAST_SHARED_BYTES if disk.path == SHARED_MEMORY else LEAST_DISK_BYTES)


def _exchanges(facts: ClusterFacts) -> Iterator[Finding]:
    failed = [exchange for exchange in facts.exchanges if exchange.problem]
    for exchange in failed:
        between = " and ".join(exchange.hosts)
        fix = (
            "open all ports between them (net.ipv4.ip_local_port_range); GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME "
            "name the interface where a host has several; NCCL_DEBUG=INFO says more"
        )
        yield Finding(False, "ranks", f"{between} do not reach each other: {exchange.problem}", fix)
    if facts.exchanges and not failed:
        slowest = max(facts.exchanges, key=lambda exchange: exchange.took_s)
        libraries = " and ".join(sorted({exchange.library for exchange in facts.exchanges}))
        found = f"{libraries} between neighbours, {1000 * slowest.took_s:.0f} ms at most for a first small sum"
        yield Finding(True, "ranks", found)


_LOOKS: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    _hosts,
    _clocks,
    _python,
    _packages,
    _store,
    _ledger,
    _tracking,
    _gpus,
    _disks,
    _exchanges,
)
