"""Settings of the parts a network is trained from; a trial may override each by a searched key. Pure."""

from typing import Literal

from pydantic import Field, model_validator

from podium.spec.settings import Settings

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "elu", "selu", "leaky_relu", "swish"]


class NetworkSettings(Settings):
    """A built-in network.

    Attributes:
        kind: `mlp` (fully connected) or `convnet` (LeNet's family: convolution, pooling, fully connected).
        depth: Hidden layers of an mlp; convolution and pooling blocks of a convnet.
        width: Units of each fully connected hidden layer; a convnet has one.
        channels: Channels of a convnet's first block, doubled in each further one.
        kernel: Side of a convnet's kernels, odd.
        activation: Nonlinearity after each hidden layer.
        dropout: Rate at which hidden units are dropped in training.
        norm: Normalization after each hidden layer.
    """

    kind: Literal["mlp", "convnet"] = "mlp"
    depth: int = Field(default=2, ge=1, le=64)
    width: int = Field(default=64, ge=1)
    channels: int = Field(default=8, ge=1)
    kernel: int = Field(default=5, ge=1)
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: Literal["none", "batch", "layer"] = "none"

    @model_validator(mode="after")
    def _odd(self) -> "NetworkSettings":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd, so that borders are padded evenly")
        return self


class InitializerSettings(Settings):
    """How weights are drawn; biases start at zero.

    Attributes:
        scheme: The name of the distribution.
        scale: Standard deviation of `small_normal`; factor of the variance in `variance_scaling`.
        fan: What `variance_scaling` divides by.
    """

    scheme: Literal[
        "small_normal",
        "xavier_uniform",
        "xavier_normal",
        "variance_scaling",
        "he_uniform",
        "he_normal",
        "orthogonal",
    ] = "he_normal"
    scale: float | None = Field(default=None, gt=0)
    fan: Literal["in", "out", "average"] = "in"


class OptimizerSettings(Settings):
    """The rule that turns gradients into steps; settings an optimizer does not use are ignored by it.

    Attributes:
        kind: The rule: `sgd`, `adam`, `adamw` or `adadelta`.
        learning_rate: Factor of a step.
        momentum: Share of the last step that SGD repeats.
        nesterov: Whether SGD looks ahead along its momentum.
        beta1: Decay of Adam's mean of gradients.
        beta2: Decay of Adam's mean of squared gradients.
        epsilon: What Adam and AdaDelta add to a denominator.
        clip: Largest global norm of the gradients; none if absent.
        rho: AdaDelta's decay.
        weight_decay: AdamW's decoupled decay.
    """

    kind: Literal["sgd", "adam", "adamw", "adadelta"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    rho: float = Field(default=0.9, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float | None = Field(default=None, gt=0)


class PenaltySettings(Settings):
    """Penalties on weights (not biases or norms): l1 * sum|w| + l2 * sum w^2.

    Attributes:
        l1: Factor of the sum of absolute weights.
        l2: Factor of the sum of squared weights.
    """

    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.0, ge=0)


class LossSettings(Settings):
    """Settings of the task's loss.

    Attributes:
        label_smoothing: Share of a target that is spread evenly over all classes.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class ScheduleSettings(Settings):
    """The learning rate over the steps of `epochs.max`.

    Attributes:
        kind: Shape after the warm-up.
        warmup: Share of all steps over which the rate rises linearly from zero.
        step_every: Share of all steps after which `step` multiplies the rate by `factor`.
        factor: What `step` multiplies by.
        floor: Share of the learning rate at which `cosine` ends.
    """

    kind: Literal["constant", "cosine", "step"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    step_every: float = Field(default=0.3, gt=0, le=1)
    factor: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class StoppingSettings(Settings):
    """A trial's own early stopping on the objective's metric.

    Attributes:
        patience: Epochs without improvement after which the trial is complete; none if absent.
        min_delta: What counts as an improvement, in units of the metric.
    """

    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=0.0, ge=0)


class AugmentationSettings(Settings):
    """What is done to train batches, to each sample anew in each epoch; what is not `noise` needs images.

    What an image leaves empty is zero: the mean, where inputs are normalized. Targets that are as high and wide as the
    image, such as masks, move with it.

    Attributes:
        flip: Whether half of the images are mirrored left to right (`horizontal`), and half of all top to bottom too
            (`both`).
        rotation: Degrees by which an image is turned at most, either way, around its centre.
        shift: Pixels by which an image is moved at most, up or down and left or right; as if it were padded by as many
            and cropped.
        erasing: Share of an image's area that is emptied, a rectangle with the image's proportions. Source: DeVries and
            Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
        noise: Standard deviation of the normal noise that is added to each number of an input, after normalization.
        mixup: How evenly each sample is mixed with another one of its batch: both parameters of the Beta distribution
            that its share is drawn from; 0 for not at all. Losses are mixed alike; metrics take the own target. Source:
            Zhang et al., 2018, arXiv:1710.09412.
    """

    flip: Literal["none", "horizontal", "both"] = "none"
    rotation: float = Field(default=0.0, ge=0, le=180)
    shift: int = Field(default=0, ge=0)
    erasing: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0)
    mixup: float = Field(default=0.0, ge=0)


class Components(Settings):
    """The settings that a trial may override by a searched parameter of the same dotted key.

    Attributes:
        network: A built-in network.
        initializer: How weights are drawn.
        optimizer: The rule that turns gradients into steps.
        penalty: Penalties on weights.
        loss: Settings of the task's loss.
        schedule: The learning rate over the steps.
        stopping: A trial's own early stopping.
        augmentation: What is done to train batches.
    """

    network: NetworkSettings = NetworkSettings()
    initializer: InitializerSettings = InitializerSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    penalty: PenaltySettings = PenaltySettings()
    loss: LossSettings = LossSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    stopping: StoppingSettings = StoppingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
