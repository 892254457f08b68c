"""Training, the toolbox: recurrent networks that read a series, and those that write another one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training.toolbox.chance import Dropout

CELLS: Mapping[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
"""torch's recurrent layers; in stacks, loops over their cells take their places."""


class RecurrentLayers(nn.Module):
    """Recurrent layers, one on the other, with dropout between them; `[B, T, F]` to `[B, T, size]`.

    In two directions, a second layer reads each series from its own last step to its first, and both outputs are put
    side by side. Source: Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997.

    Args:
        cell: `rnn` (Elman, 1990, with tanh), `lstm` (Hochreiter and Schmidhuber, 1997) or `gru` (Cho et al., 2014,
            arXiv:1406.1078).
        features: Numbers of a step.
        settings: `depth` layers of `width` units in each direction, `bidirectional`, `dropout`.

    Attributes:
        size: Numbers that come out for each step.
    """

    def __init__(self, cell: str, features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.size = settings.width * (2 if settings.bidirectional else 1)
        sizes = [features, *(self.size for _ in range(settings.depth - 1))]
        make = CELLS[cell]
        self.forwards = nn.ModuleList(make(size, settings.width, batch_first=True) for size in sizes)
        backwards = sizes if settings.bidirectional else []
        self.backwards = nn.ModuleList(make(size, settings.width, batch_first=True) for size in backwards)
        self.between = nn.ModuleList(Dropout(settings.dropout) for _ in sizes[1:])

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the top layer gives at every step; `lengths` are `[B]` int64, without them all steps count."""
        steps = inputs
        for number, layer in enumerate(self.forwards):
            given = self.between[number - 1](steps) if number else steps
            steps = layer(given)[0]
            if self.backwards:
                back = self.backwards[number](turned(given, lengths))[0]
                steps = torch.cat([steps, turned(back, lengths)], dim=2)
        return steps

    def summary(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`[B, size]`: what each direction gives once it has read the whole series."""
        steps = self(inputs, lengths)
        if not self.backwards:
            return last(steps, lengths)
        there, back = steps.chunk(2, dim=2)
        return torch.cat([last(there, lengths), back[:, 0]], dim=1)


class Reading(nn.Module):
    """Recurrent layers that read a series, and a linear layer on what they end with: to `[B, outputs]`."""

    takes_lengths = True

    def __init__(self, layers: RecurrentLayers, outputs: int, dropout: float) -> None:
        super().__init__()
        self.layers, self.dropout, self.head = layers, Dropout(dropout), nn.Linear(layers.size, outputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`[B, T, F]`, or `[B, 1, T, F]`, and the steps of each, `[B]` int64."""
        return self.head(self.dropout(self.layers.summary(as_steps(inputs), lengths)))  # type: ignore[no-any-return]


class Start(nn.Module):
    """The hidden states that a decoder of `depth` layers starts with: tanh of a linear layer on a vector."""

    def __init__(self, size: int, cell: str, depth: int, width: int) -> None:
        super().__init__()
        self._shape, self._is_lstm = (2 if cell == "lstm" else 1, depth, width), cell == "lstm"
        self.linear = nn.Linear(size, self._shape[0] * depth * width)

    def forward(self, vector: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """`[B, size]` to `[depth, B, width]`, twice for an LSTM."""
        states = torch.tanh(self.linear(vector)).view(vector.shape[0], *self._shape).movedim(0, 2)
        return (states[0], states[1]) if self._is_lstm else states[0]


class Writing(nn.Module):
    """An encoder that reads a series, and a decoder that writes another one, step by step: to `[B, horizon * F']`."""

    takes_lengths = True

    def __init__(self, encoder: RecurrentLayers, settings: NetworkSettings, horizon: int, features: int) -> None:
        super().__init__()
        self._horizon, self._features = horizon, features
        self.encoder, self.dropout = encoder, Dropout(settings.dropout)
        self.start = Start(encoder.size, settings.cell, settings.depth, settings.width)
        self.decoder = CELLS[settings.cell](features, settings.width, settings.depth, batch_first=True)
        self.head = nn.Linear(settings.width, features)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`[B, T, F]`, or `[B, 1, T, F]`, and the steps of each, `[B]` int64."""
        read = self.encoder.summary(as_steps(inputs), lengths)
        state = self.start(self.dropout(read))
        step = read.new_zeros(inputs.shape[0], 1, self._features)
        written = []
        for _ in range(self._horizon):
            hidden, state = self.decoder(step, state)
            step = self.head(hidden)
            written.append(step)
        return torch.cat(written, dim=1).flatten(1)


def reading(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """`depth` recurrent layers of `width` units, and a linear layer on their states after the last step of a series.

    Their cells are those of `kind`: `rnn`, `lstm` or `gru`. Dropout acts between layers and before the linear layer.

    Raises:
        SpecError: unless `inputs` is (steps, features).
    """
    layers = RecurrentLayers(settings.kind, features_of(settings.kind, inputs), settings)
    return Reading(layers, outputs, settings.dropout)


def seq2seq(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """An encoder reads a series, and a decoder writes `horizon` steps, of which each is given the one before.

    Both have `depth` layers of `width` units of a `cell`; the encoder may be bidirectional. The decoder starts with
    tanh of a linear layer on what the encoder ends with, and is fed its own outputs in training too.
    Source: Sutskever, Vinyals and Le, 2014, arXiv:1409.3215; the start after Cho et al., 2014, arXiv:1406.1078.

    Raises:
        SpecError: unless `inputs` is (steps, features), and `outputs` are whole steps.
    """
    horizon = settings.horizon or outputs
    if outputs % horizon:
        raise SpecError(f"is {horizon}, and the {outputs} numbers of a target are no multiple", key="network.horizon")
    encoder = RecurrentLayers(settings.cell, features_of("seq2seq", inputs), settings)
    return Writing(encoder, settings, horizon, outputs // horizon)


def features_of(kind: str, inputs: tuple[int, ...]) -> int:
    """The numbers of a step.

    Raises:
        SpecError: unless inputs are (steps, features), or (1, steps, features), as which sources take arrays.
    """
    shape = inputs[1:] if len(inputs) == 3 and inputs[0] == 1 else inputs
    if len(shape) != 2:
        raise SpecError(
            f"is {kind}, which takes samples of shape (steps, features), and these are {inputs}; use `kind: mlp`",
            key="network.kind",
        )
    return shape[1]


def as_steps(inputs: Tensor) -> Tensor:
    """`[B, T, F]` of the same, or of `[B, 1, T, F]`."""
    return inputs.squeeze(1) if inputs.dim() == 4 else inputs


def last(steps: Tensor, lengths: Tensor | None) -> Tensor:
    """`[B, F]`, the last step of each series in `[B, T, F]`."""
    if lengths is None:
        return steps[:, -1]
    places = (lengths - 1).view(-1, 1, 1).expand(-1, 1, steps.shape[2])
    return steps.gather(1, places).squeeze(1)


def turned(steps: Tensor, lengths: Tensor | None) -> Tensor:
    """`[B, T, F]` with each series from its last step to its first; what fills it up stays behind it."""
    if lengths is None:
        return steps.flip(1)
    times = torch.arange(steps.shape[1], device=steps.device).unsqueeze(0)
    ends = lengths.unsqueeze(1)
    places = torch.where(times < ends, ends - 1 - times, times).unsqueeze(2)
    return steps.gather(1, places.expand(-1, -1, steps.shape[2]))
