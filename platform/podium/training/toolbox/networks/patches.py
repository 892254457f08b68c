"""Training, the toolbox: a network that classifies patches, slid over images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training.toolbox.chance import Chance
from podium.training.toolbox.networks.blocks import require_images


class Slid(nn.Module):
    """Maps of what a network says of the patch around each pixel.

    An image is divided into cells of `stride` x `stride` pixels, the patch around each cell goes through the network,
    and what comes out is interpolated bilinearly between the cells' centres. Beyond its edges an image is mirrored.
    Patches lie exactly around cells where `patch` - `stride` is even, else half a pixel off.

    Args:
        network: From patches `[N, C, patch, patch]` to `[N, outputs]`.
        settings: Those of the network.
        inputs: Shape of an image.

    Raises:
        SpecError: for patches that cannot be laid around the cells of such images.
    """

    def __init__(self, network: nn.Module, settings: NetworkSettings, inputs: tuple[int, ...]) -> None:
        super().__init__()
        _, height, width = require_images(settings, inputs)
        self.network, self.patch, self.stride = network, settings.patch, settings.stride
        if self.stride > self.patch:
            raise SpecError(
                f"is {self.stride}, and patches have a side of {self.patch}, so that pixels between them would be "
                "seen by none; take a smaller stride, or a larger `network.patch`",
                key="network.stride",
            )
        if max(self._margins(side)[1] for side in (height, width)) >= min(height, width):
            raise SpecError(
                f"is {self.patch}, too much for images of {height} x {width} pixels, which are mirrored at their "
                "edges; take a smaller patch",
                key="network.patch",
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H, W]`."""
        height, width = inputs.shape[-2:]
        padding = (*self._margins(width), *self._margins(height))
        padded = functional.pad(inputs, padding, mode="reflect")
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        patches = padded.unfold(2, self.patch, self.stride).unfold(3, self.patch, self.stride)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        if self.training:
            self._place(len(inputs), rows * columns)
        scores = self.network(patches).unflatten(0, (len(inputs), rows, columns)).movedim(-1, 1)
        size = (rows * self.stride, columns * self.stride)
        made = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return made[..., :height, :width]

    def _place(self, count: int, patches: int) -> None:
        """Tells layers that draw that a sample has become so many; each patch draws for itself."""
        for module in self.network.modules():
            if isinstance(module, Chance) and len(module.positions) == count:
                number = torch.arange(patches, device=module.positions.device)
                module.positions = (module.positions[:, None] * patches + number).flatten()

    def _margins(self, side: int) -> tuple[int, int]:
        """How far an image is mirrored before its first and after its last pixel."""
        before = (self.patch - self.stride) // 2
        cells = -(-side // self.stride)
        return before, (cells - 1) * self.stride + self.patch - side - before
