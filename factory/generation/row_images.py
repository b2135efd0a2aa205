"""The images beside a dataset of mask files, read from where they lay when they were labelled."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from factory import storage
from factory.config import load_config
from factory.errors import ChangedSource, UnreadableImage, UserError
from factory.generation.label_recipe import LabelRecipe
from factory.generation.source_images import Images
from factory.generation.stages import images_of
from factory.images import UInt8
from factory.shards.layout import CONFIG
from factory.shards.reading import read_plan


@dataclass(frozen=True)
class RowImages:
    """The images of the rows of a dataset of labels, by their numbers.

    Each process lists the source for itself, when it asks for the first image.
    """

    url: str
    """That of the dataset, absolute."""

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

    def image(self, row: int, name: str) -> UInt8:
        """(H, W, C), as the row's mask has its size; see `factory.shards.mask_files.RowImages`."""
        try:
            found = self._images.read_row(row, name)
        except (ChangedSource, UnreadableImage) as error:
            raise UserError(str(error)) from None
        return found.pixels

    def check(self) -> None:
        """Lists the source. Raises UserError if that cannot be done; whether an image is still the
        one that was labelled is seen where it is read."""
        _ = self._images

    @cached_property
    def _images(self) -> Images:
        recipe = LabelRecipe.model_validate(read_plan(self.url).recipe)
        try:
            config = load_config(storage.join(self.url, CONFIG), [("label.url", self.url)])
            return images_of(config, recipe, to_look=True)
        except UserError as error:
            raise UserError(
                f"{self.url}: the images of its masks are not where they were labelled. Put them "
                f"back, or read masks/ and the tables in data/ alone. {error.problems[0]}"
            ) from None
