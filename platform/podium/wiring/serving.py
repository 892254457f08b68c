"""Handing registered models over: finding one by what a user calls it, asking it, and serving it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from podium.data.given import Given, Taken, open_given
from podium.errors import DataError, LookupFailed, ModelError
from podium.wiring import summaries, tracker
from podium.wiring.answers import Answers
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.registry.serving import Loaded, Switch, Version


def find(place: Place, reference: str) -> "Version":
    """The version that `MODEL@ALIAS`, `MODEL/VERSION` or the name of a sweep stands for.

    Raises:
        LookupFailed: if there is none.
        UserError: if no MLflow server answers.
    """
    from podium.registry import serving

    tracker.require_answer(place.tracking_uri)
    name, at, alias = reference.rpartition("@")
    if at:
        return serving.find(place.tracking_uri, name, alias=alias)
    name, slash, number = reference.rpartition("/")
    if slash:
        return serving.find(place.tracking_uri, name, number=number)
    book = place.book()
    model = summaries.summarize(book, reference)["model"] if book.has(reference) else None
    if model is None:
        why = "has no registered model" if book.has(reference) else "is no sweep"
        raise LookupFailed(f"{reference!r} {why}; give MODEL@ALIAS, MODEL/VERSION, or a sweep that registered its best")
    return serving.find(place.tracking_uri, model["name"], number=model["version"])


def load(place: Place, version: "Version") -> "Loaded":
    """The model, which has answered its input example.

    Raises:
        ModelError: if it does not load or answer.
    """
    from podium.registry import serving

    return serving.load(place.tracking_uri, version)


def switch(place: Place, version: "Version", say: Callable[[str], None]) -> "Switch":
    """What answers requests by the version, and by those after it if it was found by its alias; raises as `load`."""
    from podium.registry import serving

    return serving.Switch(place.tracking_uri, load(place, version), say)


def ask(
    loaded: "Loaded", path: Path, array: str | None = None, columns: Sequence[str] = ()
) -> tuple[int, Iterator[tuple[Given, Answers]]]:
    """How many samples there are, and they with their answers, some at a time.

    Args:
        loaded: The model.
        path: Where its samples are, as `data.given.open_given` reads them.
        array: As there.
        columns: As there.

    Raises:
        DataError: if they cannot be read, or the model refuses them; from the iterator, too.
        ModelError: if Podium has not registered the model, so that nothing tells what it takes.
    """
    about = loaded.about
    if "inputs" not in about:
        raise ModelError(f"{loaded.version} was not registered by Podium; `podium serve` serves any MLflow model")
    taken = Taken(tuple(about["inputs"]), about["input_dtype"], tuple(about["free"]), about["takes_lengths"])
    count, parts = open_given(path, taken, array, columns)
    return count, _answered(loaded, taken, parts)


def _answered(loaded: "Loaded", taken: Taken, parts: Iterator[Given]) -> Iterator[tuple[Given, Answers]]:
    for given in parts:
        asked: Any = given.samples
        if taken.takes_lengths:
            steps = np.full(len(asked), asked.shape[1], np.int64)
            asked = {"inputs": asked, "lengths": steps if given.lengths is None else given.lengths}
        try:
            found = loaded.model.predict(asked)
        except Exception as error:  # its code may raise anything
            raise DataError(f"{given.where}: {str(error) or type(error).__name__}") from error
        yield given, found if isinstance(found, dict) else {"answers": found}
