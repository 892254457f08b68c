"""What is wrong with a sweep beyond the types of its settings. Pure."""

import re
from collections.abc import Callable

from podium.errors import SpecError
from podium.spec import constraints, space_checks
from podium.spec.budget import CPU
from podium.spec.settings import suggestion
from podium.spec.space_checks import Problems
from podium.spec.sweep import BUILT_IN_TASKS, NAME, SweepSpec
from podium.spec.wording import Path

NEEDS_WHOLE = {"optimizer.kind": "lamb", "initializer.scheme": "lsuv"}
"""Settings that need every parameter whole, in one place."""


def problems(spec: SweepSpec) -> Problems:
    """Every problem of `spec`, each with its path."""
    for check in _CHECKS:
        yield from check(spec)


def _task(spec: SweepSpec) -> Problems:
    file, separator, name = spec.task.partition(".py:")
    if separator and not (file and name.isidentifier()):
        yield ("task",), f"{spec.task!r} is no task; write file.py:Name, or one of {', '.join(BUILT_IN_TASKS)}"
    if not separator and spec.task not in BUILT_IN_TASKS:
        hint = suggestion(spec.task, BUILT_IN_TASKS)
        yield ("task",), f"{spec.task!r} is not a built-in task{hint}; your own is written file.py:Name"
    if spec.task in BUILT_IN_TASKS and spec.data is None:
        yield ("data",), f"is missing; the built-in task {spec.task} needs `data: {{source: …}}`"


def _heads(spec: SweepSpec) -> Problems:
    if spec.task == "multi_output" and not spec.heads:
        yield ("heads",), "is missing; multi_output trains several outputs, `heads: {NAME: {kind: …, targets: …}}`"
    if spec.is_built_in and spec.task != "multi_output" and spec.heads:
        yield ("heads",), f"is for the task multi_output, and the task is {spec.task}"
    for name in spec.heads:
        if not re.match(NAME, name):
            yield ("heads", name), f"{name!r} is no name of a head; write letters, digits, - and _"


def _objectives(spec: SweepSpec) -> Problems:
    objectives = spec.search.objectives
    several = len(objectives) > 1
    for index, objective in enumerate(objectives):
        path: Path = (
            ("search", "objective", index) if isinstance(spec.search.objective, tuple) else ("search", "objective")
        )
        split, _, name = objective.metric.partition("/")
        if spec.is_built_in and (split not in ("train", "validation") or not name):
            yield (
                (*path, "metric"),
                f"{objective.metric!r} is not a metric to search by; write train/… or validation/…, such as "
                "validation/loss (the test split is read by promotion alone)",
            )
        elif spec.data is not None and getattr(spec.data.split, split, 1) == 0:
            yield (*path, "metric"), f"{objective.metric!r} needs samples, and data.split.{split} is 0"
        if several and objective.at != "last":
            yield (*path, "at"), "must be `last` for each of several objectives, so that their values are of one epoch"
    if len({objective.metric for objective in objectives}) < len(objectives):
        yield ("search", "objective"), "names a metric twice"
    if several and spec.budget.policy != "none":
        yield (
            ("budget", "policy"),
            f"is {spec.budget.policy}; several objectives need `policy: none`, since rungs compare one value",
        )
    if several and spec.budget.target is not None:
        yield ("budget", "target"), "needs a single objective"
    if several and spec.search.sampler == "cmaes":
        yield ("search", "sampler"), "cmaes takes one objective; tpe, gp, random, qmc and grid take several"


def _budget(spec: SweepSpec) -> Problems:
    epochs, policy = spec.budget.epochs, spec.budget.policy
    if policy != "none" and epochs.min == epochs.max and spec.budget.trials > 1:
        yield (
            ("budget", "epochs"),
            f"min and max are both {epochs.max}, so {policy} has no rung to stop a trial at; lower min, "
            "or write `policy: none`",
        )


def _limits(spec: SweepSpec) -> Problems:
    """Limits that no trial would ever come nearer to."""
    budget = spec.budget
    if spec.resources.gpus:
        return
    if budget.gpu_hours is not None:
        yield (
            ("budget", "gpu_hours"),
            f"is {budget.gpu_hours:g}, and trials use no GPU: resources.gpus is 0; raise that, or write budget.cost "
            "or budget.wall_time instead",
        )
    if budget.cost is not None and CPU not in budget.prices:
        yield (
            ("budget", "cost"),
            f"is {budget.cost:g}, and trials use no GPU: `prices` has to tell what an hour of a core costs, such as "
            "`cpu: 0.05`",
        )


def _trained_on(spec: SweepSpec) -> Problems:
    if spec.data is None or spec.data.train_on == "train":
        return
    uses = {
        "budget.policy": spec.budget.policy != "none",
        "search.objective": any(objective.at != "last" for objective in spec.search.objectives),
        "stopping.patience": spec.stopping.patience is not None,
        "schedule.kind": spec.schedule.kind == "plateau",
        "data.split": isinstance(spec.data.split.folds, int),
    }
    for key, does in uses.items():
        if does:
            yield (
                ("data", "train_on"),
                f"is train+validation, and {key} goes by the validation split; write data.train_on: train",
            )


def _resources(spec: SweepSpec) -> Problems:
    if spec.resources.gpus > 1 and spec.resources.gpus % 1:
        yield ("resources", "gpus"), f"is {spec.resources.gpus:g}; fractions are possible below 1 only"
    if 0 < spec.resources.gpus < 1 < spec.resources.most_ranks:
        yield (
            ("resources", "gpus"),
            f"is {spec.resources.gpus:g}, and a trial may have {spec.resources.most_ranks} ranks; ranks that train "
            "together need a GPU each",
        )
    if spec.resources.fewest_ranks % spec.resources.ranks_per_bundle:
        yield (
            ("resources", "hosts"),
            f"is {spec.resources.hosts}, and a gang has {spec.resources.fewest_ranks} rank(s), no multiple of that",
        )


def _sharded(spec: SweepSpec) -> Problems:
    if spec.resources.strategy != "sharded":
        return
    for key, value in NEEDS_WHOLE.items():
        searched = spec.search.space.get(key, ())
        domains = [one.domain() for one in (searched if isinstance(searched, tuple) else (searched,))]
        if spec.fixed().get(key) == value or any(domain.contains(value) for domain in domains):
            yield ("resources", "strategy"), f"is sharded, and {key}: {value} needs whole parameters; leave one out"


def _search(spec: SweepSpec) -> Problems:
    for index, text in enumerate(spec.search.constraints):
        try:
            constraints.parse(text)
        except SpecError as error:
            yield ("search", "constraints", index), error.problem
    prior = spec.search.prior
    if prior == spec.sweep:
        yield ("search", "prior"), f"{prior!r} is this sweep itself; name an earlier one"
    elif prior is not None and not re.match(NAME, prior):
        yield ("search", "prior"), f"{prior!r} is not the name of a sweep"


_CHECKS: tuple[Callable[[SweepSpec], Problems], ...] = (
    _task,
    _heads,
    _objectives,
    _budget,
    _limits,
    _trained_on,
    _resources,
    _search,
    _sharded,
    space_checks.problems,
)
