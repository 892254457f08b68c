"""Training, the toolbox: augmentation of train batches, on the device.

What is done to a sample is a hash of (data seed, purpose, epoch, position in the epoch's order), so that it depends
neither on the batch it comes in, nor on the rank or the trial.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.components import AugmentationSettings
from podium.training import draws
from podium.training.samples import Samples


class Augmentation:
    """Changes the samples of train batches.

    Args:
        settings: How.
        seed: The data seed.
        schema: What a sample looks like.

    Raises:
        SpecError: for what these samples do not allow.
    """

    def __init__(self, settings: AugmentationSettings, seed: int, schema: Schema) -> None:
        self._settings, self._seed = settings, seed
        self._is_needed = settings != AugmentationSettings()
        self._moves_targets = len(schema.targets) > 1 and schema.targets[-2:] == schema.inputs[-2:]
        moved = [
            name for name in ("flip", "rotation", "shift", "erasing") if getattr(settings, name) not in ("none", 0)
        ]
        if moved and len(schema.inputs) != 3:
            raise SpecError(
                f"is {getattr(settings, moved[0])}, which needs images, and inputs have the shape {schema.inputs}; "
                "leave it out",
                key=f"augmentation.{moved[0]}",
            )
        if settings.mixup and schema.series:
            raise SpecError(
                f"is {settings.mixup}, and series of different lengths cannot be mixed; leave it out",
                key="augmentation.mixup",
            )
        carried = [name for name in moved if name != "erasing"]
        if carried and len(schema.targets) > 1 and not self._moves_targets:
            raise SpecError(
                f"is {getattr(settings, carried[0])}, which moves images, and targets have the shape {schema.targets}, "
                f"which does not end like theirs, {schema.inputs}, so that they cannot be moved along; leave it out",
                key=f"augmentation.{carried[0]}",
            )

    def __call__(self, samples: Samples, epoch: int) -> Samples:
        """The same samples, changed as the epoch wants them; shapes and layouts stay."""
        if not self._is_needed:
            return samples
        changed = self._changed(samples, epoch)
        if not self._settings.mixup or changed.partner is None:
            return changed
        share = draws.beta_at(self._key("mixup", epoch), changed.positions, self._settings.mixup).to(torch.float32)
        return _mixed(replace(changed, partner=self._changed(changed.partner, epoch)), share)

    def _changed(self, samples: Samples, epoch: int) -> Samples:
        inputs, targets = samples.inputs, samples.targets
        if inputs.dim() == 4:
            inputs = self._moved(inputs, samples.positions, epoch)
            if self._moves_targets:
                flat = targets.reshape(len(targets), -1, *targets.shape[-2:])
                targets = self._moved(flat, samples.positions, epoch).reshape(targets.shape)
            inputs = self._erased(inputs, samples.positions, epoch)
        if self._settings.noise:
            size = inputs[0].numel()
            noise = draws.normal_at(self._key("noise", epoch), samples.positions, size).view(inputs.shape)
            inputs = inputs + self._settings.noise * _without_ends(noise, samples.lengths)
        return replace(samples, inputs=torch.empty_like(samples.inputs).copy_(inputs), targets=targets)

    def _moved(self, images: Tensor, positions: Tensor, epoch: int) -> Tensor:
        """Mirrored, turned and shifted; `[B, C, height, width]`."""
        settings = self._settings
        if settings.flip != "none":
            images = mirrored(images, draws.bits(self._key("flip", epoch), positions) < 0, -1)
        if settings.flip == "both":
            images = mirrored(images, draws.bits(self._key("flip vertically", epoch), positions) < 0, -2)
        if settings.rotation:
            share = 2 * draws.uniform_at(self._key("rotation", epoch), positions) - 1
            images = turned(images, settings.rotation * share)
        if settings.shift:
            down, right = (
                (draws.uniform_at(self._key(way, epoch), positions) * (2 * settings.shift + 1)).long() - settings.shift
                for way in ("shift down", "shift right")
            )
            images = shifted(images, down, right)
        return images

    def _erased(self, images: Tensor, positions: Tensor, epoch: int) -> Tensor:
        if not self._settings.erasing:
            return images
        sides = images.shape[-2:]
        lengths = [max(1, round(side * math.sqrt(self._settings.erasing))) for side in sides]
        firsts = [
            (draws.uniform_at(self._key(way, epoch), positions) * (side - length + 1)).long()
            for way, side, length in zip(("erase down", "erase right"), sides, lengths, strict=True)
        ]
        return erased(images, firsts[0], firsts[1], lengths[0], lengths[1])

    def _key(self, purpose: str, epoch: int) -> int:
        return draws.fold(self._seed, "augmentation", purpose, epoch)


def _mixed(samples: Samples, share: Tensor) -> Samples:
    """Samples with their partners mixed in, by what `share`, `[B]`, leaves of each."""
    assert samples.partner is not None
    own = share.view(-1, *(1,) * (samples.inputs.dim() - 1))
    inputs = torch.empty_like(samples.inputs).copy_(own * samples.inputs + (1 - own) * samples.partner.inputs)
    return replace(samples, inputs=inputs, share=share)


def mirrored(images: Tensor, which: Tensor, axis: int) -> Tensor:
    """Those of `[B, C, height, width]` that `which` (`[B]` bool) names, reversed along an axis."""
    return torch.where(which[:, None, None, None], images.flip(axis), images)


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """Images `[B, C, height, width]` turned clockwise by `[B]` degrees; whole numbers (masks) stay what they are."""
    height, width = images.shape[-2:]
    angles = torch.deg2rad(degrees).to(torch.float32)[:, None, None]
    cos, sin = angles.cos(), angles.sin()
    down = (torch.arange(height, device=images.device) + 0.5 - height / 2)[None, :, None]
    right = (torch.arange(width, device=images.device) + 0.5 - width / 2)[None, None, :]
    x, y = cos * right + sin * down, cos * down - sin * right
    grid = torch.stack([x / (width / 2), y / (height / 2)], dim=-1)
    mode = "bilinear" if images.is_floating_point() else "nearest"
    found = functional.grid_sample(images.to(torch.float32), grid, mode=mode, align_corners=False)
    return found.to(images.dtype)


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Images `[B, C, height, width]` moved by `[B]` pixels down and `[B]` to the right."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    is_there = (_is_within(rows, height)[:, :, None] & _is_within(columns, width)[:, None, :])[:, None]
    number = torch.arange(len(images), device=images.device)[:, None, None]
    found = images[number, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return torch.where(is_there, found.permute(0, 3, 1, 2), 0)


def erased(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Images `[B, C, …]` with zeros in a rectangle of that size, whose corner is at row `[B]` and column `[B]`."""
    rows = torch.arange(images.shape[-2], device=images.device) - top[:, None]
    columns = torch.arange(images.shape[-1], device=images.device) - left[:, None]
    is_erased = (_is_within(rows, height)[:, :, None] & _is_within(columns, width)[:, None, :])[:, None]
    return torch.where(is_erased, 0, images)


def _without_ends(noise: Tensor, lengths: Tensor | None) -> Tensor:
    """Noise `[B, steps, features]` for series: none where they were filled up."""
    if lengths is None:
        return noise
    is_there = torch.arange(noise.shape[1], device=noise.device) < lengths[:, None]
    return noise * is_there[:, :, None]


def _is_within(numbers: Tensor, size: int) -> Tensor:
    return (numbers >= 0) & (numbers < size)
