"""Settings of the built-in networks. Pure."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from podium.spec.data import FUNCTION
from podium.spec.settings import Settings

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "elu", "selu", "leaky_relu", "swish"]


VECTORS = ("mlp", "convnet", "lenet", "alexnet", "resnet")
"""Networks that give some numbers for each sample."""

DENSE = ("fcn", "unet", "frrn", "srcnn", "rednet")
"""Networks that give some numbers for each pixel of a sample."""

SERIES = ("rnn", "lstm", "gru", "seq2seq")
"""Networks that take series."""

CODERS = ("sketch_rnn", "sparse_autoencoder")
"""Networks that give their inputs again, each with a task of its own."""


def _in_a_file(name: str) -> str:
    if not re.fullmatch(FUNCTION, name):
        raise ValueError(f"is {name!r}; write the settings of a built-in network, such as kind, or file.py:function")
    return name


OwnNetwork = Annotated[str, AfterValidator(_in_a_file), WithJsonSchema({"type": "string", "pattern": FUNCTION})]
"""A function of the user's that makes networks."""


class NetworkSettings(Settings):
    """A built-in network.

    Attributes:
        kind: For numbers or classes of a sample: `mlp` (fully connected), `convnet` (LeNet's family: convolution,
            pooling, fully connected), its presets `lenet` (LeNet-5) and `alexnet` (scaled to the input), `resnet`
            (residual units). For maps of a sample's height and width: `fcn` (fully convolutional), `unet`, `frrn`
            (full-resolution residual), `srcnn` (super-resolution), `rednet` (a convolutional auto-encoder with
            symmetric skips). For series: `rnn`, `lstm` and `gru` (recurrent, read to the last step), and `seq2seq`
            (an encoder reads, a decoder writes). `sketch_rnn` learns to draw, `sparse_autoencoder` to give its inputs
            back.
        depth: Hidden layers of an mlp; convolution and pooling blocks of a convnet; residual units of each stage of a
            resnet; how often an fcn, unet or frrn halves its images; convolutions of a rednet, which has as many
            transposed ones; recurrent layers.
        width: Units of each fully connected hidden layer; a convnet has one, an alexnet two. Units of each
            recurrent layer in each direction, and of a sketch_rnn's decoder; features of a sparse_autoencoder.
        channels: Channels of the first convolution. A convnet, fcn and unet double them in each block, a resnet in each
            stage, an frrn three times at most; an srcnn halves them; an alexnet has its own proportions.
        kernel: Side of kernels, odd: a convnet's, resnet's, fcn's, unet's, frrn's and rednet's; the second one's of an
            srcnn, the first one's of an alexnet on images below 128 pixels.
        activation: Nonlinearity after each hidden layer.
        dropout: Rate at which hidden units of fully connected layers are dropped in training.
        spatial_dropout: Rate at which whole channels are dropped in training, after each convolution block or within
            each residual unit. Source: Tompson et al., 2015, arXiv:1411.4280.
        norm: Normalization after each hidden layer.
        stages: Stages of a resnet, each of half the size of the one before.
        shortcuts: Whether a resnet's units have shortcuts; the plain network with the same weights has none.
        stochastic_depth: Rate at which a resnet's last unit is dropped in training; it rises evenly from the first one.
            Source: Huang et al., 2016, arXiv:1603.09382.
        residual: Whether a network for maps learns what is to be added to its input as it is stored, which then has to
            be in the targets' unit.
        patch: Side of the patches, in pixels, of which a network that gives no maps classifies one after the other to
            make a map.
        stride: Pixels from one such patch to the next; between them, scores are interpolated.
        bidirectional: Whether recurrent layers read a series from its end, too.
        cell: What a seq2seq's layers are made of.
        horizon: Steps that a seq2seq writes; the task `forecasting` knows them from its targets, elsewhere each number
            of a target is a step if absent.
        latent: Numbers of a sketch_rnn's code.
        mixtures: Normal distributions that a sketch_rnn mixes for each offset.
        pool: Features of a sparse_autoencoder that are pooled in one group.
    """

    kind: Literal[
        "mlp",
        "convnet",
        "lenet",
        "alexnet",
        "resnet",
        "fcn",
        "unet",
        "frrn",
        "srcnn",
        "rednet",
        "rnn",
        "lstm",
        "gru",
        "seq2seq",
        "sketch_rnn",
        "sparse_autoencoder",
    ] = "mlp"
    depth: int = Field(default=2, ge=1, le=64)
    width: int = Field(default=64, ge=1)
    channels: int = Field(default=8, ge=1)
    kernel: int = Field(default=5, ge=1)
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    spatial_dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: Literal["none", "batch", "layer"] = "none"
    stages: int = Field(default=3, ge=1, le=6)
    shortcuts: bool = True
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    residual: bool = False
    patch: int = Field(default=32, ge=2)
    stride: int = Field(default=8, ge=1)
    bidirectional: bool = False
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    horizon: int | None = Field(default=None, ge=1)
    latent: int = Field(default=32, ge=1)
    mixtures: int = Field(default=10, ge=1)
    pool: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _odd(self) -> "NetworkSettings":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd, so that borders are padded evenly")
        return self
