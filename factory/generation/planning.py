"""The plan of the dataset that a config asks for, from its models and, for labels, its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from factory.config import Config
from factory.errors import DamagedShard, Problems, UserError, counted, some
from factory.generation.label_listing import list_source
from factory.generation.label_place import check_place
from factory.generation.label_recipe import make_label_plan
from factory.generation.recipe import Models, make_plan
from factory.generation.relabelled_images import dataset_to_relabel, manifest_to_relabel
from factory.progress import tell
from factory.shards import mask_files
from factory.shards.columns import SCORE_COLUMNS
from factory.shards.free_place import plan_at
from factory.shards.plan import Plan
from factory.shards.random_access import ShardIndex
from factory.shards.source_listing import SourceListing, find_listing, keep_listing

Stage = Literal["generate", "label"]
"""The commands that write datasets."""
_RENAME = "Rename it, or label with --as parquet."
_AS_ROWS = "The dataset keeps its names: label with --as parquet."


@dataclass(frozen=True)
class Planned:
    """A plan, and what belongs to it in the ledger."""

    plan: Plan
    listing: SourceListing | None = None
    """The images that are labelled; None if the plan has no such listing."""

    def keep(self, url: str, replace: bool = False) -> None:
        """Writes what belongs to the plan into the dataset that was begun at url; replace: as for
        `keep_listing`."""
        if self.listing is not None:
            keep_listing(url, self.listing, replace)


def planned(config: Config, stage: Stage, models: Models, anew: bool = False) -> Planned:
    """The plan of a stage's dataset. Raises UserError for all that would stop it.

    anew: all images are read, whatever a listing that the dataset has says of them.
    """
    if stage == "generate":
        existing = plan_at(config.generate.url)
        knows_none = existing is not None and not existing.tells_distances
        return Planned(make_plan(config, models, tells_distances=not knows_none))
    if (url := dataset_to_relabel(config)) is not None:
        return Planned(_plan_to_relabel(config, models, url))
    check_place(config)
    # Before all images are read, for which there may be no place.
    existing = plan_at(config.label.url)
    known, was_scored = None, None
    if existing is not None and existing.lists_source:
        digest = existing.recipe["source_sha256"]
        known = None if anew else find_listing(config.label.url, digest)
        was_scored = existing.is_scored
    found = list_source(config, models, known, was_scored)
    is_scored = found.listing.truth_sha256s is not None
    plan = make_label_plan(
        config,
        models,
        len(found.rows),
        columns=("source", *(SCORE_COLUMNS if is_scored else ())),
        source_sha256=found.listing.digest,
        left_out=len(found.listing.left_out),
        reading=found.reading.facts,
        masks_keep_endings=_keep_endings(config, found.rows),
    )
    return Planned(plan, found.listing)


def _keep_endings(config: Config, names: Sequence[str]) -> bool:
    """True if mask files are written, and one of them would share a name with another, or with a
    folder of others, without the endings of their images. Raises UserError if they cannot have
    these names."""
    if config.label.format != "png":
        return False
    found = mask_files.shared(_mask_paths(names, _RENAME, with_ending=False))
    if not found:
        return False
    _check_apart(names, _RENAME)
    tell(f"label | {counted(len(found), 'name')} would be shared without endings: all are kept")
    return True


def _check_apart(names: Sequence[str], remedy: str) -> None:
    """Raises UserError where masks that keep the endings of images of these names cannot all be
    files."""
    if shared := mask_files.shared(_mask_paths(names, remedy, with_ending=True)):
        raise UserError(
            f"label.source: {some(shared)} would be several masks, or a mask and a folder of "
            f"masks. {remedy}"
        )


def _mask_paths(names: Sequence[str], remedy: str, with_ending: bool) -> list[str]:
    """The files of the masks of images of these names. Raises UserError with all problems."""
    problems, paths = Problems(), []
    for name in names:
        try:
            paths.append(mask_files.path_of(name, with_ending))
        except DamagedShard as error:
            problems.add(f"label.source: {error}, so that its mask cannot have it. {remedy}")
    problems.raise_if_any()
    return paths


def _plan_to_relabel(config: Config, models: Models, url: str) -> Plan:
    """The plan of new labels for the images of the dataset at url. Raises UserError."""
    manifest = manifest_to_relabel(url)
    tell(f"label | new labels for the images of run {manifest.run_id} | {url}")
    if unused := _keys_for_files(config):
        tell(f"label | {', '.join(unused)} of label.source not used: rows are taken as they are")
    has_files = config.label.format == "png" and not manifest.plan.is_drawn
    if has_files:
        _check_apart(ShardIndex(url).image_names(), _AS_ROWS)
    return make_label_plan(
        config,
        models,
        manifest.rows,
        columns=() if manifest.plan.is_drawn else ("source",),
        source_sha256=manifest.root,
        masks_keep_endings=has_files,
        relabels=manifest.run_id,
        val_fraction=None if config.label.format == "png" else manifest.plan.val_fraction,
    )


def _keys_for_files(config: Config) -> list[str]:
    """The keys of label.source, beside its kind and url, that say how files are chosen and read."""
    source = config.label.source
    assert source is not None, "its url is known"
    fields = type(source).model_fields
    return [
        key
        for key, field in fields.items()
        if key not in ("kind", "url") and getattr(source, key) != field.default
    ]
