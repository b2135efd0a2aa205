"""The recipe of a dataset of labels, which decides its bytes: the images, the models, their use."""

from typing import Annotated, Any, Literal

from pydantic import Field

from factory.config import Config
from factory.errors import UserError
from factory.generation.recipe import Execution, Models, execution_of
from factory.shards.plan import MAX_SHARDS, Plan


class LabelRecipe(Execution, frozen=True):
    """The recipe by which images are labelled; `Plan.recipe` holds it as JSON."""

    command: Literal["label"] = "label"
    at: Literal["model", "original"]
    """The size of images and masks; see `LabelConfig.at`."""
    columns: tuple[str, ...]
    """The names of the columns that the dataset has beside those of all."""
    source_sha256: str
    """The hash over the names and the bytes of the images; of a dataset that is labelled anew, its
    manifest's root."""
    reading: dict[str, Any] = Field(default_factory=dict)
    """The keys of the source that decide how the pixels of its files are read."""
    masks_keep_endings: bool = False
    """True if a mask's file has all of its image's name, as a.jpg.png: where several images would
    share a name without their endings."""
    left_out: Annotated[int, Field(exclude_if=lambda num: num == 0)] = 0
    """The images that cannot be read and have no row; told only if there are some."""
    relabels: str | None = None
    """The run id of the dataset that is labelled anew; None for images of one's own."""


def make_label_plan(config: Config, models: Models, num: int, **source: Any) -> Plan:
    """The plan of labels for num images; raises UserError if they take too many shards.

    source: the fields of `LabelRecipe` that tell what the images are.
    """
    settings, ensemble = config.label, models.ensemble.config
    if num > MAX_SHARDS * settings.samples_per_shard:
        raise UserError(
            f"label.samples_per_shard: {settings.samples_per_shard:,} makes more than "
            f"{MAX_SHARDS:,} shards of {num:,} images. Raise it."
        )
    recipe = LabelRecipe(
        **execution_of(settings, models).model_dump(),
        metadata_files=settings.format == "webdataset",
        at=settings.at,
        **source,
    )
    return Plan(
        num=num,
        samples_per_shard=settings.samples_per_shard,
        format=settings.format,
        class_names=ensemble.class_names,
        palette=ensemble.palette,
        recipe=recipe.model_dump(mode="json"),
    )
