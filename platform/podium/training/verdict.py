"""Training: the verdict, what ails a network in words, judged by what was measured inside it. No tensors.

Thresholds are rules of thumb. That gradients shrink or grow geometrically with depth: Glorot and Bengio, "Understanding
the difficulty of training deep feedforward neural networks", AISTATS 2010. That a step of Adam or of gradient descent
changes weights by about a thousandth of their size where training goes well: Bengio, 2012, arXiv:1206.5533.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from podium.spec.components import Components
from podium.spec.networks import NetworkSettings

VANISHED = 1e-3
"""A layer's gradient has vanished, or its outputs have, below this share of the largest one among the layers."""

DEAD, SATURATED = 0.8, 0.8
"""Shares of a layer's units that are dead, and of its outputs that are saturated, above which that is told."""

TOO_LARGE = 0.3
"""An update that is larger than this share of the weights, where the trial diverged or learned nothing."""

LEARNED = 0.98
"""A loss above this share of what is expected without learning is no better."""

HOPELESS = 1e-12
"""Where the first layer's gradient is a smaller share of the largest one, float32 cannot add up what it would learn."""

SQUASHING = ("sigmoid", "tanh")
"""Activations that saturate."""


@dataclass(frozen=True)
class Layer:
    """What was measured of one layer. None stands for a number that is not finite, or was not measured.

    Attributes:
        name: The path of its module in the network; empty if it is all of the network.
        gradient: Euclidean norm of the gradient of its weights; biases are left out throughout.
        weight: Euclidean norm of its weights.
        update: Euclidean norm of what the next step changed them by.
        activation: Root mean square of its outputs, after the activation if one follows.
        dead: Share of its units (channels of images) that are zero for all samples; only of relu.
        saturated: Share of its outputs within a hundredth of a limit of sigmoid or tanh; only of these.
    """

    name: str
    gradient: float | None
    weight: float | None
    update: float | None = None
    activation: float | None = None
    dead: float | None = None
    saturated: float | None = None


@dataclass(frozen=True)
class Moment:
    """What was measured at one moment of a trial's training, on the same few samples every time.

    Attributes:
        epoch: The epoch whose last step follows; 0 before the very first step.
        loss: The mean loss over these samples; None if it is not finite.
        layers: In the order in which samples go through them.
        chance: The mean loss over these samples of whoever knows how frequent the classes are, and no more; None where
            there are none, and after the first moment.
    """

    epoch: int
    loss: float | None
    layers: tuple[Layer, ...]
    chance: float | None = None

    def summary(self) -> dict[str, float]:
        """The extremes over the layers, as metrics.

        `gradient_ratio`: the smallest gradient norm by the largest; `update_ratio`: the largest share that the step
        changed a layer's weights by; `dead` and `saturated`: the largest shares. What is not known is left out.
        """
        gradients = [layer.gradient for layer in self.layers if layer.gradient is not None]
        found = {
            "gradient_ratio": [min(gradients) / max(gradients)] if gradients and max(gradients) > 0 else [],
            "update_ratio": [ratio for layer in self.layers if (ratio := _update_ratio(layer)) is not None],
            "dead": [layer.dead for layer in self.layers if layer.dead is not None],
            "saturated": [layer.saturated for layer in self.layers if layer.saturated is not None],
        }
        return {f"diagnosis/{name}": max(values) for name, values in found.items() if values}


