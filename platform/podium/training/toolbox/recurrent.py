"""Training, the toolbox: recurrent layers as a loop over cells, which stacks as their fused kernels do not."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Hidden = tuple[Tensor, ...]


class Unrolled(nn.Module):
    """Computes what an `nn.RNN`, `nn.LSTM` or `nn.GRU` does, step by step, with the same parameters by the same names.

    Sources: Elman, 1990; Hochreiter and Schmidhuber, "Long short-term memory", 1997; Cho et al., 2014,
    arXiv:1406.1078.

    Args:
        layer: The layer whose parameters are taken over. Dropout between its layers is not drawn by Podium, so it has
            to be 0, and an LSTM has no projections.

    Raises:
        NotImplementedError: for dropout between layers, or projections.
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        if layer.dropout or layer.proj_size:
            raise NotImplementedError(f"{layer} has dropout between its layers or projections")
        for name, parameter in layer.named_parameters():
            self.register_parameter(name, parameter)
        self._cell = {"RNN_TANH": _tanh, "RNN_RELU": _relu, "LSTM": _lstm, "GRU": _gru}[layer.mode]
        self._layers, self._bias, self._width = layer.num_layers, layer.bias, layer.hidden_size
        self._batch_first, self._directions = layer.batch_first, 2 if layer.bidirectional else 1
        self._states = 2 if layer.mode == "LSTM" else 1

    def forward(self, inputs: Tensor, hidden: Tensor | Hidden | None = None) -> tuple[Tensor, Tensor | Hidden]:
        """As the layer: `[T, B, in]`, or `[B, T, in]` if batch first, and hidden states `[layers, B, H]`."""
        steps = inputs.transpose(0, 1) if self._batch_first else inputs
        if hidden is None:
            size = self._layers * self._directions, steps.shape[1], self._width
            hidden = tuple(steps.new_zeros(size) for _ in range(self._states))
        starts = hidden if isinstance(hidden, tuple) else (hidden,)
        ends: list[Hidden] = []
        for layer in range(self._layers):
            outputs = []
            for direction in range(self._directions):
                state = tuple(start[len(ends)] for start in starts)
                output, state = self._run(steps, state, f"l{layer}{'_reverse' if direction else ''}", bool(direction))
                outputs.append(output)
                ends.append(state)
            steps = torch.cat(outputs, dim=2)
        last = tuple(torch.stack([end[index] for end in ends]) for index in range(self._states))
        return steps.transpose(0, 1) if self._batch_first else steps, last if self._states == 2 else last[0]

    def _run(self, steps: Tensor, state: Hidden, suffix: str, backwards: bool) -> tuple[Tensor, Hidden]:
        given = functional.linear(steps, self._own("weight_ih", suffix), self._own("bias_ih", suffix))
        weight, bias = self._own("weight_hh", suffix), self._own("bias_hh", suffix)
        outputs: list[Tensor] = []
        times = range(len(steps))
        for time in reversed(times) if backwards else times:
            state = self._cell(given[time], functional.linear(state[0], weight, bias), state)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs), state

    def _own(self, name: str, suffix: str) -> Any:
        return getattr(self, f"{name}_{suffix}") if self._bias or name.startswith("weight") else None


def unroll_recurrent(network: nn.Module) -> None:
    """Puts `Unrolled` in the place of every recurrent layer inside a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.RNNBase):
                setattr(module, name, Unrolled(child))


def _tanh(given: Tensor, recurrent: Tensor, state: Hidden) -> Hidden:
    return (torch.tanh(given + recurrent),)


def _relu(given: Tensor, recurrent: Tensor, state: Hidden) -> Hidden:
    return (torch.relu(given + recurrent),)


def _lstm(given: Tensor, recurrent: Tensor, state: Hidden) -> Hidden:
    enter, forget, update, leave = (given + recurrent).chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(update)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _gru(given: Tensor, recurrent: Tensor, state: Hidden) -> Hidden:
    (reset, update, new), (reset_too, update_too, new_too) = given.chunk(3, dim=-1), recurrent.chunk(3, dim=-1)
    update = torch.sigmoid(update + update_too)
    candidate = torch.tanh(new + torch.sigmoid(reset + reset_too) * new_too)
    return ((1 - update) * candidate + update * state[0],)
