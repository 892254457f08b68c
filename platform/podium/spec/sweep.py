"""SweepSpec: the tree of settings a user launches. Frozen; unknown keys are refused."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from podium.spec.space import Choice, Domain, Float, Int, Parameter, Space, Value

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "elu", "selu", "leaky_relu", "swish"]
Policy = Literal["asha", "asha_stop", "hyperband", "median", "none"]
Sampler = Literal["tpe", "random", "qmc", "cmaes", "gp", "grid"]


class Settings(BaseModel):
    """The root of all settings: frozen, strict about keys, and finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitSettings(Settings):
    """Shares of the samples, and what keeps equal samples together."""

    train: float = Field(default=0.7, ge=0, le=1)
    validation: float = Field(default=0.15, ge=0, le=1)
    test: float = Field(default=0.15, ge=0, le=1)
    by: Literal["content"] = "content"

    @model_validator(mode="after")
    def _whole(self) -> "SplitSettings":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}; the shares must add up to 1")
        return self


class ArraysSource(Settings):
    """An `.npz` file with one array of inputs and one of targets, samples first."""

    kind: Literal["arrays"]
    path: str
    inputs: str = "x"
    targets: str = "y"


class DataSettings(Settings):
    """Where the samples come from, how they are split, and how many make a batch."""

    source: Literal["mnist_5k"] | ArraysSource
    split: SplitSettings = SplitSettings()
    normalize: bool = True
    batch_size: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)


class NetworkSettings(Settings):
    """A built-in network.

    Attributes:
        kind: `mlp` (fully connected) or `convnet` (LeNet's family: convolution, pooling, fully connected).
        depth: Hidden layers of an mlp; convolution and pooling blocks of a convnet.
        width: Units of each hidden layer; channels of a convnet's first block, doubled in each further one.
        hidden: Units of a convnet's fully connected layer.
        kernel: Side of a convnet's kernels, odd.
        dropout: Rate at which hidden units are dropped in training.
        norm: Normalization after each hidden layer.
    """

    kind: Literal["mlp", "convnet"] = "mlp"
    depth: int = Field(default=2, ge=1, le=64)
    width: int = Field(default=64, ge=1)
    hidden: int = Field(default=128, ge=1)
    kernel: int = Field(default=5, ge=1)
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: Literal["none", "batch", "layer"] = "none"

    @model_validator(mode="after")
    def _odd(self) -> "NetworkSettings":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd, so that borders are padded evenly")
        return self


class InitializerSettings(Settings):
    """How weights are drawn; biases start at zero.

    Attributes:
        scheme: The name of the distribution.
        scale: Standard deviation of `small_normal`; factor of the variance in `variance_scaling`.
        fan: What `variance_scaling` divides by.
    """

    scheme: Literal[
        "small_normal",
        "xavier_uniform",
        "xavier_normal",
        "variance_scaling",
        "he_uniform",
        "he_normal",
        "orthogonal",
    ] = "he_normal"
    scale: float | None = Field(default=None, gt=0)
    fan: Literal["in", "out", "average"] = "in"


