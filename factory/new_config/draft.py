"""A config for what lies at some places: all that it will say, and what is not sure of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory import storage
from factory.data.items import ImageFile
from factory.data.kinds import resolving
from factory.data.kinds.class_keys import ClassKeys
from factory.data.recognizing import split_lists
from factory.data.recognizing.candidates import Files
from factory.errors import Problems, counted, some
from factory.new_config import beside, drawn_again, intensities, looking, splitting
from factory.new_config.looking import Images
from factory.new_config.roles import ROLES, Role, Roles
from factory.new_config.shape import Shape, fit_of, shape_of

_FEW_UNLABELLED = 500


@dataclass
class Draft:
    """What a config will say."""

    roles: Roles
    classes: ClassKeys | None = None
    """Those of labelled and test; None without masks."""
    images: dict[Role, Images] = field(default_factory=dict)
    shape: Shape | None = None
    channels: int | None = None
    """1 if all images are grey; None otherwise."""
    lists: dict[str, Sequence[str]] = field(default_factory=dict)
    """Lists of names by the key under which a file beside the config has them."""
    said: list[str] = field(default_factory=list)
    """Sentences on what was decided."""
    doubts: list[str] = field(default_factory=list)
    """What people should look at, each the end of a sentence."""

    @property
    def to_label(self) -> Role | None:
        """The section whose images get masks from the ensemble: one that has images without any,
        or at least images that are not learned from; None where no masks are learned from."""
        if "labelled" not in self.sections:
            return None
        has_more = self.num("unlabelled") > self.num("labelled")
        return "unlabelled" if has_more or "test" not in self.sections else "test"

    def num(self, role: Role) -> int:
        """The number of images of a section."""
        return len(self.lists.get(role, ())) or self.images[role].num

    @property
    def sections(self) -> dict[Role, dict[str, Any]]:
        """The sections in their order."""
        return {role: self.roles.sections[role] for role in ROLES if role in self.roles.sections}


def draft(roles: Roles, lists_url: str, preset: str | None, problems: Problems) -> Draft:
    """A config for these places; what cannot be read is added to problems. Raises OSError.

    lists_url: the file that will have the lists of names. preset: the one that is asked for, if
    any.
    """
    made = Draft(roles)
    _add_classes(made, problems)
    if problems.found:
        return made
    urls = {role: _urls(made, role, problems) for role in made.sections}
    if not problems.found and {"labelled", "test"} <= urls.keys():
        _check_apart(made, urls["labelled"], urls["test"], problems)
    if problems.found:
        return made
    _add_intensities(made)
    if "labelled" in urls:
        _doubt_unused_folders(made)
    else:
        _doubt_other_files(made)
    if "labelled" in urls and "test" not in urls:
        _split_labelled(made, urls)
    if "test" in made.roles.sections:
        _keep_test_apart(made, urls)
    for key in made.lists:
        made.roles.sections[_role(key)] |= {"names_url": lists_url, "names_key": key}
    _add_geometry(made, preset)
    if all(images.are_grey for images in made.images.values()):
        made.channels = 1
        made.said.append("data.channels: 1, as no image has a colour")
    return made


def _doubt_unused_folders(made: Draft) -> None:
    """Names folders of pictures beside images and masks of which nothing is read, and what is not
    sure of those that are."""
    place = made.roles.places["labelled"]
    if question := place.candidate.question:
        made.doubts.append(question)
    taken = tuple(f"{s['url']}/" for s in made.sections.values() if s["kind"] == "folder")
    every = beside.unused_folders(place)
    unused = [name for name in every if not f"{storage.join(place.url, name)}/".startswith(taken)]
    items = [one.item for one in made.images["labelled"].values]
    files = [item for item in items if isinstance(item, ImageFile) and len(item.mask_paths) == 1]
    if shown := drawn_again.told(place, unused, files):
        made.said.append(drawn_again.sentence(place.url, shown))
    if unused := [folder for folder in unused if folder not in shown]:
        of_same = beside.of_same_images(place, made.roles.sections["labelled"], unused)
        listed = f"{some(unused)}{of_same}"
        made.doubts.append(f"whether pictures below {place.url} are needed, too: {listed}")
    if rest := beside.unused_splits(place, list(made.sections.values())):
        made.doubts.append(f"whether other splits of {place.url} are needed, too: {some(rest)}")


def _doubt_other_files(made: Draft) -> None:
    """Names files beside images that may be labels in a form that is not read."""
    for place in made.roles.places.values():
        if boxes := place.candidate.boxes:
            made.doubts.append(f"{place.url}: {boxes.rstrip('.')}")
        elif question := place.candidate.question:
            made.doubts.append(question)
        elif why := place.why_no_masks:
            made.doubts.append(f"whether there are masks, too: {why.rstrip('.')}")
        elif others := beside.may_be_labels(place):
            made.doubts.append(
                f"whether {others} below {place.url} are labels: outlines of YOLO, COCO and "
                "labelme are read, boxes and other forms are not"
            )


def _role(key: str) -> Role:
    """The section of a list, whose key is its name."""
    return next(role for role in ROLES if role == key)


def _add_classes(made: Draft, problems: Problems) -> None:
    """Adds the keys of the classes to the sections that need them."""
    role: Role = "labelled" if "labelled" in made.sections else "test"
    if role not in made.sections:
        return
    section, place = made.sections[role], made.roles.places[role]
    others = [made.sections["test"]] if role == "labelled" and "test" in made.sections else []
    made.classes = resolving.classes_of(section, place.tree, problems, *others)
    if made.classes is None:
        return
    keys = made.classes.keys
    for other in made.sections.values():
        if other["kind"] != "folder":
            other |= resolving.keys_of_kind(other["kind"], keys)
    if made.classes.is_guess:
        made.doubts.append("the names of the classes, and what the masks have for each")
    made.doubts += made.classes.doubts


def _urls(made: Draft, role: Role, problems: Problems) -> dict[str, str]:
    """The place of each of a section's images, by its name, with links followed; all that have a
    mask where masks are meant. How they are stored is kept. Images without a mask are left out,
    which is said."""
    section, labelled = made.roles.sections[role], role != "unlabelled"
    place, found = made.roles.places[role], Problems()
    items = looking.stands_for(section, labelled, found)
    if found.found and labelled and section["kind"] == "pairs":
        again = Problems()
        skipping = {**section, "unpaired": "skip"}
        paired = looking.stands_for(skipping, labelled, again)
        if paired and not again.found and not beside.numbers_differ(place, paired):
            section["unpaired"] = "skip"
            items, found = paired, again
    _tell_unpaired(made, role, items, found, problems)
    if problems.found:
        return {}
    made.images[role] = images = looking.images_of(items)
    _add_reading(made, role, images)
    if labelled:
        _add_masks(made, section, role, items)
    what = counted(len(items), "image with a mask", "images with masks")
    plain = counted(len(items), "image")
    made.said.append(
        f"data.{role}: {section['url']}: taken as {made.roles.words[role]}: "
        f"{what if labelled else plain}"
    )
    if images.num_looked < images.num:
        made.said[-1] += f", of which {images.num_looked:,} were looked into"
    return {item.name: storage.resolved(item.image_url) for item in items}


def _check_apart(
    made: Draft, labelled: Mapping[str, str], test: Mapping[str, str], problems: Problems
) -> None:
    """Refuses places to measure on that hold images that are learned from, under whatever name."""
    known = set(labelled.values())
    shared = [name for name, url in test.items() if url in known]
    if not shared:
        return
    one, other = (made.roles.places[role].url for role in ("labelled", "test"))
    num = f"all {len(test):,}" if len(shared) == len(test) else f"{len(shared):,} of {len(test):,}"
    problems.add(
        f"{other}: {num} images of test are images of labelled, {one}, too ({some(shared)}): what "
        "is measured on images that were learned from says nothing. Name one place, of which a "
        "part is then measured on, or two that share no image, with --labelled and --test."
    )


def _tell_unpaired(
    made: Draft, role: Role, items: Sequence[Any], found: Problems, problems: Problems
) -> None:
    """Adds why a section's images and masks are not paired, or not as they are meant.

    items: its images with masks. found: the problems with them.
    """
    place, section = made.roles.places[role], made.roles.sections[role]
    is_paired = role != "unlabelled" and section["kind"] == "pairs"
    if (is_paired or found.found) and (otherwise := beside.said_otherwise(place, items)):
        problems.add(otherwise)
        return
    problems.found.extend(found.found)
    if found.found and beside.has_masks_among(place):
        problems.add(
            f"{section['url']}: no rule was found that pairs these masks with images. Write a "
            "config with kind: pairs, where `images:` and `masks:` say how both are called, or "
            f"name the folder of the images alone with --unlabelled.{beside.of_tasks(place)}"
        )


def _add_reading(made: Draft, role: Role, images: Images) -> None:
    """Adds how the files of a section's images are read, where that is not as they are."""
    section = made.roles.sections[role]
    if images.have_frames:
        section["frames"] = "first"
        made.doubts.append(
            f"whether the first picture of each file of {role} is meant (frames: first): files of "
            "several pages or frames are there, and the others are not used. Save each as a file "
            "of its own to use all"
        )


