"""How near copies of training images are to them, in the space in which pairs tell their distance.

1 is the median distance of a training image to the nearest other one. A copy is a training image
that was stored anew or changed; images of another folder are none.
"""

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import measuring
import numpy as np
import numpy.typing as npt
import torch
from measuring import Row
from PIL import Image, ImageFilter

from factory.data.kinds.folder import FolderSource
from factory.data.loading import read_images
from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.nearest import nearest, own_distances, unusual_distance, usual_distance


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("training", help="a folder of training images")
    arguments.add_argument("others", help="a folder of other images of the same kind")
    arguments.add_argument("--size", type=int, default=64, help="pixels of a side")
    arguments.add_argument("--copies", type=int, default=300, help="images that are copied")
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    training, others = (
        read_images(FolderSource(url=str(Path(folder).absolute())), arguments.size)
        for folder in (arguments.training, arguments.others)
    )
    layout = features(training).layout
    own = own_distances(layout)
    usual = usual_distance(own)

    def distances(images: list[UInt8] | UInt8) -> torch.Tensor:
        some, mirrored = (features(view).layout for view in (images, [x[:, ::-1] for x in images]))
        return nearest(some, mirrored, layout, usual).distances

    step = max(1, len(training) // arguments.copies)
    with measuring.reporting("Copies of training images", arguments.json) as (rows, notes):
        rows.append(Row("unusual", unusual_distance(own), None, "of usual"))
        for name, change in CHANGES.items():
            found = distances([change(image) for image in training[::step]])
            rows.append(Row(f"{name}: median", float(found.median()), None, "of usual"))
            rows.append(Row(f"{name}: largest", float(found.max()), None, "of usual"))
        found = distances(others)
        share = float((found < unusual_distance(own)).float().mean())
        rows.append(Row("other images: least", float(found.min()), None, "of usual"))
        rows.append(Row("other images nearer than unusual", 100 * share, None, "%"))
        notes.append(f"{len(training):,} training images, {len(others):,} others.")


def _as_jpeg(image: UInt8) -> UInt8:
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=50)
    return np.asarray(Image.open(stored))


def _with_noise(image: UInt8) -> UInt8:
    noise = np.random.default_rng(int(image.sum())).normal(0, 8, image.shape)
    return _rounded(image + noise)


def _rounded(values: npt.NDArray[np.float64]) -> UInt8:
    return values.round().clip(0, 255).astype(np.uint8)


def _half_as_sharp(image: UInt8) -> UInt8:
    size = image.shape[1], image.shape[0]
    small = Image.fromarray(image).resize((size[0] // 2, size[1] // 2), Image.Resampling.BOX)
    return np.asarray(small.resize(size, Image.Resampling.BILINEAR))


CHANGES: Mapping[str, Callable[[UInt8], UInt8]] = {
    "JPEG of quality 50": _as_jpeg,
    "noise of 8 of 255": _with_noise,
    "lighter by 10 of 255": lambda image: _rounded(image.astype(float) + 10),
    "blurred by a Gaussian of 1 pixel": lambda image: np.asarray(
        Image.fromarray(image).filter(ImageFilter.GaussianBlur(1))
    ),
    "half as sharp": _half_as_sharp,
    "shifted by 1 pixel": lambda image: np.roll(image, 1, axis=1),
    "shifted by 2 pixels": lambda image: np.roll(image, 2, axis=1),
}


if __name__ == "__main__":
    main()
