"""The two stages that write datasets: one draws images and labels them, the other labels images."""

from factory.config import Config, ShardsConfig
from factory.generation.frozen_models import BatchMaker
from factory.generation.label_recipe import LabelRecipe
from factory.generation.label_source import SourceImages
from factory.generation.labeller import Labeller
from factory.generation.recipe import Models
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
        return Synthesizer(models, plan)
    recipe = LabelRecipe.model_validate(plan.recipe)
    listing = read_listing(config.label.url, recipe.source_sha256)
    return Labeller(models, plan, SourceImages.open(config, listing, recipe.image_size, recipe.at))
