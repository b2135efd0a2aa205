"""`factory adopt`: corrected masks become labels, beside those that there are; what people changed,
and what the ensemble that is fitted on all of them gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from factory.classes import Classes
from factory.config import Config, dump_config, required
from factory.data.inspection import check_disjoint
from factory.data.kinds.pairs import PairsSource
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import WEIGHTS_DTYPES, Model
from factory.errors import Problems, UserError, counted
from factory.labeling import evaluation
from factory.labeling.calibrating import check_calibration
from factory.labeling.commands import available_device, fitted, load_models
from factory.labeling.fitting import new_head_config
from factory.labeling.folds import with_labels
from factory.labeling.head import Head
from factory.labeling.heads import save_head
from factory.progress import tell
from factory.shards.layout import to_json
from factory.storage import Folder
from factory.suggesting.changes import Changes, change_of
from factory.suggesting.command import check_place
from factory.suggesting.corrected import Corrected, read_corrected
from factory.suggesting.folder import (
    SuggestedImage,
    Suggestions,
    read_suggestions,
    suggested_images,
)
from factory.suggesting.gain import Gain, gain_by_parts, gain_on_test
from factory.suggesting.merging import OldPairs, Pair, squares, write_pairs

CHANGES, ENSEMBLE, CONFIG = "changes.json", "ensemble", "adopted.yaml"
"""Names in the folder: what changed, the new ensemble, and the config for what comes next."""
_WRITTEN = (
    "# Written by `factory adopt`: its config, with the labelled images and the ensemble it made."
)
_MIN_OLD = 2
"""Labelled images without which nothing can be measured on some by what others taught."""


@dataclass(frozen=True)
class Prepared:
    """All that adopting needs."""

    model: Model
    head: Head
    old: OldPairs
    suggested: Sequence[SuggestedImage]
    """Those of which a mask came back."""
    corrected: Mapping[str, Corrected]
    num_missing: int
    classes: Classes
    test: Labelled | None

    @property
    def new_pairs(self) -> list[Pair]:
        """The suggested images with their corrected masks."""
        return [
            Pair(f"{each.entry.stem}.png", each.pixels, self.corrected[each.entry.stem].mask)
            for each in self.suggested
        ]


def check(config: Config) -> Prepared:
    """Reads the models, all images and what came back; writes nothing. Raises UserError."""
    masks = required(
        config, "adopt.masks", "models.ddpm_url", "models.ensemble_url", "data.labelled"
    )
    model, head, _ = load_models(config, "data.labelled")
    problems, classes = Problems(), head.config.classes
    found, corrected = None, dict[str, Corrected]()
    with problems.collected():
        found = read_suggestions(config.suggest.url)
        _check_same_classes(found, classes, config.suggest.url)
        sizes = {each.stem: (each.width, each.height) for each in found.suggestions}
        corrected = read_corrected(masks, sizes, classes, problems)
    entries = [each for each in found.suggestions if each.stem in corrected] if found else []
    suggested = list(suggested_images(config.suggest.url, entries, problems))
    old, test = None, None
    with problems.collected():
        old = _old_pairs(config, model, classes)
    with problems.collected():
        test = _test(config, model, head)
    with problems.collected():
        check_place(config.adopt.url)
    problems.raise_if_any()
    assert found is not None and old is not None
    num_missing = len(found.suggestions) - len(suggested)
    given = Prepared(model, head, old, suggested, corrected, num_missing, classes, test)
    _check_squares(given, config)
    return given


def _check_same_classes(found: Suggestions, classes: Classes, url: str) -> None:
    if found.class_names != classes.names:
        raise UserError(
            f"{url}: its classes {list(found.class_names)} are not those of the ensemble, "
            f"{list(classes.names)}. Name the ensemble that suggested, or that folder."
        )


def _old_pairs(config: Config, model: Model, classes: Classes) -> OldPairs:
    """The labelled images that there are. Raises UserError where no ensemble can be fitted on them
    and further ones."""
    source = required(config, "data.labelled")
    known = read_labelled(source, model.image_size, model.channels)
    if known.classes.names != classes.names:
        raise UserError(
            f"data.labelled: its classes {list(known.classes.names)} are not those of the "
            f"ensemble, {list(classes.names)}. Name the matching ensemble."
        )
    if config.data.test is None and int(with_labels(known).sum()) < _MIN_OLD:
        raise UserError(
            f"data.labelled: {counted(len(known), 'image')} do not tell what further ones teach. "
            "Name data.test."
        )
    new_head_config(model, classes, config)
    check_calibration(known, config.fit.calibration_folds)
    return OldPairs.read(source, model.image_size, model.channels)


def _test(config: Config, model: Model, head: Head) -> Labelled | None:
    """The images of data.test. Raises UserError."""
    if config.data.test is None:
        return None
    test = read_labelled(config.data.test, model.image_size, model.channels)
    evaluation.check_classes(head, test)
    return test


def _check_squares(given: Prepared, config: Config) -> None:
    """Raises UserError where what would be learned from is among the test images, or is smaller
    than the tiles of data.labelled."""
    found, names, problems = [], [], Problems()
    for pair in (*given.old.pairs, *given.new_pairs):
        try:
            parts = list(squares(pair.image, given.model.image_size, given.old.reading))
        except ValueError:
            problems.add(
                f"{pair.name}: is smaller than the tiles of data.labelled "
                f"(tile_size: {given.old.reading.tile_size}). Leave its mask out."
            )
            continue
        found += parts
        names += [pair.name] * len(parts)
    problems.raise_if_any()
    images = np.stack(found)
    learned = Labelled(images, np.zeros(images.shape[:3], np.uint8), tuple(names), given.classes)
    if given.test is not None:
        check_disjoint(learned, given.test)


def adopt(config: Config) -> list[str]:
    """Writes the labelled images and the new ensemble to adopt.url; returns what there is to tell,
    as lines: what changed, and what was gained.

    Raises UserError, with nothing written; OSError while writing.
    """
    given, folder = check(config), Folder(config.adopt.url)
    changes = _changes(given)
    pairs = [*given.old.pairs, *given.new_pairs]
    source, names = write_pairs(folder.url, pairs, given.classes, given.old.reading)
    folder.write(CHANGES, to_json(changes.as_json()))
    num_new, num_old = counted(len(given.suggested), "new pair"), len(given.old.pairs)
    tell(f"adopt | {num_new} beside {num_old:,} | {folder.url}")
    labelled = read_labelled(source, given.model.image_size, given.model.channels)
    new_head = fitted(given.model, labelled, config)
    ensemble_url = folder.url_of(ENSEMBLE)
    save_head(new_head, ensemble_url, WEIGHTS_DTYPES[config.fit.weights_dtype])
    new = set(names[len(given.old.pairs) :])
    gain = _gain(given, new_head, labelled, new, config)
    folder.write(CHANGES, to_json({**changes.as_json(), "gain": gain.as_json()}))
    _write_config(config, source, ensemble_url, folder)
    return [*changes.lines(), *_notes(given), gain.line(), folder.url_of(CONFIG)]


def _changes(given: Prepared) -> Changes:
    num_classes = len(given.classes)
    found = [
        change_of(
            each.entry.stem,
            each.mask,
            given.corrected[each.entry.stem].mask,
            num_classes,
            each.entry.expected_iou,
        )
        for each in given.suggested
    ]
    return Changes(found, given.classes, given.num_missing)


def _gain(
    given: Prepared, new_head: Head, labelled: Labelled, new: set[str], config: Config
) -> Gain:
    """What the new ensemble gains over the old one; new: the names of the files of new images."""
    device = available_device()
    given.model.unet.to(device)
    if given.test is not None:
        before, after = (head.to(device) for head in (given.head, new_head))
        return gain_on_test(given.model, before, after, given.test, config)
    # The name of a tile ends with its place.
    is_new = np.array([name in new or name.rpartition("@")[0] in new for name in labelled.names])
    return gain_by_parts(given.model, labelled, is_new, config)


def _notes(given: Prepared) -> list[str]:
    """A line on layers that lay over others, where there were any."""
    hidden = {each.stem: each.num_hidden for each in given.corrected.values() if each.num_hidden}
    if not hidden:
        return []
    num = counted(sum(hidden.values()), "pixel")
    of_images = counted(len(hidden), "image")
    return [f"{num} of {of_images} had two labels: that of the upper region counts"]


def _write_config(config: Config, source: PairsSource, ensemble_url: str, folder: Folder) -> None:
    """Writes the config with which the next images are suggested."""
    models = config.models.model_copy(update={"ensemble_url": ensemble_url})
    update = {
        "data": config.data.model_copy(update={"labelled": source}),
        "models": models,
        "suggest": config.suggest.model_copy(update={"url": folder.url_of("suggestions")}),
        "adopt": config.adopt.model_copy(update={"url": folder.url_of("adopted"), "masks": None}),
    }
    text = dump_config(config.model_copy(update=update))
    folder.write(CONFIG, f"{_WRITTEN}\n{text}".encode())
