"""The champion's code, copied beside its weights: raw samples in, answers out. Needs no Podium.

MLflow runs this file when it loads the model (models from code), and nothing is unpickled but what
`torch.export.load` unpickles of its own archive; so the archive's checksum is compared first.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from scipy import ndimage

Array = np.ndarray[Any, Any]

SAMPLES, NUMBERS = 256, 2**20
"""So many samples or windows go through the network at once at most, and so many numbers."""


class Champion(PythonModel):
    """A network with all that goes before it, and all that comes after it."""

    def load_context(self, context: Any) -> None:
        """Loads the exported network.

        Raises:
            ValueError: if its file is not the one that was registered.
        """
        about = json.loads(Path(context.artifacts["description"]).read_text())
        network = Path(context.artifacts["network"])
        found = hashlib.sha256(network.read_bytes()).hexdigest()
        if found != about["sha256"]:
            raise ValueError(f"{network} was altered: its SHA-256 is {found}, registered was {about['sha256']}")
        self.take(about, torch.export.load(network).module())

    def take(self, about: dict[str, Any], network: Callable[..., torch.Tensor]) -> None:
        """Answers with this network, of which its description says what goes before and after it."""
        self._about, self._network = about, network
        self._inputs = tuple(about["inputs"])
        shape = (-1,) if about["series"] else (-1,) + (1,) * (len(self._inputs) - 1)
        self._mean = np.array(about["mean"], dtype=np.float32).reshape(shape)
        self._scale = (1.0 / np.array(about["std"])).astype(np.float32).reshape(shape)

    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # the one hint that MLflow accepts without a warning
        params: Any = None,
    ) -> Any:
        """Answers for a batch.

        Args:
            context: Not used.
            model_input: `[B, ...]` samples as the data's source has them, finite and neither scaled nor normalized.
                Images `[B, channels, height, width]` may have any size if the model resizes them, or gives maps of
                their own size. Series `[B, steps, features]` may be as long as the longest that was known; of such that
                differ, `{"inputs": ..., "lengths": [B]}`, filled up with any finite number.
            params: Not used.

        Returns:
            By name what each head answers, where the network has several; else float32 probabilities or numbers, as
            the network's outputs are shaped, or int64 classes: `[B]`, `[B, height, width]`, or `[B, labels]` with 1 for
            each label that is present.

        Raises:
            ValueError: for another shape, for no samples, and for what is no finite number.
        """
        samples, lengths = self._checked(model_input)
        inputs = self._prepared(samples)
        if lengths is not None:
            inputs[np.arange(inputs.shape[1]) >= lengths[:, None]] = 0
            inputs = np.pad(inputs, [(0, 0), (0, self._inputs[0] - inputs.shape[1]), (0, 0)])
        windows = self._about["windows"]
        answers = self._run(inputs, lengths) if windows is None else stitched(self._run, inputs, **windows)
        if self._about["heads"]:
            heads = self._about["heads"]
            return {name: self._answer(answers[:, first:end], link) for name, link, first, end in heads}
        return self._answer(answers, self._about["link"])

    def _answer(self, outputs: Array, link: str) -> Array:
        """Probabilities, or classes, of what is linked by `link`, or numbers."""
        if self._about["heads"]:
            outputs = linked(torch.from_numpy(outputs), link).numpy()
        if self._about["answer"] == "probabilities" or link == "identity":
            return outputs
        return self._classes(outputs, link)

    def _checked(self, given: Any) -> tuple[Array, Array | None]:
        """Samples, and lengths where the network takes them."""
        about, has_lengths = self._about, isinstance(given, dict)
        samples = np.asarray(given["inputs"] if has_lengths else given)
        if samples.dtype.kind not in "biuf":
            raise ValueError(f"this model takes numbers, and was given {samples.dtype}")
        sides = [None if axis in about["free"] else side for axis, side in enumerate(self._inputs)]
        fits = samples.ndim == len(sides) + 1 and all(
            side in (None, found) for side, found in zip(sides, samples.shape[1:], strict=True)
        )
        if not fits or 0 in samples.shape:
            wanted = ", ".join("any" if side is None else str(side) for side in sides)
            raise ValueError(f"this model takes samples [batch, {wanted}], at least one, and was given {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("the samples hold values that are no finite numbers")
        if not about["takes_lengths"]:
            return samples, None
        steps = samples.shape[1]
        lengths = np.asarray(given["lengths"] if has_lengths else np.full(len(samples), steps)).astype(np.int64)
        if steps > self._inputs[0]:
            raise ValueError(f"this model takes series of up to {self._inputs[0]} steps, and was given {steps}")
        if lengths.shape != (len(samples),) or lengths.min() < 1 or lengths.max() > steps:
            raise ValueError(f"lengths must be {len(samples)} numbers from 1 to {steps}, and are {lengths.tolist()}")
        return samples, lengths

    def _prepared(self, samples: Array) -> Array:
        """What the reader makes of samples: of one size if their images were resized, float32, normalized."""
        if self._about["resize"] is not None:
            samples = resized(samples, tuple(self._about["resize"]))
        inputs: Array = samples.astype(np.float32)
        return (inputs - self._mean) * self._scale if self._about["normalize"] else inputs

    def _run(self, inputs: Array, lengths: Array | None = None) -> Array:
        """The network's outputs, and probabilities made of them."""
        found, size = [], max(1, min(SAMPLES, NUMBERS // inputs[0].size))
        for first in range(0, len(inputs), size):
            rows = slice(first, first + size)
            given = [inputs[rows]] if lengths is None else [inputs[rows], lengths[rows]]
            with torch.inference_mode():
                outputs = self._network(*(torch.from_numpy(np.ascontiguousarray(each)) for each in given))
                outputs = linked(outputs, self._about["link"])
            found.append(outputs.float().numpy())
        return np.concatenate(found)

    def _classes(self, probabilities: Array, link: str) -> Array:
        """Classes, of several labels or two classes by the thresholds; without small areas, where they are maps."""
        about = self._about
        classes = chosen(probabilities, link, about["threshold"])
        if about["smallest"]:
            classes = np.stack([without_small(each, about["smallest"]) for each in classes])
        answers: Array = classes.astype(np.int64)
        return answers


def linked(outputs: torch.Tensor, link: str) -> torch.Tensor:
    """Probabilities of outputs `[B, classes or labels, ...]`; numbers as they are."""
    if link == "softmax":
        return torch.softmax(outputs, dim=1)
    return torch.sigmoid(outputs) if link == "sigmoid" else outputs


def chosen(probabilities: Array, link: str, threshold: list[float]) -> Array:
    """The classes that probabilities `[B, classes or labels, ...]` speak for, int64.

    Args:
        probabilities: What `link` has made of the network's outputs.
        link: `softmax` or `sigmoid`.
        threshold: From which on the second of two classes, or a label, is present: one, or one for each label.

    Returns:
        `[B, ...]` for softmax; else `[B, labels, ...]` with 1 for each that is present, or `[B, height, width]` for
        maps of one label.
    """
    if link == "softmax" and probabilities.shape[1] != 2:
        return np.asarray(probabilities.argmax(axis=1))
    of_two = link == "softmax"
    scores = probabilities[:, 1:] if of_two else probabilities
    limits = np.array(threshold).reshape(-1, *(1,) * (scores.ndim - 2))
    classes = (scores >= limits).astype(np.int64)
    return classes[:, 0] if of_two or (scores.ndim == 4 and scores.shape[1] == 1) else classes


def resized(images: Array, size: tuple[int, int]) -> Array:
    """Images `[B, channels, height, width]` in another size, by averaging where they shrink, else bilinear."""
    if images.shape[2:] == size:
        return images
    is_bytes = images.dtype == np.uint8
    tensor = torch.from_numpy(np.ascontiguousarray(images if is_bytes else images.astype(np.float32)))
    return np.asarray(torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=True).numpy())


def stitched(run: Callable[[Array], Array], images: Array, size: tuple[int, int], overlap: int, blending: str) -> Array:
    """Answers for images of any size by a network of one size, averaged where its windows overlap.

    Windows lie in rows and columns from the upper left, the last ones at the edge. An image that is smaller than a
    window is filled up by reflection.

    Args:
        run: From `[B, channels, *size]` to `[B, answers, *size]`, or to maps whole times as large.
        images: `[N, channels, height, width]`.
        size: Height and width of a window.
        overlap: Pixels that neighbours have in common at least.
        blending: `linear` or `hann`: how weights fall from a window's centre to its edge.

    Returns:
        `[N, answers, height, width]` float32, or whole times as large.
    """
    height, width = images.shape[2:]
    missing = [(0, max(0, own - side)) for own, side in zip(size, (height, width), strict=True)]
    padded = np.pad(images, [(0, 0), (0, 0), *missing], mode="reflect")
    tops, lefts = (places(side, own, overlap) for side, own in zip(padded.shape[2:], size, strict=True))
    cuts = [(slice(top, top + size[0]), slice(left, left + size[1])) for top in tops for left in lefts]
    answers = []
    for image in padded:
        found = run(np.stack([image[:, rows, columns] for rows, columns in cuts]))
        factor = found.shape[2] // size[0]
        weights = np.outer(*(falling(factor * own, blending) for own in size))
        total = np.zeros((found.shape[1], *(factor * side for side in padded.shape[2:])))
        weight = np.zeros(total.shape[1:])
        for cut, each in zip(cuts, found, strict=True):
            place = tuple(slice(factor * own.start, factor * own.stop) for own in cut)
            total[(slice(None), *place)] += each * weights
            weight[place] += weights
        answers.append((total / weight)[:, : factor * height, : factor * width])
    return np.stack(answers).astype(np.float32)


def places(side: int, window: int, overlap: int) -> list[int]:
    """Where the windows along a side begin."""
    return [*range(0, side - window, window - overlap), side - window]


def falling(side: int, blending: str) -> Array:
    """The weights along a side of a window, highest at its centre and never zero."""
    if blending == "linear":
        weights: Array = np.minimum(np.arange(1.0, side + 1), np.arange(side, 0.0, -1)) / side
    else:
        weights = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return weights


def without_small(classes: Array, smallest: int) -> Array:
    """A map `[height, width]`, in which connected areas of fewer than `smallest` pixels have become class 0."""
    kept: Array = classes.copy()
    for each in np.unique(classes[classes > 0]):
        areas, _ = ndimage.label(classes == each)
        is_small = np.bincount(areas.ravel()) < smallest
        is_small[0] = False
        kept[is_small[areas]] = 0
    return kept


set_model(Champion())
