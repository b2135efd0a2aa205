"""`factory suggest`: the images whose masks would teach most, packed for annotation tools."""

from dataclasses import dataclass

import numpy as np

from factory import storage
from factory.config import Config
from factory.data.loading import LoadedSource, first_lines, load
from factory.diffusion.checkpoints import Model
from factory.errors import Problems, counted
from factory.labeling.commands import available_device, load_models
from factory.labeling.head import Head
from factory.progress import tell
from factory.shards.free_place import check_free
from factory.storage import Folder
from factory.suggesting.candidates import Candidates, check_enough, find_candidates
from factory.suggesting.folder import SHEET, Circumstances, write_suggestions
from factory.suggesting.ranking import Known, rank, suggestions


@dataclass(frozen=True)
class Prepared:
    """All that suggesting needs."""

    model: Model
    head: Head
    head_hash: str
    candidates: Candidates
    known: Known


def check(config: Config) -> Prepared:
    """The models, the images to choose from, none of them read, and those that are known; writes
    nothing. Raises UserError."""
    others = () if config.suggest.source else ("data.unlabelled",)
    model, head, head_hash = load_models(config, *others)
    problems, size, channels = Problems(), model.image_size, model.channels
    with problems.collected():
        candidates = find_candidates(config, size, channels)
        check_enough(candidates, config.suggest.num)
    known = _known(config, size, channels, problems)
    with problems.collected():
        check_place(config.suggest.url)
    problems.raise_if_any()
    return Prepared(model, head, head_hash, candidates, known)


def check_place(url: str) -> None:
    """Raises UserError where a place holds anything, or cannot be written to."""
    try:
        check_free(url, Folder(url).entries())
    except OSError as error:
        raise storage.to_user_error(url, error, "listed", "Choose another --out.") from None
    storage.check_writable(url)


def _known(config: Config, size: int, channels: int, problems: Problems) -> Known:
    """The images of data.labelled and data.test, without their masks."""
    none = LoadedSource(np.zeros((0, size, size, channels), np.uint8), None, (), None, ())
    labelled, test = (
        none if source is None else load(source, size, False, channels)
        for source in (config.data.labelled, config.data.test)
    )
    for problem in first_lines([*labelled.problems, *test.problems]):
        problems.add(problem)
    return Known(labelled.images, labelled.names, test.images)


def suggest(config: Config) -> list[str]:
    """Writes the suggestions to suggest.url; returns what there is to tell, as lines.

    Raises UserError, with nothing written; OSError while writing.
    """
    given = check(config)
    settings, device = config.suggest, available_device()
    given.model.unet.to(device)
    given.head.to(device)
    candidates, num_known = given.candidates, len(given.known.images)
    tell(
        f"suggest | {counted(len(candidates.names), 'image')} of {candidates.total:,} to choose "
        f"from, {counted(num_known, 'image')} labelled | on {device}"
    )
    ranked = rank(given.model, given.head, candidates, given.known)
    chosen = ranked.chosen(settings.num, settings.uncertainty_weight)
    found = suggestions(given.model, given.head, candidates, ranked, chosen, given.known)
    known = Circumstances(
        given.model.model_hash,
        given.head_hash,
        given.head.config.classes,
        candidates.total,
        len(ranked.names),
        settings.uncertainty_weight,
    )
    write_suggestions(settings.url, found, known)
    return [storage.join(settings.url, SHEET), settings.url]
