"""Set12 by the best network of a sweep: PSNR beside what packages do, and a picture.

python experiments/denoise/evaluate.py --home .podium
python experiments/denoise/evaluate.py --home .podium --sweep denoise-inpainting --what text
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from skimage.restoration import denoise_nl_means, inpaint_biharmonic
from task import SIGMA, photographs, psnr, with_noise, with_text

import podium

Method = Callable[[Any], Any]

SHOWN, CORNER, SIDE = "Set12/04.png", (60, 60), 128
"""What the picture shows, and the part of it."""


def non_local_means(image: Any) -> Any:
    """With the strength that scikit-image's documentation recommends for its fast mode at a known sigma."""
    return denoise_nl_means(image, patch_size=5, patch_distance=6, h=0.8 * SIGMA, sigma=SIGMA, fast_mode=True)


def bm3d(image: Any) -> Any:
    """BM3D by its authors' package, which is for non-commercial use alone."""
    from bm3d import bm3d as filtered

    return filtered(image, sigma_psd=SIGMA)


def biharmonic(image: Any) -> Any:
    """Inpainting where text is, by biharmonic equations."""
    return inpaint_biharmonic(image, is_text(image))


def median(image: Any) -> Any:
    """Each pixel of text becomes the median of those within 15 x 15 pixels that are none."""
    where = is_text(image)
    wide = np.pad(np.where(where, np.nan, image), 7, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (15, 15))[where]
    made = image.copy()
    made[where] = np.nanmedian(windows.reshape(len(windows), -1), axis=1)
    return made


def is_text(image: Any) -> Any:
    """White pixels and their neighbours, since the edges of letters are grey."""
    return binary_dilation(image >= 0.99, np.ones((3, 3)))


def applied(network: torch.nn.Module) -> Method:
    """What a network makes of an image `[height, width]` of any size."""

    def apply(image: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(image)[None, None])[0, 0].numpy()

    return apply


def draw(images: Mapping[str, Any], whole: Any, path: Path) -> None:
    """A row of details: what was given, what each method made of it, the photograph."""
    import matplotlib.pyplot as plt

    top, left = CORNER
    figure, axes = plt.subplots(1, len(images) + 1, figsize=(2.1 * (len(images) + 1), 2.4))
    titles = {f"{name}, {psnr(image, whole):.2f} dB": image for name, image in images.items()}
    for axis, (title, image) in zip(axes, {**titles, "the photograph": whole}.items(), strict=True):
        axis.imshow(image[top : top + SIDE, left : left + SIDE], cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", default=".podium")
    parser.add_argument("--sweep", default="denoise")
    parser.add_argument("--what", choices=["noise", "text"], default="noise")
    parser.add_argument("--trial", type=int)
    parser.add_argument("--bm3d", action="store_true", help="with the package bm3d, if it is installed")
    parser.add_argument("--alone", action="store_true", help="the network alone")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    trained = podium.load_network(given.sweep, trial=given.trial, home=given.home)
    methods: dict[str, Method] = {} if given.alone else others(given.what, with_bm3d=given.bm3d)
    methods["RED-Net"] = applied(trained.module)
    spoil = with_noise if given.what == "noise" else with_text
    print(f"trial {trained.trial}, epoch {trained.epoch}")
    print(f"{'':<14}{'given':>20}" + "".join(f"{name:>20}" for name in methods))
    rows = []
    for split, name, whole in photographs():
        if split == "test":
            image = spoil(name, whole)
            made = {"given": image} | {method: apply(image) for method, apply in methods.items()}
            rows.append([psnr(each, whole) for each in made.values()])
            print(f"{name:<14}" + "".join(f"{number:>17.2f} dB" for number in rows[-1]), flush=True)
            if name == SHOWN and given.picture is not None:
                draw(made, whole, given.picture)
    print(f"{'mean':<14}" + "".join(f"{number:>17.2f} dB" for number in np.mean(rows, axis=0)))


def others(what: str, *, with_bm3d: bool) -> dict[str, Method]:
    if what == "text":
        return {"median": median, "biharmonic": biharmonic}
    return {"non-local means": non_local_means} | ({"BM3D": bm3d} if with_bm3d else {})


if __name__ == "__main__":
    main()
