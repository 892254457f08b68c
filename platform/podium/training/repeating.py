"""Training: a trial once more, in stacks and by ranks as it was trained before, so that it comes out bit for bit.

A number in a lane depends on how wide its stack is, on which lane it is, and on which hyperparameters differ between
the lanes; on what the other lanes hold it does not. So copies of the trial stand in for its mates.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from podium.sweep.messages import Lane, Stretch
from podium.training.artifacts import Log
from podium.training.lanes import Stack
from podium.training.live import Gathered, LiveTrial
from podium.training.loop import Loop
from podium.training.plain import Plain
from podium.training.probe import Inspection
from podium.training.samples import Samples


class RepeatingLoop(Loop):
    """Trains one trial by the stretches of its `repeat`; where one begins that needs other ranks, it halts.

    Args:
        made: Makes a trial before its first step, to stand in for a mate.
        arguments: Those of any loop, with the trial alone.
    """

    def __init__(self, made: Callable[[Lane], LiveTrial], *arguments: Any) -> None:
        super().__init__(*arguments)
        (self._live,) = self._lives
        self._made, self._stretch = made, self._current()
        if self._live.repeat is not None and self._live.repeat.is_twin and self._live.epoch == self._live.step == 0:
            self._live.become_twin()

    def _arrange(self) -> None:
        stretch = self._current()
        if self._groups and stretch == self._stretch:
            return
        self._settle()
        self._stretch = stretch
        self._groups = [Plain(self._live, self._ranks) if len(stretch.stack) == 1 else self._stack(stretch)]
        self._groups[0].begin_epoch(self._in_epoch, self._steps)
        self._live.begin_stretch(stretch.stack, stretch.stacks_metrics, self._ranks.count)

    def _has_to_halt(self, halted: bool, is_due: bool) -> bool:
        stretch = self._current()
        is_over = stretch.ranks != self._ranks.count or (stretch.strategy == "sharded") != self._live.is_sharded
        return super()._has_to_halt(halted or is_over, is_due)

    def _current(self) -> Stretch:
        repeat, place = self._live.repeat, (self._live.epoch, self._live.step)
        assert repeat is not None
        begun = [each for each in repeat.history if each.place <= place]
        return begun[-1] if begun else self._plain()

    def _plain(self) -> Stretch:
        """What is taken for the beginning of a history that is not told from there."""
        strategy: Any = "sharded" if self._live.is_sharded else "replicated"
        return Stretch(epoch=0, stack=(self._live.trial,), ranks=self._ranks.count, strategy=strategy)

    def _stack(self, stretch: Stretch) -> "Among":
        lane = stretch.stack.index(self._live.trial)
        lives = [self._live if each == self._live.trial else self._stand_in(each) for each in stretch.stack]
        return Among(Stack(lives, stretch.stacks_metrics, self._ranks), lane)

    def _stand_in(self, number: int) -> LiveTrial:
        repeat = self._live.repeat
        assert repeat is not None
        mate = self._made(Lane(trial=number, parameters=repeat.mates[number], seed=self._live.seed))
        mate.restore(self._live.tensors(), self._live.state())
        return mate


class Among:
    """A trial in a stack whose other lanes nobody asks for: a `Group` of one.

    Args:
        stack: The stack.
        lane: The trial's.
    """

    def __init__(self, stack: Stack, lane: int) -> None:
        self._stack, self._lane = stack, lane
        self._live = stack.lives[lane]
        self._mates = [live for live in stack.lives if live is not self._live]

    @property
    def lives(self) -> tuple[LiveTrial, ...]:
        """The trial."""
        return (self._live,)

    def begin_epoch(self, in_epoch: int, steps: int) -> None:
        """An epoch begins or goes on."""
        self._keep_up()
        self._stack.begin_epoch(in_epoch, steps)

    def step(self, samples: Samples) -> None:
        """One step of all lanes."""
        self._keep_up()
        self._stack.step(samples)

    def inspect(self, samples: Samples) -> Inspection:
        """Looks inside the networks; what is told of is the trial's."""
        return replace(self._stack.inspect(samples), shown=self._lane)

    def collect(self) -> None:
        """Takes over the sums of the epoch so far; those of the other lanes do not matter."""
        for mate in self._mates:
            mate.gathered = Gathered(mate.task, mate.device)
        self._stack.collect()

    def settle(self) -> None:
        """Brings the sums of the epoch so far to the trial."""
        self._stack.settle()

    def begin_validation(self) -> None:
        """Validation begins."""
        self._stack.begin_validation()

    def validate(self, samples: Samples, logs: Sequence[Log]) -> None:
        """Takes in one batch; the task logs with the trial's own log, and with those of the others in vain."""
        every: list[Log] = [Unheard() for _ in self._stack.lives] if logs else []
        every[self._lane : self._lane + len(logs)] = logs
        self._stack.validate(samples, every)

    def end_validation(self) -> list[Gathered]:
        """What was gathered for the trial."""
        return [self._stack.end_validation()[self._lane]]

    def are_finite(self) -> list[bool]:
        """Whether its weights are all finite."""
        return [self._stack.are_finite()[self._lane]]

    def _keep_up(self) -> None:
        """The others stand where the trial stands."""
        for mate in self._mates:
            mate.epoch, mate.step = self._live.epoch, self._live.step


class Unheard(Log):
    """Takes what nobody wants to see."""

    def __init__(self) -> None:
        super().__init__("", "")

    def log_figure(self, name: str, figure: Any) -> None:
        """Drops it."""

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Drops it."""
