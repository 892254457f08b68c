"""Settings of the outputs of a network with several of them. Pure."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from podium.spec.components import LossSettings
from podium.spec.settings import Settings, is_name

Columns = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(False), Field(min_length=1)]


def head_weight(name: str) -> str:
    """The key of a head's weight among a trial's parameters."""
    return f"heads.{name}.weight"


class HeadSettings(Settings):
    """One of several outputs of a network: what it predicts, and how that is judged.

    Attributes:
        kind: `classification`, of one column of whole numbers from 0; `multi_label`, of columns of 0 and 1; or
            `regression`.
        targets: The columns of the targets, counted from 0: a list, or `first:end` without the end.
        classes: How many classes a classification has.
        weight: What the head's loss is multiplied by in the sum of all; searched as `heads.NAME.weight`.
        loss: The head's own loss, in the place of the sweep's.
    """

    kind: Literal["classification", "multi_label", "regression"]
    targets: Annotated[
        Annotated[str, Field(pattern=r"^\d+:\d+$"), Tag("<name>")] | Annotated[Columns, Tag("<other>")],
        Discriminator(is_name),
    ]
    classes: int | None = Field(default=None, ge=2)
    weight: float = Field(default=1.0, ge=0)
    loss: LossSettings = LossSettings()

    @model_validator(mode="after")
    def _fits(self) -> "HeadSettings":
        if not self.columns:
            raise ValueError(f"targets is {self.targets!r}, which holds no column; first has to be below end")
        if self.kind == "classification" and (self.classes is None or len(self.columns) > 1):
            raise ValueError("a classification has one column of targets, and says how many `classes` it has")
        if self.kind != "classification" and self.classes is not None:
            raise ValueError(f"classes is {self.classes}, and kind is {self.kind}; only a classification has classes")
        return self

    @property
    def columns(self) -> tuple[int, ...]:
        """The columns of the targets."""
        if isinstance(self.targets, tuple):
            return self.targets
        first, _, end = self.targets.partition(":")
        return tuple(range(int(first), int(end)))

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for it."""
        return self.classes or len(self.columns)
