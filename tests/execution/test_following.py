"""How many gangs the Ray executor keeps as hosts come and go: with hosts and ranks that are only written down."""

from types import SimpleNamespace
from typing import Any

import pytest

from podium.execution import following, gangs
from podium.execution import ray as executors
from podium.execution.gangs import Gang, Member
from podium.execution.worker import Assignment
from podium.sweep.placement import Node
from podium.testing.simulation import toy_spec


class Stage:
    """An executor whose cluster has some hosts of two CPUs each, and whose ranks come when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, ranks: int = 1, *, may_grow: bool = True) -> None:
        self.hosts, self.most = 0, most
        self.now, self.has_autoscaler = 1000.0, may_grow
        monkeypatch.setattr(executors, "nodes", lambda: [Node(str(number), cpus=2) for number in range(self.hosts)])
        monkeypatch.setattr(executors, "may_add_hosts", lambda: self.has_autoscaler)
        monkeypatch.setattr(executors, "time", SimpleNamespace(monotonic=lambda: self.now))
        spec = toy_spec(resources={"ranks": ranks, "cpus": 2, "hosts": "spread"})
        assignment = Assignment(spec.written(), None, "", None, "store", holder=1, cache="cache")
        self.executor = executors.RayExecutor(assignment, lambda: self.most, may_grow=may_grow)
        self.dismissed: list[Gang] = []
        self._ranks, self._made = ranks, 0
        monkeypatch.setattr(
            self.executor, "_recruiter", SimpleNamespace(gang=self._gang, dismiss=self.dismissed.append)
        )
        monkeypatch.setattr(self.executor, "_ask", lambda *arguments: None)

    def _gang(self) -> Gang:
        self._made += 1
        actor: Any = SimpleNamespace(where=SimpleNamespace(remote=lambda: None))
        heart: Any = None
        return Gang(str(self._made), [Member(actor, heart, number) for number in range(self._ranks)], group=None)

    def follow(self, hosts: int, work: int = 0) -> list[Gang]:
        self.hosts = hosts
        self.executor.expect(work)
        self.executor._follow()
        return list(self.executor._gangs.values())

    def come(self, gang: Gang, ranks: int | None = None, *, busy: bool = True) -> None:
        """Some ranks of a gang have come; if all have, it is ready, and trains."""
        place: Any = "here"
        for member in gang.members[:ranks]:
            member.where = place
        gang.is_ready = not gang.lacks_places
        training: Any = "an advance"
        gang.advance = training if gang.is_ready and busy else None


def test_an_autoscaler_is_asked_for_what_work_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, most=10)
    assert len(stage.follow(hosts=2)) == 2, "what fits is warm before there is work"
    assert len(stage.follow(hosts=2, work=5)) == 5
    for gang in stage.follow(hosts=2, work=5)[:2]:
        stage.come(gang)
    assert len(stage.follow(hosts=3, work=5)) == 5, "a host came, and two more are asked for"
    assert len(stage.follow(hosts=3, work=3)) == 3, "the sweep is about to end: nobody waits for a host any more"
    assert [gang.holds_places for gang in stage.dismissed] == [False, False]
    assert len(stage.follow(hosts=3, work=500)) == 10, "no more gangs than trials can use"
    stage.most = 12
    assert len(stage.follow(hosts=3, work=500)) == 12, "its budget was extended"
    assert len(Stage(monkeypatch, most=500).follow(hosts=2, work=500)) == 2 + following.MOST_AHEAD
    assert len(Stage(monkeypatch, most=10, may_grow=False).follow(hosts=2, work=10)) == 2
    stage = Stage(monkeypatch, most=10)
    stage.has_autoscaler = False
    assert len(stage.follow(hosts=2, work=10)) == 2, "nobody would hear it"


def test_idle_gangs_give_their_places_back_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, most=10)
    first, second, third = stage.follow(hosts=3, work=3)
    for gang in (first, second, third):
        stage.come(gang, busy=gang is second)
    assert len(stage.follow(hosts=3, work=1)) == 3
    stage.now += following.IDLE_S - 1
    assert len(stage.follow(hosts=3, work=2)) == 3
    assert len(stage.follow(hosts=3, work=3)) == 3, "work has come again"
    stage.now += following.IDLE_S
    assert len(stage.follow(hosts=3, work=1)) == 3
    stage.now += following.IDLE_S
    assert stage.follow(hosts=3, work=1) == [second], "it trains"
    assert {event.gang for event in stage.executor.wait(0)} == {first.name, third.name}  # type: ignore[union-attr]
    assert len(stage.follow(hosts=3, work=1)) == 1, "the places stay free"
    assert len(stage.follow(hosts=3, work=2)) == 2, "there is more to do"
    stage.follow(hosts=3, work=0)
    assert len(stage.follow(hosts=3, work=0)) == 1, "none but the one that trains"


def test_the_last_idle_gang_of_a_ray_of_its_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, most=10, may_grow=False)
    for gang in stage.follow(hosts=2, work=2):
        stage.come(gang, busy=False)
    stage.follow(hosts=2, work=0)
    stage.now += 10 * following.IDLE_S
    assert len(stage.follow(hosts=2, work=0)) == 2


def test_a_sweep_that_has_lost_all_its_hosts_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, most=2)
    for gang in stage.follow(hosts=2, work=1):
        stage.come(gang)
    stage.executor._gangs.clear()
    (waiting,) = stage.follow(hosts=0, work=1)
    assert not waiting.holds_places
    assert Stage(monkeypatch, most=2, may_grow=False).follow(hosts=0, work=1) == []


def test_of_more_half_gangs_than_fit_the_first_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, most=2, ranks=2, may_grow=False)
    first, second = stage.follow(hosts=4)
    stage.come(first, ranks=1)
    stage.come(second, ranks=1)
    assert stage.follow(hosts=2) == [second]
    assert stage.dismissed == [first]


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_half_gang_gives_its_places_up_in_the_end(hosts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it lacks may be held by half a gang of another sweep, which cannot be seen from here."""
    stage = Stage(monkeypatch, most=1, ranks=2, may_grow=False)
    (half,) = stage.follow(hosts=2)
    stage.come(half, ranks=1)
    if hosts == 2:
        assert stage.follow(hosts) == [half]
    half.patient_until = 0.0
    assert half not in stage.follow(hosts)
    assert stage.dismissed == [half]
    assert len(stage.follow(hosts=2)) == 1, "another one, which holds nothing before all of it fits"


def test_gangs_of_two_sweeps_do_not_give_up_at_once() -> None:
    patience = {gangs._patience_from(0.0) for _ in range(20)}
    assert len(patience) == 20
    assert all(gangs.REGROUP_S <= each <= 2 * gangs.REGROUP_S for each in patience)
