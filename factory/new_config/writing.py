"""A config as text with comments."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory.new_config.draft import Draft
from factory.new_config.roles import Role
from factory.new_config.shape import MAX_PASSES
from factory.yaml_writing import value_as_yaml

_ABOUT: Mapping[Role, str] = {
    "unlabelled": "What the DDPM learns from, without masks.",
    "labelled": "What the ensemble learns from: images with masks.",
    "test": "What the ensemble is measured on: images with masks that it has not seen.",
}
_MISSING: Mapping[Role, str] = {
    "unlabelled": "{kind: folder, url: FOLDER_OF_IMAGES}",
    "labelled": "{kind: auto, url: FOLDER_OF_IMAGES_AND_MASKS, classes: [background, thing]}",
    "test": "{kind: auto, url: FOLDER_OF_IMAGES_AND_MASKS, classes: [background, thing]}",
}
_WIDTH = 94
"""The most characters of a line of a question."""
_COMMENTS = {
    "fit": "crop, pad, stretch or tile",
    "intensity": "the stored values that become black and white",
    "exif": "apply_to_masks, apply_to_images, apply or ignore",
    "frames": "of files of several pages or frames the first alone",
    "unpaired": "leaves out images without a mask",
}


def config_text(draft: Draft, run: str, command: str) -> str:
    """The config of a draft. run: the folder of the results. command: what it was written by."""
    return "\n".join([*_lines(draft, run, command), ""])


def _lines(draft: Draft, run: str, command: str) -> Iterator[str]:
    shape = draft.shape
    assert shape is not None, "a draft without problems has a shape"
    size = shape.row.image_size
    yield f"# Written by `{command}`."
    yield "# `factory inspect --config THIS_FILE` says whether all of it can be read, and shows it."
    yield ""
    yield f"preset: {shape.preset}  # {size}x{size} pixels; others: toy, 32px, 64px, 128px, 256px"
    yield "data:"
    if draft.channels is not None:
        yield f"  channels: {draft.channels}  # grey; 3 for a DDPM of colour images"
    for role, about in _ABOUT.items():
        yield f"  # {about}"
        if section := draft.sections.get(role):
            yield f"  {role}:"
            classes = draft.classes if role == "labelled" else None
            yield from _section(section, classes.doubts if classes else ())
        else:
            yield f"  # {role}: {_MISSING[role]}"
    yield "train:"
    yield f"  url: {value_as_yaml(run)}"
    yield f"  num_steps: {shape.num_steps}  # {_about_steps(draft)}"
    yield "models:"
    yield f"  ddpm_url: {value_as_yaml(f'{run}/model')}  # what train makes, or a published DDPM"
    yield f"  ensemble_url: {value_as_yaml(f'{run}/ensemble')}"
    yield "evaluate:"
    yield f"  url: {value_as_yaml(f'{run}/evaluation')}"
    yield "generate:"
    yield f"  url: {value_as_yaml(f'{run}/dataset')}"
    yield "  num: 1000  # pairs of image and mask"
    yield "label:"
    yield f"  url: {value_as_yaml(f'{run}/labels')}"
    yield "  # The images that `factory label` makes masks for, unless it is given a folder."
    if (to_label := draft.to_label) is None:
        yield "  # source: {kind: folder, url: FOLDER_OF_IMAGES}"
    else:
        yield "  source:"
        yield from _section(draft.sections[to_label])


def _section(section: Mapping[str, Any], questions: Sequence[str] = ()) -> Iterator[str]:
    """The keys of a section. questions: what is not sure of its classes."""
    for key, value in section.items():
        comment = f"  # {_COMMENTS[key]}" if key in _COMMENTS else ""
        if key in ("classes", "classes_url"):
            for question in questions:
                lines = textwrap.wrap(f"Check {question}.", _WIDTH, break_on_hyphens=False)
                yield from (f"    # {line}" for line in lines)
        if key == "classes":
            yield f"    {key}:"
            yield from (f"      - {value_as_yaml(entry)}" for entry in value)
        else:
            yield f"    {key}: {value_as_yaml(value)}{comment}"


def _about_steps(draft: Draft) -> str:
    """What the steps cost, and why they are so many."""
    shape = draft.shape
    assert shape is not None
    row, why = shape.row, "the preset's"
    if shape.num_steps < row.num_steps:
        why = (
            f"few images: the preset's {row.num_steps:,} would show each more than "
            f"{MAX_PASSES:,} times"
        )
    return f"{why}; {shape.cost}"
