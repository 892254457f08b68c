"""The command: `podium board`."""

import signal
import socket
import urllib.request

import board_homes
from wiring_cases import podium_here


def test_it_tells_its_address_and_ends_well(tmp_path):
    with board_homes.shown(tmp_path / "home") as shown:
        assert shown.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(shown.url, timeout=30) as answer:
            assert answer.status == 200
        shown.process.send_signal(signal.SIGTERM)
        shown.process.wait(20)
    assert shown.process.returncode == 0


def test_a_port_that_is_taken_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = podium_here(tmp_path, "board", "--port", str(port))
    assert outcome.code == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in outcome.problems


def test_it_stays_on_this_machine(tmp_path):
    outcome = podium_here(tmp_path, "board", "--cluster", "http://somewhere:8265")
    assert outcome.code == 2
    assert "ssh -L 5002:127.0.0.1:5002" in outcome.problems


def test_an_address_of_a_ledger_that_is_none(tmp_path):
    outcome = podium_here(tmp_path, "board", "--ledger", "mysql://somewhere/x", "--port", "0")
    assert outcome.code == 2
    assert "the ledger cannot be on mysql" in outcome.problems


def test_the_token_to_steer_by_is_printed_once_and_lets_in(tmp_path):
    with board_homes.shown(tmp_path / "home", "--steer") as shown:
        token = shown.url.partition("?token=")[2]
        assert len(token) > 40
        with urllib.request.urlopen(shown.url, timeout=30) as answer:
            assert "token" not in answer.url
        shown.process.terminate()
        rest = "".join(shown.process.communicate(timeout=20))
    assert "the board is at http://127.0.0.1:" in rest
    assert token not in rest
