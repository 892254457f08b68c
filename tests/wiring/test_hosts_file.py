"""The file with the hosts of a cluster."""

from pathlib import Path

import pytest

from podium.errors import UserError
from podium.wiring.clusters.hosts_file import Host, addresses_of, read_hosts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosts.txt"


def test_one_host_a_line(path: Path) -> None:
    path.write_text("# ours\nanna@10.77.0.1\n\n  node-2.lab gpus=2 cpus=16 # new\nlocalhost address=10.0.0.3\n")
    hosts = read_hosts(path)
    assert hosts == [
        Host("anna@10.77.0.1", {}),
        Host("node-2.lab", {"gpus": "2", "cpus": "16"}),
        Host("localhost", {"address": "10.0.0.3"}),
    ]
    assert hosts[1].arguments == ["--num-cpus=16", "--num-gpus=2"]
    assert hosts[2].address == "10.0.0.3"
    assert Host("anna@127.0.0.1", {}).address == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("# nobody\n", "names no host"),
        ("one\ntwo\none\n", "hosts.txt:3: one is there already"),
        ("one\n-oProxyCommand=evil\n", "hosts.txt:2: '-oProxyCommand=evil' is no host"),
        ("one;evil\n", "hosts.txt:1: 'one;evil' is no host"),
        ("cpus=4\n", "hosts.txt:1: 'cpus=4' is no host"),
        ("one cpus=many\n", "hosts.txt:1: 'cpus=many' is not known"),
        ("one two\n", "hosts.txt:1: 'two' is not known; after the host, cpus=N, gpus=N and address="),
    ],
)
def test_a_mistake_names_file_and_line(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_hosts(path)
    assert said in str(error.value)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(UserError, match=r"hosts\.txt cannot be read"):
        read_hosts(path)


def test_a_loopback_is_no_address_for_several_hosts() -> None:
    here, there = Host("localhost", {}), Host("other", {"address": "10.0.0.2"})
    assert addresses_of([here]) == ["127.0.0.1"]
    with pytest.raises(UserError, match=r"localhost is 127\.0\.0\.1 here, which other hosts cannot reach"):
        addresses_of([here, there])