def to_plain(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    """Moments as JSON takes them."""
    return [asdict(moment) for moment in moments]


def from_plain(given: Sequence[Mapping[str, Any]]) -> list[Moment]:
    """What `to_plain` was given."""
    return [Moment(**{**each, "layers": tuple(Layer(**layer) for layer in each["layers"])}) for each in given]


def verdict(moments: Sequence[Moment], settings: Components, *, is_built_in: bool, has_diverged: bool) -> str:
    """What ails a network, and what to try; empty if nothing does, as far as is known.

    That nothing was learned is judged by the loss of whoever knows the classes' shares, or by the very first loss; by
    neither where inputs get noise that what is measured has not.

    Args:
        moments: What was measured so far, in order.
        settings: The trial's.
        is_built_in: Whether these describe its network.
        has_diverged: Whether its training did.
    """
    if not moments:
        return ""
    described = settings if is_built_in else None
    last = next((moment for moment in reversed(moments) if moment.loss is not None), moments[0])
    # without its noise, an input may be all that a network has to give: the first loss says nothing then
    is_judged = moments[0].chance is not None or settings.augmentation.noise == 0
    stuck = "" if has_diverged or last is moments[0] or not is_judged else _stuck(moments[0], last)
    findings = [stuck] if stuck else []
    findings += [*_not_finite(moments), *_signals(last, described), *_units(last, described)]
    if has_diverged or stuck:
        findings += _steps(moments, settings)
    return "; ".join(findings)


def hopeless(moment: Moment) -> str:
    """Why a network cannot learn, by one batch before its first step; empty if it may."""
    gradients = [layer.gradient for layer in moment.layers]
    numbers = [gradient for gradient in gradients if gradient is not None]
    dead = [number for number, layer in enumerate(moment.layers, 1) if layer.dead == 1]
    if moment.loss is None:
        return "the loss of the first batch is not finite"
    if len(numbers) < len(gradients):
        return "gradients of the first batch are not finite"
    if dead:
        return f"all units of layer {dead[0]} are zero for the whole first batch"
    if numbers and max(numbers) == 0:
        return "all gradients of the first batch are zero"
    if numbers and numbers[0] < HOPELESS * max(numbers):
        share = numbers[0] / max(numbers)
        return f"gradients of the first batch vanish: layer 1 has {share:.1g} of the largest layer's"
    return ""


def _stuck(first: Moment, last: Moment) -> str:
    """That nothing was learned, or not enough; empty if something was."""
    expected = first.loss if first.chance is None else first.chance
    if expected is None or last.loss is None or last.loss <= LEARNED * expected:
        return ""
    if first.chance is None:
        return f"the loss has hardly fallen by epoch {last.epoch}: {last.loss:.3g}, and {expected:.3g} at the beginning"
    losses = f"a loss of {last.loss:.3g}, and {expected:.3g} at chance"
    if first.loss is not None and expected < LEARNED * last.loss < LEARNED**2 * first.loss:
        return (
            f"not better than chance by epoch {last.epoch}, though the loss falls: {losses}; try a larger learning rate"
        )
    return f"nothing learned by epoch {last.epoch}: {losses}"


def _not_finite(moments: Sequence[Moment]) -> Iterator[str]:
    for moment in moments:
        if moment.loss is None or any(layer.gradient is None for layer in moment.layers):
            what = "the loss is" if moment.loss is None else "gradients are"
            yield f"{what} not finite from epoch {moment.epoch} on"
            return


def _signals(moment: Moment, settings: Components | None) -> Iterator[str]:
    """Gradients, or else outputs, that vanish or explode from layer to layer."""
    gradients = [layer.gradient or 0.0 for layer in moment.layers]
    largest = gradients.index(max(gradients)) + 1 if gradients else 0
    small = [number for number, each in enumerate(gradients, 1) if each < VANISHED * gradients[largest - 1]]
    outputs = [layer.activation or 0.0 for layer in moment.layers]
    faded = [number for number, each in enumerate(outputs, 1) if each < VANISHED * outputs[0]]
    if small and largest < small[0]:
        times = f"{1 / VANISHED:,.0f} times those of {_listed(small)}"
        yield f"exploding gradients: those of layer {largest} are over {times}{_why(settings, grows=True)}"
    elif small:
        yield f"vanishing gradients in {_listed(small)}{_why(settings)}"
    elif faded:
        yield f"a vanishing signal: {_listed(faded)} give less than a thousandth of the first one's{_why(settings)}"


def _units(moment: Moment, settings: Components | None) -> Iterator[str]:
    dead = [number for number, layer in enumerate(moment.layers, 1) if (layer.dead or 0) > DEAD]
    if dead:
        most = max(layer.dead or 0 for layer in moment.layers)
        network = None if settings is None else settings.network
        advice = " or leaky_relu" if isinstance(network, NetworkSettings) and network.activation == "relu" else ""
        yield f"up to {most:.0%} dead units in {_listed(dead)}; try a smaller learning rate{advice}"
    saturated = [number for number, layer in enumerate(moment.layers, 1) if (layer.saturated or 0) > SATURATED]
    if saturated:
        most = max(layer.saturated or 0 for layer in moment.layers)
        yield f"up to {most:.0%} saturated outputs in {_listed(saturated)}; try a smaller learning rate, relu or a norm"


def _steps(moments: Sequence[Moment], settings: Components) -> Iterator[str]:
    found = [
        (ratio, number)
        for moment in moments
        for number, layer in enumerate(moment.layers, 1)
        if (ratio := _update_ratio(layer)) is not None
    ]
    largest, number = max(found, default=(0.0, 0))
    if largest > TOO_LARGE:
        rate = settings.optimizer.learning_rate
        yield (
            f"too large steps: one changed the weights of layer {number} by {largest:.0%} of their size; "
            f"try a tenth of the learning rate, {rate / 10:.2g}"
        )


def _why(settings: Components | None, *, grows: bool = False) -> str:
    """The settings that explain it, and others to try."""
    if settings is None or not isinstance(settings.network, NetworkSettings):
        return ""
    network, scheme = settings.network, settings.initializer.scheme
    because = f": {network.activation} at depth {network.depth}, {scheme}"
    advice = [] if grows or network.activation not in SQUASHING else ["relu"]
    wanted = "xavier_normal" if network.activation in SQUASHING and grows else "he_normal"
    advice += [] if scheme.startswith(wanted.partition("_")[0]) else [wanted]
    advice += ["network.norm: batch"] if network.norm == "none" else []
    advice += ["a clip"] if grows and settings.optimizer.clip is None else []
    advice += ["a residual network"] if network.kind != "resnet" and not grows else []
    return f"{because}; try {_either(advice)}" if advice else because


def _update_ratio(layer: Layer) -> float | None:
    return layer.update / layer.weight if layer.update is not None and layer.weight else None


def _either(options: Sequence[str]) -> str:
    *others, last = options
    return f"{', '.join(others)} or {last}" if others else last


def _listed(numbers: Sequence[int]) -> str:
    """Numbers of layers in words; the first and the last where they follow one another."""
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"layers {numbers[0]} to {numbers[-1]}"
    return f"layers {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