def _add_intensities(made: Draft) -> None:
    """Adds which stored values become black and white, where 8 bits would lose them."""
    chosen = intensities.choose({role: images.values for role, images in made.images.items()})
    for role, intensity in chosen.items():
        if intensity == "percentiles":
            made.roles.sections[role]["intensity"] = intensity
            made.doubts.append(
                f"intensity of {role}: percentiles of each image, as no range of values is good "
                f"for all of them: name one if a value means the same in all{_by_some(made, role)}"
            )
        else:
            low, high = intensity
            made.roles.sections[role]["intensity"] = [low, high]
            made.doubts.append(
                f"intensity of {role}: {low:g} becomes black, {high:g} white{_by_some(made, role)}"
            )


def _by_some(made: Draft, role: Role) -> str:
    """The end of what is told of a section of which not all images were looked into; empty of
    others."""
    images = made.images[role]
    if images.num_looked >= images.num:
        return ""
    return f" (by {images.num_looked:,} of its {images.num:,} images; `factory inspect` reads all)"


def _add_masks(made: Draft, section: dict[str, Any], role: Role, items: Sequence[Any]) -> None:
    """Says what is left out beside images and masks, and that masks lie on the stored pixels, or
    that shapes were drawn on upright images, as programs show them, where that is as likely as
    anything."""
    found = resolving.section(section).find(True, Problems())
    made.doubts += [note.rstrip(".") for note in found.notes]
    if found.rules is not None and looking.are_turned_apart(items, found.rules):
        is_drawn = section["kind"] in resolving.DRAWN
        section["exif"] = "apply_to_images" if is_drawn else "apply_to_masks"
        where = "upright photographs" if is_drawn else "the pixels as photographs are stored"
        made.doubts.append(f"whether masks of {role} lie on {where} (exif): look at the overlays")


