"""SweepSpec: the tree of settings a user launches. Frozen; unknown keys are refused."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Discriminator, Field, Strict, Tag

from podium.spec.budget import Budget, Epochs, Policy
from podium.spec.components import (
    Components,
    InitializerSettings,
    LossSettings,
    OptimizerSettings,
    PenaltySettings,
    ScheduleSettings,
    StoppingSettings,
)
from podium.spec.data import DataSettings
from podium.spec.domains import Domains, one_or_several
from podium.spec.heads import HeadSettings, head_weight
from podium.spec.networks import Activation, NetworkSettings
from podium.spec.postprocessing import PostprocessingSettings
from podium.spec.promotion import PromotionSettings
from podium.spec.running import CheckpointSettings, ComputeSettings, LimitSettings, Resources, Retries
from podium.spec.settings import Settings, is_name
from podium.spec.space import Parameter, Space, Value

__all__ = [
    "Activation",
    "Budget",
    "CheckpointSettings",
    "Components",
    "ComputeSettings",
    "DataSettings",
    "Epochs",
    "InitializerSettings",
    "LimitSettings",
    "LossSettings",
    "NetworkSettings",
    "Notify",
    "Objective",
    "OptimizerSettings",
    "PenaltySettings",
    "Policy",
    "PostprocessingSettings",
    "Resources",
    "Retries",
    "Sampler",
    "ScheduleSettings",
    "SearchSettings",
    "StoppingSettings",
    "SweepSpec",
    "TrackingSettings",
    "flatten",
]

Sampler = Literal["tpe", "random", "qmc", "cmaes", "gp", "grid", "list"]

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"
SEARCHED_DATA = ("batch_size", "share")
"""The settings of the data that a trial may override by a searched key."""

BUILT_IN_TASKS = (
    "classification",
    "regression",
    "segmentation",
    "image_to_image",
    "multi_label",
    "multi_output",
    "forecasting",
    "sequence_generation",
    "reconstruction",
)


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


class SearchSettings(Settings):
    """What is searched, for what, and by which sampler.

    Attributes:
        objective: The metric to optimize, or a list of them.
        sampler: How parameters are proposed; `list` takes them from `points`, one trial for each.
        seed: Seed of the proposals, and of the trials' own seeds.
        space: The searched keys and their domains.
        points: Starting points; keys left out are drawn by the sampler. Under `list`, whole points.
        constraints: Comparisons such as `parameters <= 1e6` over `parameters` (the network's size) and metrics.
        prior: An earlier sweep of the same ledger whose trials the sampler is shown.
    """

    objective: Annotated[
        Annotated[Objective, Tag("<one>")]
        | Annotated[tuple[Objective, ...], Strict(False), Field(min_length=1), Tag("<several>")],
        Discriminator(one_or_several),
    ]
    sampler: Sampler = "tpe"
    seed: int = Field(default=0, ge=0)
    space: dict[str, Domains] = Field(default_factory=dict)
    points: Annotated[tuple[dict[str, Value], ...], Strict(False)] = ()
    constraints: Annotated[tuple[str, ...], Strict(False)] = ()
    prior: str | None = None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives, also where there is one."""
        return self.objective if isinstance(self.objective, tuple) else (self.objective,)


class Notify(Settings):
    """What is told when the sweep ends.

    Attributes:
        command: A shell command, which reads the summary as JSON on its input.
        webhook: A URL to which the summary is posted as JSON.
    """

    command: str | None = None
    webhook: str | None = None


class TrackingSettings(Settings):
    """What is logged beside the runs.

    Attributes:
        plots: The plots of the search.
        model: The best model.
        diagnosis: What goes on inside the networks: per layer, norms of gradients, weights, updates and activations,
            dead and saturated units, at a few epochs; with a verdict in words where something ails a trial.
        inside: Pictures of the best network, if it is one for images, on a page of their own: its filters, what excites
            it, what it looks at and where it errs, by validation data. `plots: false` leaves them out, too.
    """

    plots: bool = True
    model: bool = True
    diagnosis: bool = True
    inside: bool = True


class SweepSpec(Components):
    """All that a sweep file can say.

    Attributes:
        sweep: The name; letters, digits, `-` and `_`.
        task: A built-in task, `file.py:Class` (a Task) or `file.py:function` (a training function).
        note: What the sweep is for, in words.
        tags: Labels to find it by.
        data: The samples.
        parameters: Fixed values for a user's own task or function, beside the searched ones.
        seed: One trial seed for all trials; without it each trial has its own.
        heads: By name, the outputs of a network with several of them, which the task `multi_output` trains.
        search: What is searched, for what, and how.
        budget: When the sweep ends, and what a trial may take.
        resources: What one trial occupies.
        compute: How a step is computed.
        screen: Whether a trial of a task is refused before its first epoch if one batch shows that it cannot learn.
        fuse: How many trials may be trained as one stack of weights: `auto`, `off` or a width.
        checkpoints: How often a running trial is saved, and how much of that is kept.
        retries: How often a trial is tried again, by cause.
        limits: How long Podium waits for what may never come.
        notify: What is told when the sweep ends.
        tracking: What is logged beside the runs.
        postprocessing: What the registered model does after its network.
        promotion: How `podium promote` trains the best trials again, and what the best of those has to show.
        presets: By name, settings by dotted key that `podium launch sweep.yaml preset=NAME` puts in the place of the
            file's own, such as `full: {budget.trials: 100}`.
    """

    sweep: str = Field(pattern=NAME)
    task: str
    note: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    data: DataSettings | None = None
    parameters: dict[str, Value] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0)
    heads: dict[str, HeadSettings] = Field(default_factory=dict)
    search: SearchSettings
    budget: Budget
    resources: Resources = Resources()
    compute: ComputeSettings = ComputeSettings()
    screen: bool = False
    fuse: Annotated[
        Annotated[Literal["auto", "off"], Tag("<name>")] | Annotated[int, Field(ge=1), Tag("<other>")],
        Discriminator(is_name),
    ] = "auto"
    checkpoints: CheckpointSettings = Field(
        default=CheckpointSettings(), validation_alias=AliasChoices("checkpoints", "checkpoint")
    )
    retries: Retries = Retries()
    limits: LimitSettings = LimitSettings()
    notify: Notify = Notify()
    tracking: TrackingSettings = TrackingSettings()
    postprocessing: PostprocessingSettings = PostprocessingSettings()
    promotion: PromotionSettings = PromotionSettings()
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def is_built_in(self) -> bool:
        """Whether the task is one of Podium's own."""
        return ".py:" not in self.task

    @property
    def own_network(self) -> str | None:
        """The user's function that makes the networks, `file.py:name`; None for the built-in ones."""
        return self.network if isinstance(self.network, str) else None

    @property
    def has_code(self) -> bool:
        """Whether the task or its networks are the user's own."""
        return not self.is_built_in or self.own_network is not None

    def written(self) -> dict[str, Any]:
        """What the user wrote, as JSON types: `SweepSpec.model_validate` of it gives this spec again.

        A dump with the defaults would not, since `given` reads which settings were written.
        """
        return self.model_dump(mode="json", exclude_unset=True)

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
        everything = {**flatten(self.model_dump(include={*Components.model_fields, "heads"})), **self.parameters}
        if self.data is not None:
            everything |= {f"data.{name}": getattr(self.data, name) for name in SEARCHED_DATA}
        return {key: value for key, value in everything.items() if key not in searched}

    def given(self) -> dict[str, Value]:
        """Fixed values that the user wrote under searched keys: trial 0's values for them."""
        written = (
            flatten(self.model_dump(include={*Components.model_fields, "heads"}, exclude_unset=True)) | self.parameters
        )
        if self.data is not None:
            given = self.data.model_fields_set.intersection(SEARCHED_DATA)
            written |= {f"data.{name}": getattr(self.data, name) for name in given}
        return {key: written[key] for key in self.search.space if key in written}

    def components(self, parameters: Mapping[str, Value]) -> Components:
        """The settings of one trial: the fixed ones, overridden by its parameters.

        Raises:
            pydantic.ValidationError: for a parameter outside what the setting allows.
        """
        tree = self.model_dump(include=set(Components.model_fields))
        for key, value in parameters.items():
            section, _, name = key.partition(".")
            if isinstance(tree.get(section), dict) and name in tree[section]:
                tree[section][name] = value
        return Components.model_validate(tree)

    def batch_size(self, parameters: Mapping[str, Value]) -> int:
        """The batch size of one trial."""
        assert self.data is not None
        value = parameters.get("data.batch_size", self.data.batch_size)
        assert isinstance(value, int)
        return value

    def data_share(self, parameters: Mapping[str, Value]) -> float:
        """The share of the train split that one trial is trained on."""
        assert self.data is not None
        value = parameters.get("data.share", self.data.share)
        assert isinstance(value, float | int)
        return float(value)

    def head_weights(self, parameters: Mapping[str, Value]) -> dict[str, float]:
        """What the losses of heads are multiplied by in one trial, by dotted key."""
        own = {head_weight(name): head.weight for name, head in self.heads.items()}
        return {key: float(parameters.get(key, weight)) for key, weight in own.items()}  # type: ignore[arg-type]

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
