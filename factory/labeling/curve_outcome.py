"""What a curve found, for people and programs: a table, sentences, a picture, JSON.

`fits.json` has the scores as they come, so that a command that was killed goes on; `curve.json`,
which is written last, has all that they come to, and `read_curve` reads it.

Shapes: P numbers, S seeds, C classes, B draws of the test images.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from factory import storage
from factory.config import Config
from factory.errors import counted
from factory.labeling.curve import Fit, Fits, Material
from factory.labeling.curve_gain import LAST, MORE, Gain, gain_of
from factory.labeling.linear_probe import Floats

FITS, FOUND, PICTURE = "fits.json", "curve.json", "curve.svg"
"""Files of a curve."""


@dataclass(frozen=True)
class Curve:
    """A finished curve."""

    ddpm_hash: str
    image_size: int
    """The size, in pixels, that images were read at: the DDPM's."""
    labelled_hash: str
    """The digest of all images of data.labelled."""
    test_key: str
    """The key of the config that the test images are of."""
    num_test: int
    nums: tuple[int, ...]
    """The numbers of labelled images, ascending."""
    num_seeds: int
    mean_iou: tuple[float, ...]
    """(P,) the mean over classes and seeds."""
    deviation: tuple[float, ...]
    """(P,) that of the mean IoU over the seeds."""
    iou: Mapping[str, tuple[float | None, ...]]
    """(P,) of each class; None where the test images lack it."""
    ten_more: Gain | None
    """What ten more labelled images add to the mean IoU; None where the last number is too small to
    tell."""
    last_two: Gain | None
    """The same along the last two numbers alone, where the curve has more."""
    classes_ten_more: Mapping[str, Gain]
    """What they add to the IoU of each class that test images have."""

    def sentences(self) -> list[str]:
        """What ten more labelled images are worth, and for which classes."""
        if self.ten_more is None:
            return [
                f"What ten more than {counted(self.nums[-1], 'labelled image')} are worth is not "
                "told: that is more than twice as many, and further than the curve reaches."
            ]
        return [self._of_mean(self.ten_more), *self._of_bend(self.ten_more), self._of_classes()]

    def _of_mean(self, gain: Gain) -> str:
        along = ", ".join(map(str, self.nums[-LAST:]))
        more = f"ten more than {counted(self.nums[-1], 'labelled image')}"
        line = f"along a line over the logarithm of the number, through {along}"
        if not gain.is_told:
            return (
                f"What {more} are worth is not told: {gain.words()} points of mean IoU {line}, is "
                "within what chance makes of it. More seeds (curve.num_seeds) or more test images "
                "tell finer differences."
            )
        does = "are worth about" if gain.gain > 0 else "have made labels worse:"
        return (
            f"{more[0].upper()}{more[1:]} {does} {gain.words()} points of mean IoU, {line}. Twice "
            "the standard error follows the sign ±, as other draws of these images and other test "
            "images would change it."
        )

    def _of_bend(self, gain: Gain) -> list[str]:
        last = self.last_two
        if last is None or abs(last.gain - gain.gain) <= max(last.noise, gain.noise):
            return []
        how = "rises more slowly" if last.gain < gain.gain else "rises faster"
        return [
            f"In the end the curve {how}: the last two numbers alone give {last.words()} points."
        ]

    def _of_classes(self) -> str:
        told = [(name, each) for name, each in self.classes_ten_more.items() if each.is_told]
        most = sorted((pair for pair in told if pair[1].gain > 0), key=lambda pair: -pair[1].gain)
        if not most:
            return "No class gains more from them than chance makes of it."
        words = ", ".join(f"{name} {each.words()}" for name, each in most[:3])
        return f"Most gain {words} points of IoU."


