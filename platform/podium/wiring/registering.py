"""Registering the best model of a sweep, with what goes before and after its network."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from podium.data.manifest import Manifest
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Launched
from podium.wiring import networks
from podium.wiring.networks import TrainedNetwork
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.registry.models import Model
    from podium.training.answers import Link


def register(machine: Machine, launched: Launched, place: Place) -> dict[str, str] | None:
    """Registers the best model under the sweep's name; None where there is none to register.

    Raises:
        PodiumError: if its network cannot be had.
    """
    spec, best = machine.spec, machine.best()
    ended = machine.state in (SweepState.FINISHED, SweepState.EXHAUSTED, SweepState.STOPPED)
    manifest = networks.load_manifest(place, launched)
    if not ended or best is None or not best.folder or manifest is None or manifest.folds:
        return None
    from podium.registry.models import log_best

    found = networks.trained(place, machine, launched, best)
    if found.link == "none":
        return None
    return log_best(
        model_of(found, manifest),
        run_id=found.run_id,
        spec=spec,
        trial=best,
        tracking_uri=place.tracking_uri,
        registered_name=spec.sweep,
    )


def model_of(found: TrainedNetwork, manifest: Manifest) -> "Model":
    """A network with all that goes before and after it in the registry."""
    from podium.registry.models import Model
    from podium.training.task import takes_lengths

    return Model(
        found.module,
        found.schema,
        found.link,
        resize=resize_of(manifest),
        threshold=_threshold(found),
        takes_lengths=found.schema.series and takes_lengths(found.module),
        heads=found.heads,
    )


def resize_of(manifest: Manifest) -> tuple[int, int] | None:
    """Height and width that raw images are brought to; None where they are not, or a user's function has a hand in."""
    kinds = [step["kind"] for step in manifest.steps]
    if "resize" not in kinds or "apply" in kinds:
        return None
    last = manifest.steps[len(kinds) - 1 - kinds[::-1].index("resize")]
    return int(last["height"]), int(last["width"])


def _threshold(found: TrainedNetwork) -> tuple[float, ...]:
    """That of the sweep file, or those that are best on the validation split."""
    from podium.registry.thresholds import best_thresholds
    from podium.training.answers import answers

    threshold = found.spec.postprocessing.threshold
    if threshold != "chosen":
        return (threshold,)
    split = answers(found.module, found.link, found.reader(), "validation")
    return best_thresholds(_judged(each.numpy(), batch.targets, found.link) for batch, each in split)


def _judged(answers: NDArray[Any], targets: NDArray[Any], link: "Link") -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities and truths `[..., labels]`: of the second of two classes, or of labels."""
    if link == "softmax":
        return answers[:, 1, ..., None], (targets == 1)[..., None]
    if answers.ndim == 4:
        return np.moveaxis(answers, 1, -1), targets.reshape(len(answers), *answers.shape[2:], -1)
    return answers, targets
