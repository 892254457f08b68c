"""The processes of `test_ranks.py`: ranks that train what they are told, and write down what they were told.

python ranks_member.py PLAN DESCRIPTOR, which is that of the first rank's listener.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from podium.data.reader import Reader
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Event, Lane, Progress, Saved
from podium.training.checkpoint import Storage
from podium.training.ranks import Ranks
from podium.training.seats import Seat
from podium.training.task import Task
from podium.training.task_trainer import PlainTrainer
from podium.training.trainer import load_task
from podium.training.widths import Notes


def main() -> None:
    """Forks a process a rank, since importing takes longer than training; fails if any of them does."""
    path, listener = Path(sys.argv[1]), int(sys.argv[2])
    plan: dict[str, Any] = json.loads(path.read_text())
    members = []
    for rank in range(plan["count"]):
        members.append(os.fork())
        if members[-1] == 0:
            be_rank(path, plan, rank, listener if rank == 0 else -1)
    sys.exit(any([os.waitpid(member, 0)[1] for member in members]))


def be_rank(path: Path, plan: dict[str, Any], rank: int, listener: int) -> None:
    torch.set_num_threads(1)
    events: list[Event] = []
    patience = [float("inf")]

    def halted() -> bool:
        patience[0] -= 1
        return patience[0] < 0

    seat = None
    if plan["count"] > 1:
        seat = Seat(rank, plan["count"], "127.0.0.1", plan["port"], "127.0.0.1", 60.0)
        seat = replace(seat, listener=listener) if listener >= 0 else seat
    ranks = Ranks(events.append, halted)
    if seat is not None:
        ranks.sit(seat)
    results = []
    for story in plan["stories"]:
        spec = SweepSpec.model_validate(story["spec"])
        task = load_task(spec, Path(plan["code"]))
        assert isinstance(task, Task)
        storage = Storage(story["store"], 1, story["store"])
        trainer = PlainTrainer(spec, task, Reader(Path(plan["data"])), storage, Notes(story["store"], {}), ranks)
        events.clear()
        lanes = [Lane.model_validate(lane) for lane in story["lanes"]]
        # only the last rank is told to halt
        is_told = rank == plan["count"] - 1
        patience[0] = story["halt_after"] if is_told and story["halt_after"] is not None else float("inf")
        reports = trainer.advance(Advance(key="key", gang="gang", until=story["until"], lanes=tuple(lanes)))
        results.append(
            {
                "held": [live.flat.weights.numel() for live in trainer._cache.values()],
                "reports": [report.model_dump(mode="json") for report in reports],
                "saved": [event.model_dump(mode="json") for event in events if isinstance(event, Saved)],
                "curve": [
                    [lane.trial, lane.epoch, lane.metrics]
                    for event in events
                    if isinstance(event, Progress)
                    for lane in event.lanes
                ],
            }
        )
    Path(f"{path}.{rank}").write_text(json.dumps(results))
    ranks.leave()
    os._exit(0)  # as ranks end: torch's own threads now and then abort an interpreter that is being torn down


if __name__ == "__main__":
    main()
