"""The plan of the dataset that a config asks for, from its models and, for labels, its images."""

from dataclasses import asdict, dataclass
from typing import Literal

from factory.config import Config
from factory.generation.label_recipe import make_label_plan
from factory.generation.label_source import list_source
from factory.generation.recipe import Models, make_plan
from factory.shards.plan import Plan
from factory.shards.reading import find_plan
from factory.shards.source_listing import SourceListing, find_listing, keep_listing

Stage = Literal["generate", "label"]
"""The commands that write datasets."""


@dataclass(frozen=True)
class Planned:
    """A plan, and what belongs to it in the ledger."""

    plan: Plan
    listing: SourceListing | None = None
    """The images that are labelled; None if the plan has no such listing."""

    def keep(self, url: str) -> None:
        """Writes what belongs to the plan into the dataset that was begun at url."""
        if self.listing is not None:
            keep_listing(url, self.listing)


def planned(config: Config, stage: Stage, models: Models) -> Planned:
    """The plan of a stage's dataset. Raises UserError for all that would stop it."""
    if stage == "generate":
        return Planned(make_plan(config, models))
    found = list_source(config, _known_listing(config.label.url))
    num = found.num_squares if config.label.at == "model" else len(found.listing.names)
    plan = make_label_plan(
        config,
        models,
        num,
        source_sha256=found.listing.digest,
        reading=asdict(found.reading),
        relabels=None,
    )
    return Planned(plan, found.listing)


def _known_listing(url: str) -> SourceListing | None:
    """The listing of the dataset of labels that lies at url; None if there is none."""
    try:
        existing = find_plan(url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return find_listing(url, existing.recipe["source_sha256"]) if existing.lists_source else None
