"""Gangs on nodes: whole ones only, and never more than fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import CapacityError
from podium.spec.sweep import Resources
from podium.sweep.placement import Node, count_gangs, ranks_on

NODES = st.builds(
    Node, st.just("n"), cpus=st.integers(0, 64).map(float), gpus=st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0])
)
RESOURCES = st.builds(
    Resources,
    ranks=st.integers(1, 8),
    cpus=st.integers(1, 8),
    gpus=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0, 2.0]),
)


@pytest.mark.parametrize(
    ("node", "resources", "ranks"),
    [
        (Node("n", 8), Resources(cpus=2), 4),
        (Node("n", 7), Resources(cpus=2), 3),
        (Node("n", 8, 2), Resources(gpus=1.0), 2),
        (Node("n", 8, 2), Resources(gpus=2.0), 1),
        (Node("n", 8, 1), Resources(gpus=0.1), 8),
        (Node("n", 99, 1), Resources(gpus=0.1), 10),
        (Node("n", 8, 2), Resources(gpus=0.3), 6),
        (Node("n", 8), Resources(gpus=0.5), 0),
        (Node("n", 0.5), Resources(), 0),
        (Node("n", 8, 2, "H100"), Resources(gpus=1.0, accelerator="H100"), 2),
        (Node("n", 8, 2, "H100"), Resources(gpus=1.0, accelerator=("A100", "H100")), 2),
        (Node("n", 8, 2, "H100"), Resources(gpus=1.0), 2),
        (Node("n", 8, 2, "A100"), Resources(gpus=1.0, accelerator="H100"), 0),
        (Node("n", 8, 2), Resources(gpus=1.0, accelerator="H100"), 0),
    ],
)
def test_ranks_on_one_node(node, resources, ranks):
    assert ranks_on(node, resources) == ranks


def test_a_gang_may_span_nodes_and_is_never_halved():
    nodes = [Node("a", 3), Node("b", 3), Node("c", 1)]
    assert count_gangs(nodes, Resources(ranks=2)) == 3
    assert count_gangs(nodes, Resources(ranks=2, cpus=2)) == 1


def test_a_gang_that_never_fits_is_refused_with_what_there_is():
    with pytest.raises(CapacityError, match=r"needs 2 rank\(s\) of 4 CPU\(s\) and 1 GPU\(s\).*a has 8 CPUs and 0 GPUs"):
        count_gangs([Node("a", 8)], Resources(ranks=2, cpus=4, gpus=1.0))
    with pytest.raises(CapacityError, match="none"):
        count_gangs([], Resources())
    with pytest.raises(CapacityError, match=r"needs 4 rank\(s\) .*, 2 on each of 2 host\(s\), and the cluster"):
        count_gangs([Node("a", 8), Node("b", 1)], Resources(ranks=4, hosts=2))


@given(st.lists(NODES, max_size=6), RESOURCES)
def test_no_node_is_ever_overcommitted(nodes, resources):
    """All the gangs counted can be placed rank by rank, each GPU held by whole ranks."""
    try:
        gangs = count_gangs(nodes, resources)
    except CapacityError:
        gangs = 0
    left = gangs * resources.ranks
    for node in nodes:
        placed = min(left, ranks_on(node, resources))
        left -= placed
        assert placed * resources.cpus <= node.cpus
        if 0 < resources.gpus < 1:
            ranks_a_gpu = round(1 / resources.gpus - 0.5 + 1e-6)
            assert ranks_a_gpu * resources.gpus <= 1 + 1e-9
            assert placed <= ranks_a_gpu * node.gpus
        else:
            assert placed * resources.gpus <= node.gpus
    assert left == 0
    spare = sum(ranks_on(node, resources) for node in nodes) - gangs * resources.ranks
    assert spare < resources.ranks


def placed_apart(bundles: list[int], hosts: int, gangs: int) -> bool:
    """Whether so many gangs find places, each on so many different hosts, if each takes the emptiest ones."""
    left = list(bundles)
    for _ in range(gangs):
        emptiest = sorted(range(len(left)), key=lambda host: -left[host])[:hosts]
        if len(emptiest) < hosts or left[emptiest[-1]] == 0:
            return False
        for host in emptiest:
            left[host] -= 1
    return True


@given(st.lists(NODES, max_size=8), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_ranks_on_each_of_several_hosts_are_all_placed_and_no_more_would_be(nodes, hosts, each, cpus):
    resources = Resources(ranks=hosts * each, hosts=each, cpus=cpus)
    bundles = [ranks_on(node, resources) // each for node in nodes]
    try:
        gangs = count_gangs(nodes, resources)
    except CapacityError:
        gangs = 0
    assert placed_apart(bundles, hosts, gangs)
    assert not placed_apart(bundles, hosts, gangs + 1)


def test_a_thousand_devices_are_never_overcommitted_nor_left_idle():
    random = np.random.default_rng(0)
    for _ in range(10_000):
        devices = random.integers(0, 17, random.integers(1, 126))
        ranks = int(random.integers(1, 33))
        nodes = [Node(str(index), 4.0 * count, float(count)) for index, count in enumerate(devices)]
        try:
            gangs = count_gangs(nodes, Resources(ranks=ranks, cpus=4, gpus=1.0))
        except CapacityError:
            gangs = 0
        assert 0 <= devices.sum() - gangs * ranks < ranks


def test_hosts_without_the_accelerator_are_told():
    nodes = [Node("a", 8, 2, "A100"), Node("b", 8)]
    with pytest.raises(
        CapacityError, match=r"on a host with H100 or B200, .*: a has 8 CPUs and 2 GPUs of type A100; b "
    ):
        count_gangs(nodes, Resources(gpus=1.0, accelerator=("H100", "B200")))
