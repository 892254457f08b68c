"""What a registered model's answers are answers to, head by head. Pure arithmetic."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from podium.errors import UserError
from podium.registry.models import Schema
from podium.spec.components import LossSettings
from podium.spec.sweep import SweepSpec

Array = NDArray[Any]
Kind = Literal["classes", "labels", "numbers"]
Answers = Array | Mapping[str, Array]
"""Those to N items, `[N, ...]`; by head, where the model has several."""


@dataclass(frozen=True)
class Head:
    """One thing that a model answers: one of its heads, or all there is.

    Attributes:
        name: The head's; empty where there is but one.
        kind: `classes`, of samples or pixels; `labels`, of which a sample has several or none; or `numbers`.
        classes: How many there are; 0 for labels and numbers.
        ignored: The classes whose samples or pixels do not count.
        columns: Of the targets those that are its own; None for all.
        metric: What the objective reads of it, such as `accuracy`; empty if that is another head's.
    """

    name: str
    kind: Kind
    classes: int
    ignored: tuple[int, ...] = ()
    columns: tuple[int, ...] | None = None
    metric: str = ""

    def truths(self, targets: Array) -> Array:
        """Its own of the targets, `[N, ...]`: integer classes, truth values, or numbers."""
        own = targets if self.columns is None else targets[:, list(self.columns)]
        if self.kind == "classes":
            return own if own.dtype.kind in "iu" else own[:, 0].astype(np.int64)
        return own > 0.5 if self.kind == "labels" else own

    def counts(self, truths: Array) -> NDArray[np.bool_]:
        """Which samples or pixels count."""
        return ~np.isin(truths, self.ignored) if self.ignored else np.ones(truths.shape, dtype=bool)


@dataclass(frozen=True)
class About:
    """What a model's answers and the targets mean.

    Attributes:
        task: What the sweep file says.
        heads: The heads; one where there are not several.
        span: From black to white, in images to be answered with images.
    """

    task: str
    heads: tuple[Head, ...]
    span: float = 1.0

    @property
    def repeats_inputs(self) -> bool:
        """Whether the targets are the inputs, as the network is given them: normalized, as the reader's batches are."""
        return self.task == "reconstruction"

    def pairs(self, answers: Answers, targets: Array) -> Iterator[tuple[Head, Array, Array]]:
        """Each head with its answers and its truths, of one shape; a probability of labels stays one.

        Raises:
            UserError: for answers that are none to these targets.
        """
        for head in self.heads:
            truths = head.truths(targets)
            found = _own(answers, head)
            if head.kind == "classes":
                found = _classes(found)
            are_scores = head.kind == "classes" and found.dtype.kind not in "iu"
            if are_scores or found.size != truths.size or len(found) != len(truths):
                raise UserError(
                    f"the model answers with {found.shape}{' for ' + head.name if head.name else ''}, and the targets "
                    f"of the test split are {truths.shape}: it was made for other data; compare models of one task"
                )
            yield head, found.reshape(truths.shape), truths


_KINDS: Mapping[str, Kind] = {"classification": "classes", "multi_label": "labels", "regression": "numbers"}


def about(spec: SweepSpec, schema: Schema, link: str) -> About:
    """What the answers of a sweep's registered models mean.

    Args:
        spec: The sweep; its first objective counts.
        schema: What a sample looks like.
        link: What makes answers of the network's outputs: `softmax`, `sigmoid` or `identity`.
    """
    metric = spec.search.objectives[0].metric.removeprefix("validation/")
    span = 255.0 if schema.input_dtype == "uint8" else 1.0
    if spec.heads:
        heads = tuple(
            Head(
                name,
                _KINDS[head.kind],
                head.classes or 0,
                _ignored(head.loss) if head.classes else (),
                head.columns,
                metric.removeprefix(f"{name}/") if metric.startswith(f"{name}/") else "",
            )
            for name, head in spec.heads.items()
        )
        return About(spec.task, heads, span)
    if schema.classes and link != "identity":
        return About(spec.task, (Head("", "classes", schema.classes, _ignored(spec.loss), metric=metric),), span)
    return About(spec.task, (Head("", "labels" if link == "sigmoid" else "numbers", 0, metric=metric),), span)


def joined(batches: Iterable[Answers], about: About) -> Answers:
    """The answers to batch after batch in one, with classes in the place of their probabilities, which take more room.

    Args:
        batches: At least one, `[B, ...]`.
        about: What they mean.
    """
    made: dict[str, list[Array]] = {head.name: [] for head in about.heads}
    for answers in batches:
        for head in about.heads:
            own = _own(answers, head)
            made[head.name].append(_classes(own) if head.kind == "classes" else own)
    whole = {name: np.concatenate(parts) for name, parts in made.items()}
    return whole.get("", whole)


def _own(answers: Answers, head: Head) -> Array:
    if isinstance(answers, Mapping) != bool(head.name) or (head.name and head.name not in answers):
        given = ", ".join(answers) if isinstance(answers, Mapping) else "one"
        raise UserError(f"the model has other heads than {head.name or 'one'}: {given}; compare models of one task")
    return np.asarray(answers[head.name] if isinstance(answers, Mapping) else answers)


def _classes(answers: Array) -> Array:
    """The most probable class of `[N, C, ...]`, the second of two by one probability; all else as it is."""
    if answers.dtype.kind in "iu" or answers.ndim < 2:
        return answers
    if not np.isfinite(answers).all():
        raise UserError("the model answers with probabilities that are no numbers: it has diverged, or is damaged")
    if answers.shape[1] == 1:
        return (answers[:, 0] >= 0.5).astype(np.uint8)
    return cast(Array, answers.argmax(axis=1).astype(np.min_scalar_type(answers.shape[1])))


def _ignored(loss: LossSettings) -> tuple[int, ...]:
    """What weighs nothing counts in no metric of a trial, and so in no promotion."""
    weights = loss.class_weights if isinstance(loss.class_weights, tuple) else ()
    weightless = {number for number, weight in enumerate(weights) if not weight}
    return tuple(sorted(weightless | ({loss.ignore} if loss.ignore is not None else set())))
