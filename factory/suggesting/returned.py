"""An image as an annotation tool gives it back: its layers, and what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from factory.suggesting.layers import Layer

Sizes = Mapping[str, tuple[int, int]]
"""Width and height of each suggested image, by the name of its file without its ending: tools
change what stands before and behind it."""


@dataclass(frozen=True, eq=False)
class Returned:
    """An image of an export."""

    name: str
    """As the tool has it."""
    layers: tuple[Layer, ...] = ()
    """The lowest first."""
    problems: tuple[str, ...] = ()
    """The ends of sentences that begin with the name of the image."""

    @property
    def stem(self) -> str:
        """The name of its file without folders and ending."""
        return stem_of(self.name)


def stem_of(name: str) -> str:
    """The name of a file without folders and ending."""
    return PurePosixPath(name).stem


def size_problem(name: str, size: tuple[int, int] | None, sizes: Sizes) -> str | None:
    """What is wrong with an image of this name and, where it is told, this size."""
    wanted = sizes.get(stem_of(name))
    if wanted is None:
        return "is none of the suggested images. Leave it out, or name the folder of its suggestion"
    if size in (None, wanted):
        return None
    there, known = (f"{width}x{height}" for width, height in (size, wanted))
    return f"is {there} pixels there, and {known} as it was suggested. Label the image itself"
