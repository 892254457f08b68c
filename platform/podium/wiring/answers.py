"""What a registered model has answered, made readable: rows of a table, and pictures of maps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.given import Given
from podium.errors import UserError

Answers = Mapping[str, NDArray[Any]]
"""By head, or under `answers` where there is one, the answers to some samples, `[N, ...]`."""

Row = dict[str, Any]

MOST_NUMBERS = 64
"""So many numbers of an answer stand in its row at most; of more only their shape does."""


class Reading:
    """Reads answers by what a model's description says of them.

    Args:
        about: The description.
        probabilities: Whether rows have the probabilities of all classes.

    Raises:
        UserError: if probabilities are wanted of a model that answers with classes.
    """

    def __init__(self, about: Mapping[str, Any], probabilities: bool = False) -> None:
        self._about, self._all = about, probabilities
        self._links = {name: link for name, link, *_ in about["heads"]} or {"answers": about["link"]}
        self._is_class = about["answer"] == "class"
        if probabilities and self._is_class:
            raise UserError("this model answers with classes; `postprocessing: {answer: probabilities}` keeps the rest")

    @property
    def is_map(self) -> bool:
        """Whether images are answered with maps."""
        return self._about["windows"] is not None

    def rows(self, given: Given, answers: Answers) -> Iterator[Row]:
        """One row a sample, its keys alike for all of a model: `sample`, and for each head what it answers."""
        for place, name in enumerate(given.names):
            row: Row = {"sample": name}
            for head, link in self._links.items():
                prefix = "" if head == "answers" else f"{head}."
                told = self._told(answers[head][place : place + 1], link)
                row |= {f"{prefix}{key}": value for key, value in told.items()}
            yield row

    def maps(self, given: Given, answers: Answers) -> Iterator[tuple[str, NDArray[np.uint8], bool]]:
        """Name, pixels, and whether these are classes, of each map: `[height, width]`, or `[height, width, 3]`.

        Raises:
            UserError: if maps are no pictures.
        """
        (link,), found = self._links.values(), answers["answers"]
        is_classes = link != "identity"
        if is_classes:
            pixels = self._classes(found, link)
        else:
            span = 1 if self._about["input_dtype"] == "uint8" else 255
            pixels = np.moveaxis(np.clip(np.rint(found * span), 0, 255), 1, -1)
            pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        if pixels.ndim != 3 and (is_classes or pixels.shape[-1] != 3):
            raise UserError("maps of several labels or channels are no pictures; write them with --out FILE.npz")
        for name, each in zip(given.names, pixels.astype(np.uint8), strict=True):
            yield name, each, is_classes

    def _told(self, answer: NDArray[Any], link: str) -> Row:
        """What is told of the answer `[1, ...]` to one sample."""
        if link == "identity":
            is_short = answer.size <= MOST_NUMBERS
        else:
            is_short = answer.ndim == (1 if link == "softmax" and self._is_class else 2)
        if self.is_map or not is_short:
            return {"shape": " x ".join(map(str, answer.shape[1:]))}
        if link == "identity":
            places = np.ndindex(answer.shape[1:]) if answer.size > 1 else ()
            told = {".".join(("value", *map(str, at))): float(answer[0][at]) for at in places}
            return told or {"value": float(answer.item())}
        return self._told_classes(answer, link)

    def _told_classes(self, answer: NDArray[Any], link: str) -> Row:
        classes = self._classes(answer, link)[0]
        if link == "sigmoid":
            told: Row = {"labels": [self._name(label) for label in np.flatnonzero(classes).tolist()]}
        else:
            told = {"class": self._name(int(classes))}
            if not self._is_class:
                told["probability"] = float(answer[0, int(classes)])
        if self._all:
            told |= {f"probability.{self._name(at)}": float(each) for at, each in enumerate(answer[0])}
        return told

    def _classes(self, answers: NDArray[Any], link: str) -> NDArray[Any]:
        """Classes, of answers that are probabilities of them or classes already."""
        from podium.registry.predict import chosen

        return answers if self._is_class else chosen(answers, link, self._about["threshold"])

    def _name(self, number: int) -> str:
        """What a class is called; those of heads are numbered."""
        names: Sequence[str] = () if self._about["heads"] else self._about.get("class_names", ())
        return names[number] if number < len(names) else str(number)
