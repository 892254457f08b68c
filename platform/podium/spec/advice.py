"""Warnings: what a sweep asks for that it will not get. Pure."""

from collections.abc import Iterable, Iterator
from itertools import islice

from podium.spec.networks import CODERS, DENSE, SERIES, VECTORS
from podium.spec.settings import Settings
from podium.spec.space import Choice, Value
from podium.spec.space_checks import is_numeric
from podium.spec.sweep import SweepSpec

_READ_ONLY_UNDER: dict[str, tuple[str, tuple[Value, ...]]] = {
    "network.depth": ("network.kind", ("mlp", "convnet", "resnet", "fcn", "unet", "frrn", "rednet", *SERIES)),
    "network.width": ("network.kind", ("mlp", "convnet", "alexnet", *SERIES, *CODERS)),
    "network.kernel": ("network.kind", ("convnet", "alexnet", "resnet", *DENSE)),
    "network.channels": ("network.kind", ("convnet", "alexnet", "resnet", *DENSE)),
    "network.dropout": ("network.kind", ("mlp", "convnet", "lenet", "alexnet", *SERIES, "sketch_rnn")),
    "network.spatial_dropout": (
        "network.kind",
        ("convnet", "lenet", "alexnet", "resnet", "fcn", "unet", "frrn"),
    ),
    "network.stages": ("network.kind", ("resnet",)),
    "network.shortcuts": ("network.kind", ("resnet",)),
    "network.stochastic_depth": ("network.kind", ("resnet",)),
    "network.residual": ("network.kind", DENSE),
    "network.patch": ("network.kind", VECTORS),
    "network.stride": ("network.kind", VECTORS),
    "network.bidirectional": ("network.kind", SERIES),
    "network.cell": ("network.kind", ("seq2seq",)),
    "network.horizon": ("network.kind", ("seq2seq",)),
    "network.latent": ("network.kind", ("sketch_rnn",)),
    "network.mixtures": ("network.kind", ("sketch_rnn",)),
    "network.pool": ("network.kind", ("sparse_autoencoder",)),
    "loss.kl_weight": ("network.kind", ("sketch_rnn",)),
    "loss.kl_floor": ("network.kind", ("sketch_rnn",)),
    "loss.sparsity": ("network.kind", ("sparse_autoencoder",)),
    "initializer.scale": ("initializer.scheme", ("small_normal", "variance_scaling")),
    "initializer.fan": ("initializer.scheme", ("variance_scaling",)),
    "initializer.distribution": ("initializer.scheme", ("variance_scaling",)),
    "optimizer.momentum": ("optimizer.kind", ("sgd", "rmsprop")),
    "optimizer.nesterov": ("optimizer.kind", ("sgd",)),
    "optimizer.beta1": ("optimizer.kind", ("adam", "adamw", "nadam", "lamb", "lion")),
    "optimizer.beta2": ("optimizer.kind", ("adam", "adamw", "nadam", "lamb", "lion")),
    "optimizer.rho": ("optimizer.kind", ("adadelta", "rmsprop")),
    "optimizer.epsilon": ("optimizer.kind", ("adam", "adamw", "adadelta", "adagrad", "rmsprop", "nadam", "lamb")),
    "optimizer.weight_decay": ("optimizer.kind", ("adamw", "lamb", "lion")),
    "schedule.warmup": ("schedule.kind", ("constant", "cosine", "step", "plateau")),
    "loss.label_smoothing": ("loss.kind", ("auto", "cross_entropy", "dice_cross_entropy")),
    "loss.delta": ("loss.kind", ("huber",)),
    "loss.gamma": ("loss.kind", ("focal",)),
    "schedule.step_every": ("schedule.kind", ("step",)),
    "schedule.factor": ("schedule.kind", ("step", "plateau")),
    "schedule.floor": ("schedule.kind", ("cosine", "one_cycle", "plateau")),
    "schedule.start": ("schedule.kind", ("one_cycle",)),
    "schedule.rise": ("schedule.kind", ("one_cycle",)),
    "schedule.patience": ("schedule.kind", ("plateau",)),
}
"""Settings that are read under some values of another key only."""

_OF_CLASSES = ("classification", "segmentation")
_READ_ONLY_BY = {
    "loss.kind": (*_OF_CLASSES, "regression", "forecasting", "image_to_image", "multi_label"),
    "loss.class_weights": (*_OF_CLASSES, "multi_label"),
    "loss.ignore": (*_OF_CLASSES, "multi_label"),
    "loss.label_smoothing": _OF_CLASSES,
}
"""Settings that are read by some built-in tasks only."""