def curve_of(material: Material, fits: Fits, num_seeds: int) -> Curve:
    """What the fits come to, which are there for all numbers and seeds."""
    nums, names = material.nums, material.labelled.classes.names
    table = [[fits[num, seed] for seed in range(num_seeds)] for num in nums]
    ious = np.array([[fit.iou for fit in row] for row in table])
    drawn = np.array([[fit.drawn for fit in row] for row in table])
    means = np.nanmean(ious, axis=2)
    of_class = {
        name: tuple(None if np.isnan(value) else float(value) for value in ious[:, :, i].mean(1))
        for i, name in enumerate(names)
    }
    is_far = nums[-1] < MORE
    gains = {} if is_far else _gains_of_classes(nums, ious, drawn, names)
    drawn_means = np.nanmean(drawn, axis=3)
    return Curve(
        material.model.model_hash,
        material.model.image_size,
        material.labelled_hash,
        material.test_key,
        len(material.test),
        nums,
        num_seeds,
        tuple(means.mean(1).tolist()),
        tuple(means.std(axis=1, ddof=1).tolist()),
        of_class,
        None if is_far else gain_of(nums, means, drawn_means),
        None if is_far or len(nums) < LAST else gain_of(nums, means, drawn_means, 2),
        gains,
    )


def _gains_of_classes(
    nums: Sequence[int], ious: Floats, drawn: Floats, names: Sequence[str]
) -> dict[str, Gain]:
    return {
        name: gain_of(nums, ious[:, :, i], drawn[:, :, :, i])
        for i, name in enumerate(names)
        if not np.isnan(ious[:, :, i]).any()
    }


def table(curve: Curve) -> list[str]:
    """The scores as lines of text: one a class, then the mean and its deviation over seeds."""
    lines = [
        f"IoU on {counted(curve.num_test, 'image')} of {curve.test_key}, a mean over "
        f"{curve.num_seeds} draws of the labelled images that are learned from",
        _row("labelled images", [f"{num:,}" for num in curve.nums]),
    ]
    for name, values in curve.iou.items():
        lines.append(_row(name, ["" if each is None else f"{each:.3f}" for each in values]))
    lines.append(_row("mean IoU", [f"{each:.3f}" for each in curve.mean_iou]))
    lines.append(_row("deviation", [f"± {each:.3f}" for each in curve.deviation]))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<16} " + " ".join(f"{cell:>8}" for cell in cells)


def write_fits(config: Config, fingerprint: str, fits: Fits) -> None:
    """Writes the scores that are known so far. Raises OSError."""
    entries = [
        {"num": num, "seed": seed, "iou": _listed(fit.iou), "drawn": _listed(fit.drawn)}
        for (num, seed), fit in sorted(fits.items())
    ]
    text = json.dumps({"fingerprint": fingerprint, "fits": entries}) + "\n"
    storage.write(storage.join(config.curve.url, FITS), text.encode())


def _listed(values: Floats) -> Any:
    """Lists with None for what is no number."""
    listed = values.astype(object)
    listed[np.isnan(values)] = None
    return listed.tolist()


def read_fits(config: Config, fingerprint: str) -> tuple[dict[tuple[int, int], Fit], bool]:
    """The scores that are known already, and True if there are others, which are not of this
    fingerprint. Raises OSError."""
    try:
        content = json.loads(storage.read_bytes(storage.join(config.curve.url, FITS)))
        if content["fingerprint"] != fingerprint:
            return {}, True
        return {
            (int(each["num"]), int(each["seed"])): Fit(
                np.array(each["iou"], np.float64), np.array(each["drawn"], np.float64)
            )
            for each in content["fits"]
        }, False
    except FileNotFoundError:
        return {}, False
    except (ValueError, KeyError, TypeError):
        return {}, True


def write_curve(config: Config, curve: Curve, picture: str) -> None:
    """Writes the picture, and curve.json last. Raises OSError."""
    url = config.curve.url
    storage.write(storage.join(url, PICTURE), picture.encode())
    content = {**asdict(curve), "sentences": curve.sentences()}
    storage.write(storage.join(url, FOUND), (json.dumps(content, indent=1) + "\n").encode())


def read_curve(url: str) -> Curve | None:
    """The finished curve of a folder; None where there is none. Raises OSError."""
    try:
        content = json.loads(storage.read_bytes(storage.join(url, FOUND)))
        del content["sentences"]
        for name in ("nums", "mean_iou", "deviation"):
            content[name] = tuple(content[name])
        for name in ("ten_more", "last_two"):
            content[name] = content[name] and Gain(**content[name])
        content["iou"] = {name: tuple(values) for name, values in content["iou"].items()}
        gains = content["classes_ten_more"]
        content["classes_ten_more"] = {name: Gain(**gain) for name, gain in gains.items()}
        return Curve(**content)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
