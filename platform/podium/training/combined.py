"""Several networks of one structure as one: their answers averaged, or their weights."""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from podium.training.answers import Link, linked
from podium.training.task import takes_lengths

if TYPE_CHECKING:
    from collections.abc import Iterator

Heads = Sequence[tuple[str, Link, int, int]]

CERTAIN = 1e-7
"""No nearer to 0 or 1 than this is a mean of probabilities taken, so that what the link makes it of is finite."""

_UNLINKED: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda means: torch.log(means.clamp(min=CERTAIN)),
    "sigmoid": lambda means: torch.logit(means, eps=CERTAIN),
    "identity": lambda means: means,
}


class Ensemble(nn.Module):
    """A network that answers with the mean of several networks' answers.

    Its outputs are such that the link makes these means of them: averages of probabilities, not of what is linked.

    Args:
        networks: Of one structure, in evaluation mode.
        link: What makes answers of their outputs.
        heads: Name, link and place among the outputs of each of several heads, whose link is their own.
    """

    def __init__(self, networks: Sequence[nn.Module], link: Link, heads: Heads = ()) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.takes_lengths = takes_lengths(networks[0])
        self._parts = [(own, slice(first, end)) for _, own, first, end in heads] or [(link, slice(None))]

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As each of the networks."""
        given = (inputs,) if lengths is None else (inputs, lengths)
        outputs = torch.stack([network(*given) for network in self.networks])
        return torch.cat(list(self._means(outputs)), dim=1) if outputs.dim() > 2 else outputs.mean(dim=0)

    def _means(self, outputs: Tensor) -> "Iterator[Tensor]":
        for link, part in self._parts:
            yield _UNLINKED[link](torch.stack([linked(own[:, part], link) for own in outputs]).mean(dim=0))


def averaged(networks: Sequence[nn.Module]) -> nn.Module:
    """A network with the mean of several networks' weights; what is counted in whole numbers is the first one's."""
    states = [network.state_dict() for network in networks]
    merged = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    whole = copy.deepcopy(networks[0])
    whole.load_state_dict(merged)
    return whole.eval()
