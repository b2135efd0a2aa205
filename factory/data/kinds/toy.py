"""The source `kind: toy`: drawn faces with exact masks, which need no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.data.sections import SourceSection
from factory.errors import Problems
from factory.values import Count, Seed

if TYPE_CHECKING:
    from factory.data.classes.class_rules import ClassRules
    from factory.data.items import Found, Item
    from factory.data.masks.mask_decoding import Mask
    from factory.data.pixels.decoding import Picture
    from factory.images import UInt8

MAX_BYTES = 2**36
"""Drawings are held in memory."""


class ToySource(SourceSection):
    """Drawn faces: the toy domain."""

    purpose: ClassVar[str] = "drawings"

    kind: Literal["toy"] = "toy"
    """The kind of source."""
    num: Count = Field(description="how many drawings")
    """The number of faces to draw."""
    seed: Seed = 0
    """The seed of the faces: another one draws others."""

    @property
    def title(self) -> str:
        """Drawn faces are all alike."""
        return "drawn faces"

    def size_problems(self, image_size: int) -> Sequence[str]:
        """Refuses more drawings than memory is meant to hold."""
        num_bytes = self.num * image_size**2 * 4
        if num_bytes <= MAX_BYTES:
            return ()
        return (
            f"num: {self.num} drawings of {image_size}x{image_size} pixels take "
            f"{num_bytes / 2**30:,.0f} GiB of memory, more than {MAX_BYTES / 2**30:.0f}: lower it",
        )

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The drawings, none of them drawn yet. See `factory.data.items.Source`."""
        from factory.classes import Classes
        from factory.data.classes.class_rules import ClassRules
        from factory.data.items import Found
        from factory.data.toy.faces import CLASSES, PALETTE

        rules = ClassRules.of_positions(Classes.named(CLASSES, PALETTE)) if labelled else None
        drawings = [Drawing(self.seed, i, labelled) for i in range(self.num)]
        return Found(drawings, rules=rules, may_fail=False)

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """A drawing follows from its name."""
        return [""] * len(items)


@dataclass
class Drawing:
    """A drawn face."""

    seed: int
    index: int
    labelled: bool
    ids: "UInt8 | None" = None
    """(S, S) the mask of the image that was drawn last, if it will be asked for."""

    @property
    def name(self) -> str:
        """The name tells all that decides the drawing."""
        return f"toy-{self.seed}-{self.index:06d}"

    @property
    def image_url(self) -> str:
        """The name: a drawing lies nowhere."""
        return self.name

    @property
    def mask_url(self) -> str | None:
        """The name: a drawing lies nowhere."""
        return self.name if self.labelled else None

    @property
    def reading(self) -> Reading:
        """Drawings are square and upright."""
        return DEFAULT_READING

    @property
    def tile(self) -> None:
        """Drawings are no tiles."""

    def image(self, size: int) -> "Picture":
        """The face, drawn at this size, together with its mask."""
        from factory.data.pixels.decoding import picture_of_array
        from factory.data.toy import drawing

        pixels, ids = drawing.draw(self.seed, self.index, size)
        self.ids = ids if self.labelled else None
        return picture_of_array(pixels, "drawn")

    def content(self) -> bytes:
        """The name, which tells all that decides the drawing."""
        return self.name.encode()

    def mask(self, size: int, rules: "ClassRules") -> "Mask":
        """The mask of the face that was just drawn."""
        from factory.data.masks.mask_decoding import mask_of_array

        assert self.ids is not None and self.ids.shape == (size, size), "the image was drawn first"
        return mask_of_array(self.ids, rules, "drawn")
