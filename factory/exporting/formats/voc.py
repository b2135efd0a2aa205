"""`voc`: the layout of PASCAL VOC's segmentation, whose masks are pictures with a palette."""

import io
from collections.abc import Iterable, Iterator
from typing import ClassVar

from factory.classes import Color
from factory.exporting.format import PairFiles, PairFormat, Summary
from factory.exporting.pairs import Pair
from factory.images import pillow_image
from factory.png import with_palette

_JPEG_QUALITY = 95


def voc_colors() -> list[Color]:
    """VOC's 256 colours: three bits of an id at a time are the highest bits that are still free of
    red, green and blue; 255, the border, is nearly white."""
    colors = []
    for number in range(256):
        channels = [
            sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
            for channel in range(3)
        ]
        colors.append((channels[0], channels[1], channels[2]))
    return colors


COLORS = voc_colors()


class VocFormat(PairFormat):
    """`JPEGImages/KEY.png` (or `.jpg`), `SegmentationClass/KEY.png`, and the lists of keys in
    `ImageSets/Segmentation/`.

    Masks are palette PNGs, index = class id, 255 = border, which no reader counts. `labelmap.txt`
    has the names and the colours.
    """

    takes: ClassVar[tuple[str, ...]] = ("jpeg",)

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        if self.source.options.jpeg:
            image = (f"JPEGImages/{pair.key}.jpg", _jpeg(pair))
        else:
            image = (f"JPEGImages/{pair.key}.png", pair.image_png)
        mask = (f"SegmentationClass/{pair.key}.png", with_palette(pair.mask_png, COLORS))
        return PairFiles([image, mask], {pair.split: [pair.key], "trainval": [pair.key]})

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        for name in (*self.source.options.splits, "trainval"):
            keys = summary.read_lines(name)
            yield f"ImageSets/Segmentation/{name}.txt", (f"{key}\n".encode() for key in keys)
        lines = ["# label:color_rgb:parts:actions"]
        for name, color in zip(self._labels(), COLORS, strict=False):
            lines.append(f"{name}:{','.join(map(str, color))}::")
        yield "labelmap.txt", ["".join(f"{line}\n" for line in lines).encode()]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        notes = []
        if not self.source.options.jpeg:
            notes.append(
                "JPEGImages holds PNG files, which lose nothing; readers that look for .jpg, such "
                "as torchvision's, need --jpeg"
            )
        changed = [
            f"{name!r} is {label!r}"
            for name, label in zip(self.source.classes.names, self._labels(), strict=True)
            if name != label
        ]
        if changed:
            notes.append(f"labelmap.txt cannot hold some names: {', '.join(changed)} there")
        return notes

    def _labels(self) -> list[str]:
        """The classes' names as lines of `labelmap.txt` can begin with them, each once."""
        names = self.source.classes.names
        labels: list[str] = []
        taken = {name for name in names if _label(name) == name}
        for class_id, name in enumerate(names):
            label = _label(name)
            while label != name and label in taken:
                label = f"{label}_{class_id}"
            taken.add(label)
            labels.append(label)
        return labels


def _label(name: str) -> str:
    """A name without what ends it there, and without a `#` at its beginning, which makes a line a
    comment."""
    line = " ".join(name.replace(":", "_").split())
    return f"_{line[1:]}" if line.startswith("#") else line or "_"


def _jpeg(pair: Pair) -> bytes:
    """The image as JPEG, without a loss of colour's resolution."""
    buffer = io.BytesIO()
    image = pillow_image(pair.sample.image)
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
