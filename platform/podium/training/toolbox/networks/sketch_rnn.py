"""Training, the toolbox: sketch-rnn, which learns to draw."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training import draws
from podium.training.toolbox.chance import Dropout, Noise
from podium.training.toolbox.mixtures import choice, drawn
from podium.training.toolbox.networks.recurrent import RecurrentLayers, Start

PENS = 3
"""States of the pen after a step: it stays down, is lifted, or the drawing has ended."""


class Sketched(NamedTuple):
    """What sketch-rnn gives.

    Attributes:
        steps: `[B, T, 6 M + 3]`, for each step of the drawing a mixture of offsets, and the logits of the pen.
        mean: `[B, latent]`, of the code's distribution.
        log_variance: `[B, latent]` likewise.
    """

    steps: Tensor
    mean: Tensor
    log_variance: Tensor


class SketchRnn(nn.Module):
    """A variational auto-encoder of drawings `[B, T, 5]`.

    A bidirectional LSTM reads the drawing, and gives mean and variance of a code z; an LSTM is given z and each step
    of the drawing, and gives the distribution of the next one. Source: Ha and Eck, 2017, arXiv:1704.03477.

    Args:
        settings: `width` units of the decoder, half as many of the encoder in each direction; `latent`, `mixtures`, and
            `dropout` of what the decoder gives.
    """

    takes_lengths = True

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        half = {"width": max(settings.width // 2, 1), "depth": 1, "bidirectional": True}
        self.latent, self.mixtures = settings.latent, settings.mixtures
        self.encoder = RecurrentLayers("lstm", 5, settings.model_copy(update=half))
        self.code = nn.Linear(self.encoder.size, 2 * settings.latent)
        self.noise = Noise()
        self.start = Start(settings.latent, "lstm", 1, settings.width)
        self.decoder = nn.LSTM(5 + settings.latent, settings.width, batch_first=True)
        self.dropout = Dropout(settings.dropout)
        self.head = nn.Linear(settings.width, 6 * settings.mixtures + PENS)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Sketched:
        """Drawings and the steps of each, `[B]` int64; in evaluation, the code is its mean."""
        mean, log_variance = self.code(self.encoder.summary(inputs, lengths)).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * self.noise(mean)
        before = torch.cat([first_step(inputs), inputs[:, :-1]], dim=1)
        given = torch.cat([before, z.unsqueeze(1).expand(-1, before.shape[1], -1)], dim=2)
        hidden, _ = self.decoder(given, self.start(z))
        return Sketched(self.head(self.dropout(hidden)), mean, log_variance)


def sketch_rnn(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """`SketchRnn`; what comes out for each step follows from `mixtures`, not from `outputs`.

    Raises:
        SpecError: unless a step has five numbers.
    """
    if len(inputs) != 2 or inputs[1] != 5:
        raise SpecError(
            f"is sketch_rnn, which takes drawings of shape (steps, 5), and these are {inputs}; "
            "`data.steps: [{kind: strokes}]` makes them of (points, 3)",
            key="network.kind",
        )
    return SketchRnn(settings)


def first_step(drawings: Tensor) -> Tensor:
    """`[B, 1, 5]`, what comes before a drawing: no offset, and a pen that is down."""
    down = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0], dtype=drawings.dtype, device=drawings.device)
    return down.expand(len(drawings), 1, 5)


def generate(
    network: SketchRnn,
    count: int,
    seed: int,
    *,
    temperature: float = 1.0,
    longest: int = 250,
    code: Tensor | None = None,
) -> list[Tensor]:
    """Drawings that a network makes up, of codes from the standard normal distribution.

    Args:
        network: In evaluation mode.
        count: How many drawings.
        seed: Equal seeds give equal drawings.
        temperature: In (0, 1], how far from the likeliest the drawing may stray.
        longest: Steps after which a drawing ends at the latest.
        code: `[count, latent]`, codes to draw instead.

    Returns:
        For each drawing `[steps, 3]` float32: offsets, and whether the pen is lifted after them.
    """
    numbers = torch.arange(count)
    with torch.inference_mode():
        z = draws.normal_at(draws.fold(seed, "code"), numbers, network.latent) if code is None else code
        state, step = network.start(z), first_step(z)
        steps, is_open, lengths = [], torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.int64)
        for time in range(longest):
            hidden, state = network.decoder(torch.cat([step, z.unsqueeze(1)], dim=2), state)
            outputs = network.head(hidden.squeeze(1))
            chances = [draws.uniform_at(draws.fold(seed, what, time), numbers).float() for what in ("part", "pen")]
            normals = draws.normal_at(draws.fold(seed, "offset", time), numbers, 2)
            offsets = drawn(outputs[:, :-PENS], chances[0], normals, temperature)
            pen = choice(outputs[:, -PENS:], chances[1], temperature)
            is_open &= pen != PENS - 1
            if not is_open.any():
                break
            lengths += is_open
            steps.append(torch.cat([offsets, (pen == 1).float().unsqueeze(1)], dim=1))
            step = torch.cat([offsets, nn.functional.one_hot(pen, PENS).float()], dim=1).unsqueeze(1)
    drawings = torch.stack(steps, dim=1) if steps else torch.zeros(count, 0, 3)
    return [drawing[:length] for drawing, length in zip(drawings, lengths.tolist(), strict=True)]
