"""The Ray executor: warm actors, one a rank, that stay between trials."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.errors import CapacityError, MeetingFailed, PodiumError
from podium.execution.autopsy import Findings, examine, host_died, pointer
from podium.execution.connection import draining, may_add_hosts, nodes
from podium.execution.worker import Assignment
from podium.spec.sweep import SweepSpec
from podium.store import local_path
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Cause, Event, GangLost, GangReady, Halt
from podium.sweep.placement import count_gangs

# isort: split
# the token is settled before Ray is imported
import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from podium.execution.following import Following
from podium.execution.gangs import Gang, Member, Recruiter, addresses, seats
from podium.execution.pulse import GONE_S, Beats
from podium.execution.questions import Question
from podium.execution.rank import Whereabouts
from podium.execution.sharing import require_shared
from podium.training.seats import MEET_S, Seat

START_ATTEMPTS = 3
"""How often gangs may die before they were ready, in a row, before the executor gives up."""

FOLLOW_EVERY_S = 3.0
"""How often the executor looks whether more gangs fit, since hosts come and go."""

EXAMINE_S = 15.0
"""How long a host may take to say what it knows of a gang that died on it."""


class RayExecutor:
    """Gangs on the connected Ray, as many as fit; a rank that dies is replaced, and those beside it stay.

    Args:
        assignment: What the workers work on.
        most: No more gangs than this are started; asked now and then, since a budget may be extended.
        may_grow: Whether the Ray is not this sweep's alone: gangs that do not fit ask its autoscaler for hosts, and
            those for which there is no work give their places back.
    """

    def __init__(self, assignment: Assignment, most: Callable[[], int], *, may_grow: bool = False) -> None:
        self._assignment, self._may_grow = assignment, may_grow
        self._following = Following(most, gives_back=may_grow)
        self._news: list[Event] = []
        self._spec = SweepSpec.model_validate(assignment.spec)
        self._gangs: dict[str, Gang] = {}
        self._questions: dict[Any, Question] = {}
        self._ended: dict[str, dict[Member, Advanced | AdvanceFailed]] = {}
        self._beats = Beats(self._spec.limits.heartbeat_s)
        self._recruiter = Recruiter(assignment, self._spec.resources, self._beats)
        self._early_deaths = 0
        self._followed = 0.0

    def start(self) -> None:
        """Begins to start as many gangs as fit.

        Raises:
            CapacityError: if not one gang fits, and there is no autoscaler that may add hosts.
            UserError: if the hosts do not share the store.
        """
        require_shared(self._assignment.store)
        if not (self._may_grow and may_add_hosts()):
            count_gangs(nodes(), self._spec.resources)
        self._follow()
        self._beats.start()

    def advance(self, command: Advance) -> None:
        """Begins an advance on its gangs, whose ranks sit together for it."""
        gangs = [self._gangs[name] for name in command.gangs if name in self._gangs]
        if len(gangs) < len(command.gangs):
            return
        for gang in gangs:
            gang.advance = command
        if all(gang.table == command.gangs for gang in gangs):
            self._train(command, gangs, [None] * sum(len(gang.members) for gang in gangs))
            return
        self._seat(gangs, lambda found: self._train(command, gangs, found))

    def halt(self, command: Halt) -> None:
        """Asks a gang to end its advance at the next step; those that have joined it hear it from its ranks."""
        gang = self._gangs.get(command.gang)
        if gang is not None:
            for member in gang.members:
                self._ask(member, member.actor.halt.remote(command), lambda _: [])

    def expect(self, gangs: int) -> None:
        """Has work for so many gangs: hosts for those that do not fit are asked for, and idle ones given back."""
        self._following.expected = gangs

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What the gangs have told, waiting at most `timeout_s`.

        Raises:
            PodiumError: if gangs keep dying before they are ready.
        """
        self._beats.check()
        if time.monotonic() - self._followed > FOLLOW_EVERY_S:
            self._follow()
            self._clear(draining())
        if self._news:
            news, self._news = self._news, []
            return news
        if not self._questions:
            time.sleep(timeout_s)
            return []
        ready, _ = ray.wait(list(self._questions), num_returns=1, timeout=timeout_s)
        if ready and len(self._questions) > 1:
            ready, _ = ray.wait(list(self._questions), num_returns=len(self._questions), timeout=0)
        news = [event for reference in ready for event in self._hear(reference)]
        return news + self._give_up_overdue()

    def close(self) -> None:
        """Ends all gangs."""
        self._beats.close()
        for gang in self._gangs.values():
            self._recruiter.dismiss(gang)
        self._gangs.clear()
        self._questions.clear()

    # gangs come

    def _follow(self) -> None:
        """Starts and ends gangs, so that there are as many as should be."""
        self._followed = now = time.monotonic()
        try:
            fit = count_gangs(nodes(), self._spec.resources)
        except CapacityError:
            fit = 0
        gangs, is_growing = list(self._gangs.values()), self._may_grow and may_add_hosts()
        wanted = self._following.wanted(gangs, fit, now, is_growing=is_growing)
        for gang in self._following.unwanted(gangs, fit, wanted, now):
            del self._gangs[gang.name]
            self._recruiter.dismiss(gang)
            if gang.is_ready:
                self._news.append(GangLost(gang=gang.name, cause="preempted", detail="given back, for want of work"))
        for _ in range(wanted - len(self._gangs)):
            self._welcome(self._recruiter.gang())

    def _clear(self, leaving: set[str]) -> None:
        """Has the ranks on hosts that are about to leave save and end, so that what they train goes on elsewhere."""
        for gang in self._gangs.values():
            for member in gang.members:
                if member.where is not None and member.where.node in leaving and not member.is_leaving:
                    member.is_leaving = True
                    self._ask(member, member.actor.leave.remote("left, since its host is drained"), lambda _: [])

    def _welcome(self, gang: Gang) -> None:
        """Waits until each rank has said where it is; then they warm up, at one table if they are several."""
        self._gangs[gang.name] = gang
        for member in gang.members:
            if member.where is None:
                place = functools.partial(self._place, gang, member)
                self._ask(member, member.actor.where.remote(), place)

    def _place(self, gang: Gang, member: Member, where: Whereabouts) -> list[Event]:
        member.where = where
        gang.note_place(where.up_s)
        if all(each.where is not None for each in gang.members):
            if len(gang.members) == 1:
                self._warm_up(gang, [None])
            else:
                self._seat([gang], lambda found: self._warm_up(gang, found))
        return []

    def _seat(self, gangs: Sequence[Gang], then: Callable[[Sequence[Seat | None]], None]) -> None:
        """Finds seats for the ranks of some gangs, the first one's first."""
        members = [member for gang in gangs for member in gang.members]
        for gang in gangs:
            gang.table = tuple(each.name for each in gangs)
        if len(members) == 1:
            then([Seat()])
            return
        called, within_s = addresses(members), max(MEET_S, self._spec.limits.heartbeat_s)

        def meet(port: int) -> list[Event]:
            then(seats(called, port, within_s))
            return []

        self._ask(members[0], members[0].actor.listen.remote(called[0]), meet)

    def _warm_up(self, gang: Gang, found: Sequence[Seat | None]) -> None:
        gang.table = (gang.name,)
        waiting = set(gang.members)

        def greet(member: Member, _: Whereabouts) -> list[Event]:
            waiting.discard(member)
            return [] if waiting else self._greet(gang)

        for member, seat in zip(gang.members, found, strict=True):
            self._ask(member, member.actor.warm_up.remote(seat), functools.partial(greet, member))

    def _greet(self, gang: Gang) -> list[Event]:
        self._early_deaths = 0
        gang.is_ready = True
        for member in gang.members:
            member.heart.is_up = True
            if not member.is_heard:
                member.is_heard = True
                self._listen(member)
        waited_s = gang.waited_s
        return [
            GangReady(
                gang=gang.name,
                devices=gang.devices,
                hosts=gang.hosts,
                waited_s=waited_s,
                startup_s=gang.age_s - waited_s,
            )
        ]

    # gangs work and tell

    def _train(self, command: Advance, gangs: Sequence[Gang], found: Sequence[Seat | None]) -> None:
        if any(gang.advance is not command for gang in gangs):
            return  # one of them was lost meanwhile
        members = [member for gang in gangs for member in gang.members]
        for member, seat in zip(members, found, strict=True):
            self._ask(member, member.actor.advance.remote(command, seat), lambda _: [])

    def _listen(self, member: Member) -> None:
        self._ask(member, member.actor.events.remote(), functools.partial(self._pass_on, member))

    def _pass_on(self, member: Member, events: list[Event]) -> list[Event]:
        """What a rank tells, as far as the others of its advance do not tell the same."""
        gang = self._gang_of(member)
        if gang is None:
            return []
        passed = [each for event in events for each in self._sift(gang, member, event)]
        if gang.name in self._gangs:
            self._listen(member)
        return passed

    def _sift(self, gang: Gang, member: Member, event: Event) -> list[Event]:
        if isinstance(event, GangLost):
            was_ready = gang.is_ready
            self._lose(gang, member)
            return [event.model_copy(update={"gang": gang.name})] if was_ready else []
        return self._note_end(gang, member, event) if isinstance(event, Advanced | AdvanceFailed) else [event]

    def _note_end(self, gang: Gang, member: Member, event: Advanced | AdvanceFailed) -> list[Event]:
        """An advance has ended when it has for all its ranks; if it failed on one, the others only miss that one.

        Their word counts if nobody gives another reason.
        """
        advance = gang.advance
        if advance is None or advance.key != event.key:
            return []
        if isinstance(event, AdvanceFailed):
            event = event.model_copy(update={"gang": gang.name})
        ended = self._ended.setdefault(event.key, {})
        ended[member] = event
        members = [each for name in advance.gangs for each in self._gangs[name].members]
        failures = [each for each in ended.values() if isinstance(each, AdvanceFailed)]
        reason = next((each for each in failures if each.cause != "worker_lost"), None)
        if reason is None and len(ended) < len(members):
            return []
        failure = reason or next(iter(failures), None)
        self._end(event.key, is_broken=failure is not None)
        reports = [each for each in (ended.get(member) for member in members) if isinstance(each, Advanced)]
        usage = tuple(used for each in reports for used in each.usage)
        return [failure or reports[0].model_copy(update={"usage": usage})]

    def _end(self, key: str, *, is_broken: bool = False) -> None:
        """An advance is over; if it broke off, its ranks have left each other."""
        self._ended.pop(key, None)
        for gang in self._gangs.values():
            if gang.advance is not None and gang.advance.key == key:
                gang.advance = None
                gang.table = () if is_broken else gang.table

    def _gang_of(self, member: Member) -> Gang | None:
        return next((gang for gang in self._gangs.values() if member in gang.members), None)

    def _ask(self, member: Member, reference: Any, answer: Callable[[Any], list[Event]]) -> None:
        """Has an answer of a rank heard, unless its gang is gone by then."""
        self._questions[reference] = Question(
            lambda result: answer(result) if self._gang_of(member) is not None else [],
            lambda error: self._miss(member, error),
            lambda: self._gang_of(member) is None,
        )

    def _hear(self, reference: Any) -> list[Event]:
        question = self._questions.pop(reference)
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            if question.is_stale() or isinstance(error.cause, MeetingFailed):
                return question.failed(error)
            raise error.cause if isinstance(error.cause, PodiumError) else error from None
        except RayError as error:
            return question.failed(error)
        return question.answer(result)

    def _give_up_overdue(self) -> list[Event]:
        now = time.monotonic()
        overdue = [reference for reference, question in self._questions.items() if question.due < now]
        questions = [self._questions.pop(reference) for reference in overdue]
        return [event for question in questions for event in question.failed(TimeoutError("no answer in time"))]

    # gangs go

    def _miss(self, member: Member, error: Exception) -> list[Event]:
        """A rank does not answer: it is dead, or out of reach and given up only when it must have left by itself."""
        gang = self._gang_of(member)
        if gang is None:
            return []
        if isinstance(error, ActorUnavailableError):
            self._beats.remove(member.actor)
            gang.gone = gang.gone or time.monotonic() + GONE_S
            if time.monotonic() < gang.gone:
                self._listen(member)
                return []
        advance = gang.advance
        self._lose(gang, member)
        if not gang.is_ready:
            self._note_early_death(error)
            return []
        return self._examine(gang, member, advance, error)

    def _lose(self, gang: Gang, dead: Member) -> None:
        """A gang has lost a rank: those that are left form another one with a new rank in its place."""
        if gang.advance is not None:
            self._end(gang.advance.key, is_broken=True)
        if len(gang.members) == 1 or not gang.is_ready:
            self._give_up(gang)
            return
        del self._gangs[gang.name]
        self._recruiter.dismiss_one(dead)
        self._welcome(self._recruiter.again(gang, dead))

    def _give_up(self, gang: Gang) -> None:
        """Ends a gang, if it still lives, and starts another where one fits."""
        del self._gangs[gang.name]
        self._recruiter.dismiss(gang)
        self._follow()

    def _note_early_death(self, error: Exception) -> None:
        if host_died(error) or self._beats.was_stopped():
            return
        self._early_deaths += 1
        if self._early_deaths >= START_ATTEMPTS:
            raise PodiumError(
                f"{self._early_deaths} gangs in a row died before they were ready. What the last one wrote is in Ray's "
                f"logs (/tmp/ray/session_latest/logs on its host); Ray says: {str(error).splitlines()[-1]}"
            ) from None

    def _examine(self, gang: Gang, dead: Member, advance: Advance | None, error: Exception) -> list[Event]:
        """Looks at what a dead rank left on its host, which is asked if it is another one than this."""
        assert dead.where is not None
        conclude = functools.partial(self._conclude, gang, dead, advance, error)
        trial = None if advance is None else advance.lanes[0].trial
        arguments = (self._assignment.store, self._spec.sweep, trial, Path(self._assignment.cache))
        here, node = ray.get_runtime_context().get_node_id(), dead.where.node
        if node == here and local_path(self._assignment.store, "") is not None:
            return conclude(examine(*arguments))
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        reference = ray.remote(examine).options(num_cpus=0, scheduling_strategy=there).remote(*arguments)
        self._questions[reference] = Question(
            answer=conclude,
            failed=lambda _: conclude(Findings(examine(*arguments).log_tail)),
            due=time.monotonic() + EXAMINE_S,
        )
        return []

    def _conclude(
        self, gang: Gang, dead: Member, advance: Advance | None, error: Exception, findings: Findings
    ) -> list[Event]:
        assert dead.where is not None
        known = dead.where.oom_kills if dead.heart.pulse is None else dead.heart.pulse.oom_kills
        cause, how = self._verdict(gang, dead, advance, error, has_oom_kill=findings.oom_kills > known)
        detail = f"{dead.where.subject} {how}"
        return [GangLost(gang=gang.name, cause=cause, detail=detail, log_tail=findings.log_tail)]

    def _verdict(
        self, gang: Gang, dead: Member, advance: Advance | None, error: Exception, has_oom_kill: bool
    ) -> tuple[Cause, str]:
        if hang := dead.heart.hang:
            return "hang", f"{hang}; limits.heartbeat_s is {self._spec.limits.heartbeat_s:g}"
        if isinstance(error, OutOfMemoryError):
            return "out_of_memory", f"was ended by Ray: {str(error).splitlines()[0]}"
        if has_oom_kill:
            return "out_of_memory", "was killed by the kernel, because the memory of its host ran out"
        if self._beats.was_stopped():
            return "preempted", "left, since the driver was stopped"
        if gang.gone is not None:
            return "worker_lost", "is out of reach"
        if host_died(error):
            return "worker_lost", "died with its host"
        return "worker_lost", "died: it was killed, or crashed" + pointer(advance)
