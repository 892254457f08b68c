"""Training, the toolbox: the built-in networks, from flat parameters and the shapes of a sample."""

from collections.abc import Callable, Mapping

from torch import nn

from podium.spec.networks import NetworkSettings
from podium.spec.space import Value
from podium.training.toolbox.networks.convnet import alexnet, convnet, lenet
from podium.training.toolbox.networks.mlp import mlp
from podium.training.toolbox.networks.pyramids import fcn, frrn, unet
from podium.training.toolbox.networks.recurrent import reading, seq2seq
from podium.training.toolbox.networks.resnet import resnet
from podium.training.toolbox.networks.restoration import rednet, srcnn
from podium.training.toolbox.networks.sketch_rnn import sketch_rnn
from podium.training.toolbox.networks.sparse_autoencoder import sparse_autoencoder

__all__ = ["NETWORKS", "make_network", "network_settings"]

Make = Callable[[NetworkSettings, tuple[int, ...], int], nn.Module]

NETWORKS: Mapping[str, Make] = {
    "mlp": mlp,
    "convnet": convnet,
    "lenet": lenet,
    "alexnet": alexnet,
    "resnet": resnet,
    "fcn": fcn,
    "unet": unet,
    "frrn": frrn,
    "srcnn": srcnn,
    "rednet": rednet,
    "rnn": reading,
    "lstm": reading,
    "gru": reading,
    "seq2seq": seq2seq,
    "sketch_rnn": sketch_rnn,
    "sparse_autoencoder": sparse_autoencoder,
}
"""The built-in networks by their `network.kind`."""


def network_settings(parameters: Mapping[str, Value]) -> NetworkSettings:
    """What `network.*` among a trial's parameters says.

    Args:
        parameters: Fixed and searched parameters by dotted key; absent ones have their defaults.
    """
    section = "network."
    return NetworkSettings.model_validate(
        {key.removeprefix(section): value for key, value in parameters.items() if key.startswith(section)}
    )


def make_network(parameters: Mapping[str, Value], inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The network that `network.*` among a trial's parameters describes.

    Args:
        parameters: Fixed and searched parameters by dotted key; absent ones have their defaults.
        inputs: Shape of a sample.
        outputs: Numbers that come out for each sample, or for each of its pixels.

    Returns:
        A module from `[B, *inputs]` to `[B, outputs]`, or to `[B, outputs, H, W]` if its kind is among `DENSE`.

    Raises:
        SpecError: if this network cannot take such inputs.
    """
    settings = network_settings(parameters)
    return NETWORKS[settings.kind](settings, inputs, outputs)
