"""The plan of the dataset that a config asks for, from its models and, for labels, its images."""

from dataclasses import asdict, dataclass
from typing import Literal

from factory.config import Config
from factory.generation.label_recipe import make_label_plan
from factory.generation.label_source import list_source
from factory.generation.recipe import Models, make_plan
from factory.generation.relabel_source import dataset_to_relabel, manifest_to_relabel
from factory.progress import tell
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
    if (url := dataset_to_relabel(config)) is not None:
        return Planned(_plan_to_relabel(config, models, url))
    found = list_source(config, _known_listing(config.label.url))
    num = found.num_squares if config.label.at == "model" else len(found.listing.names)
    plan = make_label_plan(
        config,
        models,
        num,
        columns=("source",),
        source_sha256=found.listing.digest,
        reading=asdict(found.reading),
    )
    return Planned(plan, found.listing)


def _plan_to_relabel(config: Config, models: Models, url: str) -> Plan:
    """The plan of new labels for the images of the dataset at url."""
    manifest = manifest_to_relabel(url)
    tell(f"label | new labels for the images of run {manifest.run_id} | {url}")
    return make_label_plan(
        config,
        models,
        manifest.rows,
        columns=() if manifest.plan.is_drawn else ("source",),
        source_sha256=manifest.root,
        relabels=manifest.run_id,
    )


def _known_listing(url: str) -> SourceListing | None:
    """The listing of the dataset of labels that lies at url; None if there is none."""
    try:
        existing = find_plan(url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return find_listing(url, existing.recipe["source_sha256"]) if existing.lists_source else None
