"""Training, the toolbox: activations by name."""

from collections.abc import Callable, Mapping

from torch import nn

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky_relu": nn.LeakyReLU,
    "swish": nn.SiLU,
}
"""Modules without parameters. Sources: gelu Hendrycks and Gimpel 2016 (arXiv:1606.08415), elu Clevert et al. 2015
(arXiv:1511.07289), selu Klambauer et al. 2017 (arXiv:1706.02515), leaky_relu (slope 0.01) Maas et al. 2013, swish
Ramachandran et al. 2017 (arXiv:1710.05941)."""

MONOTONE = frozenset({"relu", "sigmoid", "tanh", "elu", "selu", "leaky_relu"})
"""Those that keep the order of their inputs."""
