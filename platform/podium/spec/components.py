"""Settings of the parts a network is trained from; a trial may override each by a searched key. Pure."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Strict, Tag

from podium.spec.networks import NetworkSettings, OwnNetwork
from podium.spec.settings import Settings, is_name


class InitializerSettings(Settings):
    """How weights are drawn.

    Attributes:
        scheme: The name of the distribution; `lsuv` draws orthogonal weights and then scales those of each layer until
            its outputs have variance 1 on the first train batch.
        scale: Standard deviation of `small_normal`; factor of the variance in `variance_scaling`.
        fan: What `variance_scaling` divides by: the connections that lead into a unit, out of it, or their average.
        distribution: What `variance_scaling` draws from.
        recurrent: How the weights from a recurrent layer's state to itself are drawn: the same way as all others, as an
            identity (of each gate; Le, Jaitly and Hinton, 2015, arXiv:1504.00941), or orthogonal (each gate's).
        bias: What biases start at.
    """

    scheme: Literal[
        "small_normal",
        "xavier_uniform",
        "xavier_normal",
        "variance_scaling",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "orthogonal",
        "lsuv",
    ] = "he_normal"
    scale: float | None = Field(default=None, gt=0)
    fan: Literal["in", "out", "average"] = "in"
    distribution: Literal["normal", "uniform"] = "normal"
    recurrent: Literal["same", "identity", "orthogonal"] = "same"
    bias: float = 0.0


class OptimizerSettings(Settings):
    """The rule that turns gradients into steps; settings an optimizer does not use are ignored by it.

    Attributes:
        kind: The rule: gradient descent (`sgd`), by running means of gradients and of their squares (`adam`, `adamw`
            with decoupled decay, `nadam` with Nesterov's momentum, `lamb` with steps in proportion to each parameter's
            norm), by squares alone (`adadelta`, `adagrad`, `rmsprop`), or by the sign of the mean (`lion`).
        learning_rate: Factor of a step.
        momentum: Share of the last step that SGD and RMSprop repeat.
        nesterov: Whether SGD looks ahead along its momentum.
        beta1: Decay of the mean of gradients in Adam, its variants and Lion.
        beta2: Decay of the mean of squared gradients in Adam and its variants; of that of gradients in Lion, whose
            paper takes 0.99.
        epsilon: What is added to a denominator.
        clip: Largest global norm of the gradients; none if absent.
        rho: AdaDelta's and RMSprop's decay.
        weight_decay: Decoupled decay: AdamW, LAMB and Lion take learning rate x weight_decay x w off each parameter w
            at each step (LAMB scales that as the rest of its step).
    """

    kind: Literal["sgd", "adam", "adamw", "adadelta", "adagrad", "rmsprop", "nadam", "lamb", "lion"] = "adam"
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
    """Penalties on weights (not biases or norms): l1 * sum|w| + l2 * sum w^2, added to a batch's mean loss.

    Nothing is divided by the number of weights, N, and l2 has no factor 1/2. Where l1 stands before the mean of |w|,
    as in some textbooks, divide it by N; where l2 / 2 stands before sum w^2, halve it. The gradient is
    l1 * sign(w) + 2 * l2 * w: under plain gradient descent l2 is the same as a decoupled decay
    (`optimizer.weight_decay`) of 2 * l2; under rules that rescale gradients it is not, and adamw, lamb and lion decay.

    Attributes:
        l1: Factor of the sum of absolute weights.
        l2: Factor of the sum of squared weights.
    """

    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.0, ge=0)


class LossSettings(Settings):
    """The task's loss; `podium.training.toolbox.losses` has the formulas and their sources.

    Attributes:
        kind: `auto` is the task's own, `cross_entropy` for classes and masks, `mse` for numbers. Classes take `focal`
            too, masks `dice` and `dice_cross_entropy` (their sum) beside, numbers `l1` and `huber`, and several labels
            `binary`, which is their own, and `focal`.
        class_weights: What a sample (a pixel of a mask) counts, by its class: `none` for all alike, `balanced` for
            classes that count alike whatever their number in the train split, or a weight for each class. What weighs
            0 counts in no metric of classes either.
        ignore: A class whose samples or pixels do not count; none if absent.
        label_smoothing: Share of a target that is spread evenly over all classes; cross-entropy reads it.
        delta: Error at which `huber` goes over from squares to absolute values.
        gamma: How little samples count for `focal` that are right already; 0 makes cross-entropy of it.
        kl_weight: Factor of how far a drawing's code is from the standard normal distribution.
        kl_floor: What of that, in nats a number of the code, is left alone.
        sparsity: Factor of the mean response of a sparse_autoencoder's pooled features.
    """

    kind: Literal["auto", "mse", "l1", "huber", "cross_entropy", "focal", "binary", "dice", "dice_cross_entropy"] = (
        "auto"
    )
    class_weights: Annotated[
        Annotated[Literal["none", "balanced"], Tag("<name>")]
        | Annotated[tuple[Annotated[float, Field(ge=0)], ...], Strict(False), Tag("<other>")],
        Discriminator(is_name),
    ] = "none"
    ignore: int | None = Field(default=None, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    kl_weight: float = Field(default=0.5, ge=0)
    kl_floor: float = Field(default=0.2, ge=0)
    sparsity: float = Field(default=0.0, ge=0)
    delta: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=2.0, ge=0)


class ScheduleSettings(Settings):
    """The learning rate over the steps of `epochs.max`.

    Attributes:
        kind: Shape after the warm-up; `one_cycle` has a rise of its own, and `plateau` follows the objective.
        warmup: Share of all steps over which the rate rises linearly from zero.
        step_every: Share of all steps after which `step` multiplies the rate by `factor`.
        factor: What `step` and `plateau` multiply by.
        floor: Share of the learning rate at which `cosine` and `one_cycle` end, and below which `plateau` does not go.
        start: Share of the learning rate at which `one_cycle` begins.
        rise: Share of all steps after which `one_cycle` has reached the learning rate.
        patience: Epochs without improvement of the (first) objective by more than `stopping.min_delta` after which
            `plateau` multiplies the rate; then it waits anew.
    """

    kind: Literal["constant", "cosine", "step", "one_cycle", "plateau"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    step_every: float = Field(default=0.3, gt=0, le=1)
    factor: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)
    start: float = Field(default=0.04, gt=0, le=1)
    rise: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=3, ge=1)


class StoppingSettings(Settings):
    """A trial's own early stopping on the objective's metric.

    Attributes:
        patience: Epochs without improvement after which the trial is complete; none if absent.
        min_delta: What counts as an improvement, in units of the metric.
        wall_time: Seconds of training steps after which the trial is complete, at the end of its epoch; of those of a
            stack each trial has an equal part, and each fold's network has its own; none if absent. How far a trial
            comes then depends on the machine and on what else runs there, unlike anything else.
    """

    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=0.0, ge=0)
    wall_time: float | None = Field(default=None, gt=0)


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
        network: A built-in network; or `file.py:function`, a function of the user's beside the sweep file that is
            called `function(parameters, inputs, outputs)`: with the trial's parameters by dotted key, the shape of a
            sample, and how many numbers are to come out for each sample or pixel. It returns a torch module, and reads
            keys of its own, which stand under `parameters` or are searched.
        initializer: How weights are drawn.
        optimizer: The rule that turns gradients into steps.
        penalty: Penalties on weights.
        loss: Settings of the task's loss.
        schedule: The learning rate over the steps.
        stopping: A trial's own early stopping.
        augmentation: What is done to train batches.
    """

    network: Annotated[
        Annotated[OwnNetwork, Tag("<name>")] | Annotated[NetworkSettings, Tag("<other>")], Discriminator(is_name)
    ] = NetworkSettings()
    initializer: InitializerSettings = InitializerSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    penalty: PenaltySettings = PenaltySettings()
    loss: LossSettings = LossSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    stopping: StoppingSettings = StoppingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
