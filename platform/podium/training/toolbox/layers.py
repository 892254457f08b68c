"""Training, the toolbox: torch's layers in the form that a stack of lanes computes fastest.

A linear layer is one batched product. Convolutions and pooling have the lanes folded into the channels: one grouped
convolution does what K convolutions do, one large one where all lanes see the same input, and between layers nothing
is copied. On the CPU channels come last in memory, where convolution and pooling are measured to be faster.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Dims = tuple[int | None, ...]


class _Multiply(torch.autograd.Function):
    """`linear` of logical `[..., I]`; only its rule for `vmap` is ever differentiated."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: Dims, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, int]:
        """Physical `[K, ..., O]`, the lanes at 0."""
        lanes: int = info.batch_size
        weights = _lanes_first(weight, in_dims[1], lanes)
        if in_dims[0] is None:
            shape, columns = inputs.shape[:-1], inputs.reshape(-1, inputs.shape[-1]).T.expand(lanes, -1, -1)
        else:
            moved = inputs.movedim(in_dims[0], 0)
            shape, columns = moved.shape[1:-1], moved.reshape(lanes, -1, moved.shape[-1]).transpose(1, 2)
        # weights times columns, so that the gradient of the weights comes in their own order in memory
        if bias is None:
            outputs = torch.bmm(weights, columns)
        else:
            outputs = torch.baddbmm(_lanes_first(bias, in_dims[2], lanes).unsqueeze(2), weights, columns)
        rows = outputs.transpose(1, 2)
        return rows if len(shape) == 1 else rows.reshape(lanes, *shape, -1), 0


class _Convolve(torch.autograd.Function):
    """`conv2d` of logical `[B, C, H, W]`; only its rule for `vmap` is ever differentiated."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Any:
        return functional.conv2d(inputs, weight, bias, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Dims, inputs: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any
    ) -> tuple[Tensor, int]:
        """Physical `[B, K, C, H, W]`, the lanes at 1."""
        lanes: int = info.batch_size
        stride, padding, dilation, groups = settings
        if in_dims[0] is None and groups == 1:
            folded = inputs
        else:
            folded, groups = _folded(inputs, in_dims[0], lanes), groups * lanes
        weights = _lanes_first(weight, in_dims[1], lanes).flatten(0, 1)
        biases = None if bias is None else _lanes_first(bias, in_dims[2], lanes).flatten()
        if len(inputs) == 1:  # whatever its strides are, it counts as channels last, and torch's gradient may be wrong
            folded = folded.clone(memory_format=torch.contiguous_format)
        elif inputs.device.type == "cpu":
            folded, weights = (each.contiguous(memory_format=torch.channels_last) for each in (folded, weights))
        return _unfolded(functional.conv2d(folded, weights, biases, stride, padding, dilation, groups), lanes), 1


class _Pool(torch.autograd.Function):
    """`max_pool2d` of logical `[B, C, H, W]`; only its rule for `vmap` is ever differentiated."""

    @staticmethod
    def forward(inputs: Tensor, *settings: Any) -> Any:
        return functional.max_pool2d(inputs, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: Dims, inputs: Tensor, *settings: Any) -> tuple[Tensor, int]:
        """Physical `[B, K, C, H, W]`, the lanes at 1."""
        lanes: int = info.batch_size
        return _unfolded(functional.max_pool2d(_folded(inputs, in_dims[0], lanes), *settings), lanes), 1


class Linear(nn.Module):
    """What an `nn.Linear` does, with its parameters, inside a stack."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., I]`."""
        outputs: Tensor = _Multiply.apply(inputs, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return outputs


class Convolution(nn.Module):
    """What an `nn.Conv2d` does, with its parameters, inside a stack."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self._settings = layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]`."""
        outputs: Tensor = _Convolve.apply(inputs, self.weight, self.bias, *self._settings)  # type: ignore[no-untyped-call]
        return outputs


class Pooling(nn.Module):
    """What an `nn.MaxPool2d` does, inside a stack."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self._settings = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]`."""
        outputs: Tensor = _Pool.apply(inputs, *self._settings)  # type: ignore[no-untyped-call]
        return outputs


def replace_layers(network: nn.Module) -> None:
    """Puts `Linear`, `Convolution` and `Pooling` in the place of torch's layers inside a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, Linear(child))
            elif type(child) is nn.Conv2d and child.padding_mode == "zeros":
                setattr(module, name, Convolution(child))
            elif type(child) is nn.MaxPool2d and not child.return_indices:
                setattr(module, name, Pooling(child))


def _folded(inputs: Tensor, lane_axis: int | None, lanes: int) -> Tensor:
    """`[B, K * C, H, W]`, a view if the layer before was one of these."""
    if lane_axis is None:
        return inputs.unsqueeze(1).expand(-1, lanes, *inputs.shape[1:]).flatten(1, 2)
    return inputs.movedim(lane_axis, 1).flatten(1, 2)


def _unfolded(outputs: Tensor, lanes: int) -> Tensor:
    return outputs.view(len(outputs), lanes, -1, *outputs.shape[2:])


def _lanes_first(tensor: Tensor, lane_axis: int | None, lanes: int) -> Tensor:
    return tensor.expand(lanes, *tensor.shape) if lane_axis is None else tensor.movedim(lane_axis, 0)
