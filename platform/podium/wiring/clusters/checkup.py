"""The doctor's visit to a cluster whose Ray this process has joined: every host is asked, and what they tell judged."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from podium.store import read, remove, write
from podium.training.seats import Seat
from podium.wiring.clusters import facts as asked
from podium.wiring.clusters import meeting
from podium.wiring.clusters.diagnosis import ClusterFacts, Exchange, Skew, judge
from podium.wiring.findings import Finding
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.execution.everywhere import Everywhere, Host

EXCHANGE_S, MEETING_S = 30.0, 90.0
"""How long two hosts may take for a sum, and for all of it."""

Say = Callable[[str], None]


def examine(place: Place, say: Say) -> list[Finding]:
    """Looks at every host of the Ray that this process is connected to.

    Args:
        place: Where sweeps are to live.
        say: Told what is being done.
    """
    from podium.execution.everywhere import everywhere

    say("Starting somebody who answers on every host")
    with everywhere() as hosts:
        return judge(collect(hosts, place, say))


def collect(hosts: "Everywhere", place: Place, say: Say) -> ClusterFacts:
    """Asks every host for everything."""
    from podium.execution.everywhere import Silent, session_folder

    say(f"Asking {len(hosts.hosts)} hosts what they have")
    sessions = hosts.ask(session_folder)
    answers = sessions | hosts.ask_each(
        {host: (asked.look, answer, str(place.cache)) for host, answer in sessions.items() if isinstance(answer, str)}
    )
    silent = {host: answer.why for host, answer in answers.items() if isinstance(answer, Silent)}
    told = {host: answer for host, answer in answers.items() if host not in silent}
    say("Comparing clocks")
    clocks = {host: clock for host, clock in hosts.clocks(list(told)).items() if not isinstance(clock, Silent)}
    say(f"Writing into {place.store}, and reading, on every host")
    blind = _try_store(hosts, list(told), place.store)
    return ClusterFacts(
        here=next((host.name for host in told), ""),
        hosts={host.name: answer for host, answer in told.items()},
        silent={host.name: why for host, why in silent.items()},
        gpus={host.name: host.gpus for host in told},
        skews={host.name: Skew(*clock) for host, clock in clocks.items()},
        ledger=asked.ledger_link(place),
        tracking=asked.tracking_link(place),
        store=place.store,
        blind=blind,
        exchanges=_meet(hosts, list(told), say),
    )


def _try_store(hosts: "Everywhere", told: list["Host"], store: str) -> dict[str, str]:
    """By name of a host what is wrong with the store there: each writes, and reads what its neighbour wrote."""
    from podium.execution.everywhere import Silent

    probe, content = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(16)
    names = {host: f"{probe}-{number}" for number, host in enumerate(told)}
    wrong = dict[str, str]()
    written = hosts.ask_each({host: (write, store, name, content) for host, name in names.items()})
    wrong |= {
        host.name: f"cannot write: {answer.why}" for host, answer in written.items() if isinstance(answer, Silent)
    }
    neighbours = dict(zip(told, [*told[1:], *told[:1]], strict=True))
    found = hosts.ask_each({host: (read, store, names[neighbours[host]]) for host in told})
    for host, answer in found.items():
        if isinstance(answer, Silent):
            wrong.setdefault(host.name, f"cannot read: {answer.why}")
        elif answer != content and neighbours[host].name not in wrong:
            wrong.setdefault(host.name, f"does not find what {neighbours[host].name} wrote")
    hosts.ask_each({host: (remove, store, name) for host, name in names.items()})
    return wrong


def _meet(hosts: "Everywhere", told: list["Host"], say: Say) -> list[Exchange]:
    """Neighbours add up numbers, in two rounds: each host is in one pair at a time."""
    pairs = list(pairwise(told))
    exchanges = []
    for half in (pairs[::2], pairs[1::2]):
        if half:
            say(f"Having {len(half)} pair{'s' * (len(half) != 1)} of hosts exchange numbers")
            exchanges += _meet_once(hosts, half)
    return exchanges


def _meet_once(hosts: "Everywhere", pairs: list[tuple["Host", "Host"]]) -> list[Exchange]:
    from podium.execution.everywhere import Silent

    doors = hosts.ask_each({first: (meeting.open_door, first.address) for first, _ in pairs})
    questions: dict[Host, tuple[Any, ...]] = {}
    for first, second in pairs:
        if isinstance(doors[first], Silent):
            continue
        device = "cuda" if first.gpus and second.gpus else "cpu"
        seat = Seat(0, 2, first.address, doors[first], first.address, within_s=EXCHANGE_S)
        questions[first] = meeting.add_up, seat, device
        questions[second] = meeting.add_up, replace(seat, rank=1, address=second.address), device
    answers = doors | hosts.ask_each(questions, MEETING_S)
    return [_exchange(first, second, answers) for first, second in pairs]


def _exchange(first: "Host", second: "Host", answers: dict["Host", Any]) -> Exchange:
    from podium.execution.everywhere import Silent

    names = first.name, second.name
    for host in (first, second):
        answer = answers.get(host)
        if isinstance(answer, Silent):
            return Exchange(names, problem=answer.why)
    library, took_s = answers[second]
    return Exchange(names, library, took_s)
