"""Training, the toolbox: activations by name, each of a number x.

| name | formula | source |
| --- | --- | --- |
| relu | max(0, x) | Nair and Hinton, "Rectified linear units", ICML 2010 |
| sigmoid | 1 / (1 + exp(-x)) | Rumelhart et al., "Learning representations", Nature 323, 1986 |
| tanh | (exp(x) - exp(-x)) / (exp(x) + exp(-x)) | LeCun et al., "Efficient BackProp", 1998 |
| leaky_relu | x where x > 0, else 0.01 x | Maas et al., "Rectifier nonlinearities", ICML 2013 |
| elu | x where x > 0, else exp(x) - 1 | Clevert et al., 2015, arXiv:1511.07289 |
| selu | 1.0507 x where x > 0, else 1.7581 (exp(x) - 1) | Klambauer et al., 2017, arXiv:1706.02515 |
| gelu | x P(X <= x), X standard normal | Hendrycks and Gimpel, 2016, arXiv:1606.08415 |
| swish | x / (1 + exp(-x)) | Ramachandran et al., 2017, arXiv:1710.05941 |
"""

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
"""Modules without parameters."""

MONOTONE = frozenset({"relu", "sigmoid", "tanh", "elu", "selu", "leaky_relu"})
"""Those that keep the order of their inputs."""
