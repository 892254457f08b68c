"""Settings of a promotion: who is trained again, and what a candidate has to show. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, ValidationError, field_validator, model_validator

from podium.errors import SpecError
from podium.spec import constraints, wording
from podium.spec.settings import Settings


class GateSettings(Settings):
    """What a candidate has to show before it becomes the champion.

    Attributes:
        level: How sure it has to be that the candidate is better than the champion, or than a trivial answer where
            there is no champion. Every further reading of one test split demands more: the k-th has
            (1 - level) * 6 / (pi^2 k^2) to err.
        margin: By how much the mean loss of a test sample may be worse than the champion's, if the candidate is smaller
            by a tenth, or answers one sample in at most 0.7 of the time; it must be better if absent.
        floors: Comparisons such as `accuracy >= 0.95` that its metrics on the test split have to meet.
        slices: The like for each class and each group, such as `accuracy >= 0.8` or `loss <= 0.2`: `loss` is the mean
            loss of the slice's test samples, and `accuracy` is 1 less that where the loss counts errors.
        latency_p50_ms: Milliseconds in which half of all single samples are answered here; no limit if absent.
        latency_p99_ms: Milliseconds in which 99 of 100 are.
        megabytes: Of the registered model (10^6 bytes); no limit if absent.
        memory_megabytes: That loading it and answering takes, beside the interpreter and its packages.
        agreement: Largest difference between an answer of the exported model and of the trained network.
        own: A gate of your own, `file.py:function` in the current folder. It is called with the candidate, whose
            `model`, `answers`, `targets`, `losses`, `metrics` and `champion` it may look at, and returns why the
            candidate fails, or None.
    """

    level: float = Field(default=0.95, gt=0.5, lt=1)
    margin: float | None = Field(default=None, gt=0)
    floors: Annotated[tuple[str, ...], Strict(False)] = ()
    slices: Annotated[tuple[str, ...], Strict(False)] = ()
    latency_p50_ms: float | None = Field(default=None, gt=0)
    latency_p99_ms: float | None = Field(default=None, gt=0)
    megabytes: float | None = Field(default=None, gt=0)
    memory_megabytes: float | None = Field(default=None, gt=0)
    agreement: float = Field(default=1e-3, gt=0)
    own: str | None = None

    @field_validator("floors", "slices")
    @classmethod
    def _readable(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                constraints.parse(text)
            except SpecError as error:
                raise ValueError(error.problem) from None
        return texts

    @field_validator("own")
    @classmethod
    def _function(cls, own: str | None) -> str | None:
        file, separator, name = (own or "").partition(".py:")
        if own is not None and not (separator and file and name.isidentifier()):
            raise ValueError(f"{own!r} is no function; write file.py:function")
        return own


class PromotionSettings(Settings):
    """How the best of a sweep are trained again, and the best of those becomes the champion.

    Attributes:
        finalists: How many of the best trials are trained again from scratch.
        seeds: With how many fresh seeds each; intervals need at least two.
        per_signature: Whether no two finalists have the same structure.
        ship: Which weights of the chosen finalist are shipped: `best` on validation; those of all seeds as an
            `ensemble`, whose answers are averaged; or their `average`, which makes sense where seeds change little.
        train_on: What the shipped weights are trained on: `train`; or `train+validation`, once more with another seed
            and for as many epochs as the finalist's seeds needed on average.
        gates: What the candidate has to show.
    """

    finalists: int = Field(default=3, ge=1)
    seeds: int = Field(default=5, ge=2)
    per_signature: bool = False
    ship: Literal["best", "ensemble", "average"] = "best"
    train_on: Literal["train", "train+validation"] = "train"
    gates: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _one_network(self) -> "PromotionSettings":
        if self.train_on == "train+validation" and self.ship != "best":
            raise ValueError(
                f"ship is {self.ship}, and train_on: train+validation trains one network; write ship: best"
            )
        return self


def parse_promotion(mapping: Mapping[str, Any]) -> PromotionSettings:
    """Validates settings of a promotion.

    Raises:
        SpecError: for the first thing that is wrong.
    """
    try:
        return PromotionSettings.model_validate(mapping)
    except ValidationError as error:
        path, problem = wording.problems(error, mapping)[0]
        raise SpecError(problem, key=".".join(map(str, ("promotion", *path)))) from None