def _split_labelled(made: Draft, urls: dict[Role, dict[str, str]]) -> None:
    """Makes a part of the labelled images those to measure on, and says which lists of people's own
    tell no split."""
    place = made.roles.places["labelled"]
    files = Files(place.tree, place.url, place.tree.names(), ())
    made.doubts += split_lists.misfits(files, [*urls["labelled"]])
    names = [*urls["labelled"]]
    parts = splitting.split(names)
    if parts is None:
        made.doubts.append("data.test: one labelled image is too few to measure on, too")
        return
    roles = made.roles
    roles.add("test", roles.places["labelled"], roles.sections["labelled"], "")
    made.images["test"] = made.images["labelled"]
    made.lists |= {"labelled": parts.labelled, "test": parts.test}
    urls["test"] = {name: urls["labelled"][name] for name in parts.test}
    together = f", those of one {parts.by} together" if parts.by else ""
    made.said.append(
        f"data.test: {len(parts.test):,} of the {len(names):,} labelled images, chosen by hashes "
        f"of their names{together}; {len(parts.labelled):,} are left to learn from"
    )
    if not parts.by:
        made.doubts.append(
            "whether neighbours show the same thing (frames of a video, slices of one body): then "
            "divide labelled and test by hand"
        )


def _keep_test_apart(made: Draft, urls: Mapping[Role, Mapping[str, str]]) -> None:
    """Leaves the images of test out of those that the DDPM learns from, where they are the same
    files."""
    if "unlabelled" not in urls:
        return
    test = set(urls["test"].values())
    known = [name for role in ("labelled", "test") for name in urls[role]]
    others = beside.other_pictures(known, [*urls["unlabelled"]])
    kept = {name: url for name, url in urls["unlabelled"].items() if name not in others}
    rest = [name for name, url in kept.items() if url not in test]
    if rest and len(rest) < len(urls["unlabelled"]):
        made.lists["unlabelled"] = rest
        left = counted(len(rest), "image")
        made.said.append(f"data.unlabelled: without the images of test: {left}")
        if others:
            made.doubts.append(
                f"whether pictures that are called like images with masks, and more, are images to "
                f"learn from: {some(sorted(others))} are left out"
            )


def _add_geometry(made: Draft, preset: str | None) -> None:
    """Adds how images become square, and the size and length of the training."""
    sizes = [size for images in made.images.values() for size in images.sizes]
    # One for all sections: what is learned of cut images does not hold for those cut otherwise.
    fit = fit_of(sizes)
    for role, section in made.roles.sections.items():
        if fit_of(made.images[role].sizes):
            section["fit"] = fit
    if any("fit" in section for section in made.roles.sections.values()):
        made.doubts.append("fit: crop, pad, stretch or tile, for images that are not square")
    first = next(role for role in ROLES if role in made.images)
    if (num := made.num(first)) < _FEW_UNLABELLED:
        made.doubts.append(
            f"whether there are more such images, with or without masks: of {num:,} the DDPM "
            "learns little more than to repeat them"
        )
    made.shape = shape_of(Images(num, made.images[first].sizes), preset)
