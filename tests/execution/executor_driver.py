"""A driver of its own process: a Ray executor at an address, told what to do by lines, telling its events by lines."""

import dataclasses
import json
import sys
import threading

from podium.execution.connection import connected
from podium.execution.ray import RayExecutor
from podium.execution.worker import Assignment
from podium.sweep.messages import Advance


def main(address: str, most: str, assignment: str) -> None:
    """Begins every advance that is read, as JSON; writes every event, as JSON."""
    with connected(address):
        executor = RayExecutor(Assignment(**json.loads(assignment)), most=lambda: int(most))
        executor.start()
        commands: list[Advance] = []
        threading.Thread(target=read, args=(commands,), daemon=True).start()
        while True:
            for event in executor.wait(0.2):
                print(event.model_dump_json(), flush=True)
            while commands:
                executor.advance(commands.pop(0))


def read(commands: list[Advance]) -> None:
    """Takes commands off the standard input."""
    for line in sys.stdin:
        commands.append(Advance.model_validate_json(line))


def arguments(address: str, most: int, assignment: Assignment) -> list[str]:
    """The command line of this driver."""
    return [sys.executable, __file__, address, str(most), json.dumps(dataclasses.asdict(assignment))]


if __name__ == "__main__":
    main(*sys.argv[1:])
