"""Settings of what the registered model makes of its network's outputs. Pure."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from podium.spec.settings import Settings, is_name


class PostprocessingSettings(Settings):
    """What the registered model does after its network; no trial and no metric of a trial depends on it.

    Attributes:
        answer: `probabilities` of classes, labels or the classes of each pixel; or `class`: the most probable class, or
            1 for what reaches the threshold, where there are two classes or several labels. A network of numbers
            answers with them either way.
        threshold: The probability from which on the answer is class 1 of two, or that a label is present; `chosen`
            takes, when the model is registered, the one of 0.01, 0.02 to 0.99 with the highest F1 score (over pixels:
            the Dice coefficient) on the validation split, for each label its own.
        window: Side in pixels of the windows in which a network of maps goes over a larger image; that of the samples
            it was trained on if absent.
        overlap: Pixels that neighbouring windows have in common at least.
        blending: How the answers of overlapping windows are averaged: with weights that fall from the window's centre
            to its edge linearly, or as a Hann window does, both never zero.
        smallest: Pixels that a connected area of a class other than 0 has at least; smaller ones become class 0.
            Pixels are connected along their sides.
    """

    answer: Literal["probabilities", "class"] = "probabilities"
    threshold: Annotated[
        Annotated[Literal["chosen"], Tag("<name>")] | Annotated[float, Field(gt=0, lt=1), Tag("<other>")],
        Discriminator(is_name),
    ] = 0.5
    window: int | None = Field(default=None, ge=2)
    overlap: int = Field(default=0, ge=0)
    blending: Literal["linear", "hann"] = "hann"
    smallest: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fitting(self) -> "PostprocessingSettings":
        if self.answer == "probabilities":
            for name in ("threshold", "smallest"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} is for classes, and answer is probabilities; add answer: class")
        if self.window is not None and self.overlap >= self.window:
            raise ValueError(f"overlap is {self.overlap} and window is {self.window}; it must be less than the window")
        return self
