"""The two stages that write datasets: one draws images and labels them, the other labels images."""

from dataclasses import replace

from factory.config import Config, ShardsConfig
from factory.errors import UserError
from factory.generation.frozen_models import BatchMaker
from factory.generation.label_recipe import LabelRecipe
from factory.generation.labeller import Labeller
from factory.generation.recipe import Models
from factory.generation.relabelled_images import DatasetImages, dataset_to_relabel
from factory.generation.source_images import Images, SourceImages
from factory.generation.synthesizer import Synthesizer
from factory.shards.plan import Plan
from factory.shards.source_listing import read_listing


def settings_of(config: Config, plan: Plan) -> ShardsConfig:
    """The section of the config that the plan is of."""
    return config.label if plan.command == "label" else config.generate


def batch_maker(config: Config, plan: Plan, models: Models) -> BatchMaker:
    """What makes the samples of the plan's shards in this process.

    Raises CannotCompile; UserError as `Synthesizer` does, and where images that are to be labelled
    cannot be found.
    """
    if plan.command != "label":
        return Synthesizer(models, plan, config.generate.max_draws)
    recipe = LabelRecipe.model_validate(plan.recipe)
    return Labeller(models, plan, images_of(config, recipe))


def images_of(config: Config, recipe: LabelRecipe, to_look: bool = False) -> Images:
    """The images that are labelled, with the masks that are compared.

    to_look: without masks, and those alone that are still there. Raises UserError where the images
    cannot be found, or are not those of the recipe.
    """
    size, channels, at = recipe.image_size, recipe.channels, recipe.at
    if recipe.relabels is None:
        listing = read_listing(config.label.url, recipe.source_sha256)
        if to_look:
            listing = replace(listing, truth_sha256s=None)
        return SourceImages.open(config, listing, size, channels, at, some_may_lack=to_look)
    if (url := dataset_to_relabel(config)) is None:
        raise UserError("label.source: the dataset whose images are labelled is gone.")
    return DatasetImages.open(url, recipe.source_sha256, size, channels, at)