def warnings(spec: SweepSpec) -> list[str]:
    """What the user should know before a sound sweep is launched, one sentence or two each."""
    return [*_samplers(spec), *_ignored(spec), *_losses(spec), *_never_active(spec)]


def _samplers(spec: SweepSpec) -> Iterator[str]:
    sampler, policy = spec.search.sampler, spec.budget.policy
    if policy != "none" and sampler in ("gp", "cmaes"):
        seen = "complete and running trials" if sampler == "gp" else "complete trials"
        yield (
            f"search.sampler: {sampler} learns from {seen} only, so the trials that {policy} pauses or stops teach it "
            "nothing; tpe learns from all of them."
        )
    drawn = [parameter.name for parameter in spec.space().parameters if not is_numeric(parameter)]
    if sampler == "cmaes" and drawn:
        names = ", ".join(dict.fromkeys(drawn))
        yield f"search.sampler: cmaes draws {names} at random; it moves numbers without `when`."
    if spec.search.prior is not None and sampler in ("random", "qmc", "grid", "cmaes", "list"):
        yield f"search.prior: {sampler} does not learn from an earlier sweep; the setting is ignored."
    if sampler == "grid":
        points = sum(1 for _ in islice(spec.space().grid(), spec.budget.trials))
        if points < spec.budget.trials:
            yield f"budget.trials: the grid holds {points} points, and {spec.budget.trials} trials are asked for."


def _ignored(spec: SweepSpec) -> Iterator[str]:
    if not spec.has_code and spec.parameters:
        yield f"parameters: the built-in task {spec.task} reads none of them; they are for code of your own."
    if not spec.is_built_in:
        return
    fixed, conditions = spec.fixed(), _conditions(spec)
    for key, (parent, readers) in _READ_ONLY_UNDER.items():
        values = _values(spec, parent, fixed)
        if not _is_written(spec, key) or not values:
            continue
        if not set(values) & set(readers):
            yield f"{key}: is ignored, since {parent} is {_listed(values)}; {_listed(readers)} would read it."
        elif key in spec.search.space and not set(values) <= set(readers) and parent not in conditions[key]:
            useful = [value for value in values if value in readers]
            yield (
                f"search.space.{key}: is ignored where {parent} is "
                f"{_listed([value for value in values if value not in readers])}; "
                f"add `when: {{{parent}: [{', '.join(map(str, useful))}]}}` to draw it only where it is read."
            )


def _losses(spec: SweepSpec) -> Iterator[str]:
    for key, readers in _READ_ONLY_BY.items():
        if spec.is_built_in and spec.task not in readers and _is_written(spec, key):
            own = "; write heads.NAME.loss" if spec.task == "multi_output" else ""
            yield f"{key}: is ignored by the task {spec.task}; {_listed(readers)} read it{own}."
    is_drawn = spec.data is not None and spec.data.sampling != "uniform"
    if is_drawn and "balanced" in _values(spec, "loss.class_weights", spec.fixed()):
        yield (
            "loss.class_weights: balanced weights come on top of data.sampling, which draws samples by class already; "
            "take one of the two."
        )


def _never_active(spec: SweepSpec) -> Iterator[str]:
    fixed = spec.fixed()
    for parameter in spec.space().parameters:
        for parent, allowed in parameter.when.items():
            if parent in fixed and fixed[parent] not in allowed:
                yield f"search.space.{parameter.name}: is never active, since {parent} is set to {fixed[parent]!r}."


def _conditions(spec: SweepSpec) -> dict[str, set[str]]:
    conditions: dict[str, set[str]] = {}
    for parameter in spec.space().parameters:
        conditions.setdefault(parameter.name, set()).update(parameter.when)
    return conditions


def _values(spec: SweepSpec, name: str, fixed: dict[str, Value]) -> list[Value]:
    """The values that `name` can take."""
    if name in fixed:
        return [fixed[name]]
    domains = [parameter.domain for parameter in spec.space().parameters if parameter.name == name]
    return [option for domain in domains if isinstance(domain, Choice) for option in domain.options]


def _is_written(spec: SweepSpec, key: str) -> bool:
    section, _, name = key.partition(".")
    settings = getattr(spec, section)
    return key in spec.search.space or (isinstance(settings, Settings) and name in settings.model_fields_set)


def _listed(values: Iterable[Value]) -> str:
    return " or ".join(map(str, values))
