"""Training: what a network's outputs mean, so that answers can be made of them."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.data.reader import Batch, Reader
from podium.errors import SpecError
from podium.spec.postprocessing import PostprocessingSettings
from podium.training.task import Task, takes_lengths

Link = Literal["softmax", "sigmoid", "identity", "none"]

SAMPLES, NUMBERS = 256, 2**20
"""So many samples go through a network at once at most, and so many numbers, which bounds those of large images."""


def link_of(task: Task, schema: Schema) -> Link:
    """What makes answers of a task's outputs: what it says; else softmax for classes, and nothing for numbers."""
    if task.link != "auto":
        return task.link
    return "softmax" if schema.classes else "identity"


def linked(outputs: Tensor, link: Link) -> Tensor:
    """Probabilities of outputs `[B, classes, ...]` or `[B, labels, ...]`; outputs that are numbers as they are."""
    if link == "softmax":
        return torch.softmax(outputs, dim=1)
    return torch.sigmoid(outputs) if link == "sigmoid" else outputs


class Answering(nn.Module):
    """A network that gives nothing but what its task answers with, before its link.

    Args:
        network: The task's network.
        task: The task.
    """

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self._task = network, task
        self.takes_lengths = takes_lengths(network)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As the network."""
        given = (inputs,) if lengths is None else (inputs, lengths)
        return self._task.answer(self.network(*given))


def answers(module: nn.Module, link: Link, reader: Reader, split: str) -> Iterator[tuple[Batch, Tensor]]:
    """The batches of a split, in the order of the shards, each with a network's answers."""
    for batch in reader.sequential(split, max(1, min(SAMPLES, NUMBERS // math.prod(reader.schema.inputs)))):
        given = [torch.from_numpy(batch.inputs)]
        if batch.lengths is not None and takes_lengths(module):
            given.append(torch.from_numpy(batch.lengths))
        with torch.inference_mode():
            found = linked(module(*given), link)
        yield batch, found


def require_answer(settings: PostprocessingSettings, task: Task, schema: Schema) -> None:
    """Refuses what cannot be made of a network's outputs.

    Raises:
        SpecError: naming the setting.
    """
    link, has_heads = link_of(task, schema), bool(task.heads())
    is_map = len(schema.inputs) == 3 and len(schema.targets) >= 2
    given = settings.model_fields_set

    def refuse(name: str, what: str) -> None:
        raise SpecError(f"is {getattr(settings, name)!r}, and {what}; leave it out", key=f"postprocessing.{name}")

    if settings.answer == "class" and link == "identity" and not has_heads:
        refuse("answer", "this task predicts numbers")
    if "threshold" in given and link == "softmax" and schema.classes > 2:
        refuse("threshold", f"of {schema.classes} classes the most probable one is the answer")
    if settings.threshold == "chosen" and has_heads:
        refuse("threshold", "there are several heads, which one threshold has to do for")
    if settings.smallest and not (is_map and schema.classes):
        refuse("smallest", "this task answers with no map of classes")
    for name in ("window", "overlap", "blending"):
        if name in given and not is_map:
            refuse(name, "this task answers with no maps")