class OptimizerSettings(Settings):
    """The rule that turns gradients into steps; settings an optimizer does not use are ignored by it.

    Attributes:
        clip: Largest global norm of the gradients; none if absent.
        rho: AdaDelta's decay.
        weight_decay: AdamW's decoupled decay.
    """

    kind: Literal["sgd", "adam", "adamw", "adadelta"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    rho: float = Field(default=0.9, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float | None = Field(default=None, gt=0)


class PenaltySettings(Settings):
    """Penalties on weights (not biases or norms): l1 * sum|w| + l2 * sum w^2."""

    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.0, ge=0)


class LossSettings(Settings):
    """Settings of the task's loss."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class ScheduleSettings(Settings):
    """The learning rate over the steps of `epochs.max`.

    Attributes:
        kind: Shape after the warm-up.
        warmup: Share of all steps over which the rate rises linearly from zero.
        step_every: Share of all steps after which `step` multiplies the rate by `factor`.
        factor: What `step` multiplies by.
        floor: Share of the learning rate at which `cosine` ends.
    """

    kind: Literal["constant", "cosine", "step"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    step_every: float = Field(default=0.3, gt=0, le=1)
    factor: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class StoppingSettings(Settings):
    """A trial's own early stopping on the objective's metric.

    Attributes:
        patience: Epochs without improvement after which the trial is complete; none if absent.
        min_delta: What counts as an improvement, in units of the metric.
    """

    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=0.0, ge=0)


class Objective(Settings):
    """A metric to optimize.

    Attributes:
        metric: `split/name`, or a name that the training function reports.
        direction: Which way is better.
        at: Whether the best epoch so far counts, or the last.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    at: Literal["best", "last"] = "best"


class When(Settings):
    """Common to all domains: the values of other keys under which the parameter is active."""

    when: dict[str, Value | list[Value]] = Field(default_factory=dict)

    def conditions(self) -> dict[str, tuple[Value, ...]]:
        """For each parent the allowed values."""
        return {key: tuple(v) if isinstance(v, list | tuple) else (v,) for key, v in self.when.items()}


class FloatDomain(When):
    """`{float: [low, high], log: true, step: 0.1}`."""

    float: tuple[float, float]
    log: bool = False
    step: float | None = None

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Float(*self.float, log=self.log, step=self.step)

    @model_validator(mode="after")
    def _sound(self) -> "FloatDomain":
        _check_range(*self.float, log=self.log, step=self.step)
        return self


class IntDomain(When):
    """`{int: [low, high], log: true, step: 2}`."""

    int: tuple[int, int]
    log: bool = False
    step: int = 1

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Int(*self.int, log=self.log, step=self.step)

    @model_validator(mode="after")
    def _sound(self) -> "IntDomain":
        _check_range(*self.int, log=self.log, step=self.step if self.step != 1 else None)
        return self


class LogDomain(When):
    """`{log: [low, high]}`: a float on a log scale."""

    log: tuple[float, float]

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Float(*self.log, log=True)

    @model_validator(mode="after")
    def _sound(self) -> "LogDomain":
        _check_range(*self.log, log=True, step=None)
        return self


class ChoiceDomain(When):
    """`{choice: [a, b, c]}`."""

    choice: tuple[Value, ...] = Field(min_length=1)

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Choice(self.choice)

    @model_validator(mode="after")
    def _distinct(self) -> "ChoiceDomain":
        repeated = [option for index, option in enumerate(self.choice) if option in self.choice[:index]]
        if repeated:
            raise ValueError(f"the option {repeated[0]!r} stands twice")
        return self


DomainSettings = ChoiceDomain | IntDomain | FloatDomain | LogDomain


class SearchSettings(Settings):
    """What is searched, for what, and by which sampler.

    Attributes:
        points: Starting points; keys left out are drawn by the sampler.
        constraints: Comparisons such as `parameters <= 1e6` over `parameters` (the network's size) and metrics.
        prior: An earlier sweep of the same ledger whose trials the sampler is shown.
    """

    objective: Objective | tuple[Objective, ...]
    sampler: Sampler = "tpe"
    seed: int = Field(default=0, ge=0)
    space: dict[str, DomainSettings | tuple[DomainSettings, ...]] = Field(default_factory=dict)
    points: tuple[dict[str, Value], ...] = ()
    constraints: tuple[str, ...] = ()
    prior: str | None = None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives, also where there is one."""
        return self.objective if isinstance(self.objective, tuple) else (self.objective,)


class Epochs(Settings):
    """Epochs (a training function's steps) a trial may take: rungs are min x factor^k below max, then max."""

    min: int = Field(default=1, ge=1)
    max: int = Field(ge=1)
    factor: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _ordered(self) -> "Epochs":
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; the first rung must not lie above the last")
        return self


class Budget(Settings):
    """When a sweep ends.

    Attributes:
        trials: How many trials; may be raised later.
        epochs: What a trial may take.
        policy: Which trials get more than `epochs.min`.
        wall_time: Seconds of running, all launches together; none if absent.
        target: Value of the objective at which the sweep is done; none if absent.
        failures: Failed trials after which the sweep is failed.
    """

    trials: int = Field(ge=1)
    epochs: Epochs
    policy: Policy = "asha"
    wall_time: float | None = Field(default=None, gt=0)
    target: float | None = None
    failures: int = Field(default=5, ge=1)


class Resources(Settings):
    """What one trial occupies: ranks (processes), and for each torch threads and GPUs, fractions allowed."""

    ranks: int = Field(default=1, ge=1)
    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0)


class CheckpointSettings(Settings):
    """How often a running trial is saved, in seconds; it is at every rung."""

    every_s: float = Field(default=60.0, gt=0)


class Retries(Settings):
    """How often a trial is tried again, by cause, before it is failed."""

    worker_lost: int = Field(default=3, ge=0)
    exception: int = Field(default=0, ge=0)


class Notify(Settings):
    """What is told when the sweep ends: a shell command (summary as JSON on its input) or a URL (JSON posted)."""

    command: str | None = None
    webhook: str | None = None


class TrackingSettings(Settings):
    """What is logged at the end beside the runs: search plots, and the best model."""

    plots: bool = True
    model: bool = True


class Components(Settings):
    """The settings that a trial may override by a searched parameter of the same dotted key."""

    network: NetworkSettings = NetworkSettings()
    initializer: InitializerSettings = InitializerSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    penalty: PenaltySettings = PenaltySettings()
    loss: LossSettings = LossSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    stopping: StoppingSettings = StoppingSettings()


class SweepSpec(Components):
    """All that a sweep file can say.

    Attributes:
        sweep: The name; letters, digits, `-` and `_`.
        task: A built-in task, `file.py:Class` (a Task) or `file.py:function` (a training function).
        parameters: Fixed values for a user's own task or function, beside the searched ones.
        seed: One trial seed for all trials; without it each trial has its own.
    """

    sweep: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")
    task: str
    note: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    data: DataSettings | None = None
    parameters: dict[str, Value] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0)
    search: SearchSettings
    budget: Budget
    resources: Resources = Resources()
    fuse: Literal["auto", "off"] | int = "auto"
    checkpoint: CheckpointSettings = CheckpointSettings()
    retries: Retries = Retries()
    notify: Notify = Notify()
    tracking: TrackingSettings = TrackingSettings()

    @property
    def is_built_in(self) -> bool:
        """Whether the task is one of Podium's own."""
        return ".py:" not in self.task

    def space(self) -> Space:
        """The search space; conditions may name fixed settings.

        Raises:
            SpecError: for conditions that cannot be met or ordered.
        """
        return Space(tuple(self._parameters()), self.fixed())

    def _parameters(self) -> Iterator[Parameter]:
        for name, settings in self.search.space.items():
            for one in settings if isinstance(settings, tuple) else (settings,):
                yield Parameter(name, one.domain(), one.conditions())

    def fixed(self) -> dict[str, Value]:
        """Every setting a trial could override and none does, by dotted key."""
        searched = set(self.search.space)
        everything = {**flatten(self.model_dump(include=set(Components.model_fields))), **self.parameters}
        if self.data is not None:
            everything["data.batch_size"] = self.data.batch_size
        return {key: value for key, value in everything.items() if key not in searched}

    def given(self) -> dict[str, Value]:
        """Fixed values that the user wrote under searched keys: trial 0's values for them."""
        written = flatten(self.model_dump(include=set(Components.model_fields), exclude_unset=True)) | self.parameters
        if self.data is not None and "batch_size" in self.data.model_fields_set:
            written["data.batch_size"] = self.data.batch_size
        return {key: written[key] for key in self.search.space if key in written}

    def components(self, parameters: Mapping[str, Value]) -> Components:
        """The settings of one trial: the fixed ones, overridden by its parameters.

        Raises:
            pydantic.ValidationError: for a parameter outside what the setting allows.
        """
        tree = self.model_dump(include=set(Components.model_fields))
        for key, value in parameters.items():
            section, _, name = key.partition(".")
            if section in tree and name in tree[section]:
                tree[section][name] = value
        return Components.model_validate(tree)

    def batch_size(self, parameters: Mapping[str, Value]) -> int:
        """The batch size of one trial."""
        assert self.data is not None
        value = parameters.get("data.batch_size", self.data.batch_size)
        assert isinstance(value, int)
        return value

    def rungs(self) -> tuple[int, ...]:
        """The epochs at which trials are compared, the full budget last."""
        epochs = self.budget.epochs
        rungs = []
        rung = epochs.min
        while rung < epochs.max:
            rungs.append(rung)
            rung *= epochs.factor
        return (*rungs, epochs.max)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """The leaves of a nested mapping by dotted key; lists become tuples."""
    flat: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat


def _check_range(low: float, high: float, *, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"the range [{low:g}, {high:g}] is reversed; write [{high:g}, {low:g}]")
    if low == high:
        raise ValueError(f"the range [{low:g}, {high:g}] holds one value; set it outside of the space instead")
    if log and low <= 0:
        raise ValueError(f"a log range must stay above zero, and this one starts at {low:g}")
    if step is not None and (step <= 0 or log):
        raise ValueError("a step must be positive, and cannot be combined with log")
