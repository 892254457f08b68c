"""Set5 by the best network of a sweep: PSNR beside bicubic interpolation, and a picture.

python experiments/super-resolution/evaluate.py --home .podium --sweep super-resolution
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from task import BORDER, WHITE, enlarged, photographs, psnr

import podium

SHOWN = {"butterfly_GT": (60, 90), "bird_GT": (60, 100)}
"""Images of the picture, and the corner of what is shown of each."""

SIDE = 96


def applied(trained: Any) -> Callable[[Any], Any]:
    """What a network makes of luma that was enlarged, `[height, width]`; any size, since it is convolutions alone."""
    (mean,), (std,) = trained.schema.mean, trained.schema.std

    def apply(image: Any) -> Any:
        with torch.inference_mode():
            made = trained.module(torch.from_numpy((image / WHITE - mean) / std)[None, None])
        return made[0, 0].numpy() * WHITE

    return apply


def measured(apply: Callable[[Any], Any]) -> dict[str, tuple[float, float]]:
    """By image of Set5 the PSNR in dB of bicubic interpolation and of a network."""
    found = {}
    for name, whole in photographs("Set5"):
        image = enlarged(whole)
        found[name] = psnr(image, whole), psnr(apply(image), whole)
    return found


def draw(apply: Callable[[Any], Any], path: Path) -> None:
    """A sheet of details: bicubic, the network, the photograph."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(SHOWN), 3, figsize=(6.6, 4.6))
    images = dict(photographs("Set5"))
    for row, (name, (top, left)) in zip(axes, SHOWN.items(), strict=True):
        whole = images[name]
        image = enlarged(whole)
        made = apply(image)
        shown = {f"bicubic, {psnr(image, whole):.2f} dB": image, f"SRCNN, {psnr(made, whole):.2f} dB": made}
        for axis, (title, luma) in zip(row, {**shown, "the photograph": whole}.items(), strict=True):
            axis.imshow(luma[top : top + SIDE, left : left + SIDE], cmap="gray", vmin=16, vmax=235)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", default=".podium")
    parser.add_argument("--sweep", default="super-resolution")
    parser.add_argument("--trial", type=int)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    trained = podium.load_network(given.sweep, trial=given.trial, home=given.home)
    apply = applied(trained)
    found = measured(apply)
    print(f"trial {trained.trial}, epoch {trained.epoch}; without {BORDER} pixels at every edge")
    for name, (bicubic, own) in found.items():
        print(f"{name:<14} bicubic {bicubic:.2f} dB   SRCNN {own:.2f} dB")
    bicubic, own = np.mean(list(found.values()), axis=0)
    print(f"{'mean':<14} bicubic {bicubic:.2f} dB   SRCNN {own:.2f} dB")
    if given.picture is not None:
        draw(apply, given.picture)


if __name__ == "__main__":
    main()
