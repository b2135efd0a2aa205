"""Which of the places is learned from without masks, which with them, and which is measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from factory import storage
from factory.data.files.patterns import parse_images
from factory.data.kinds import choosing
from factory.data.recognizing.candidates import split_of
from factory.errors import Problems, some
from factory.new_config import beside, looking
from factory.new_config.looking import Place

Role = Literal["unlabelled", "labelled", "test"]
ROLES: tuple[Role, ...] = ("unlabelled", "labelled", "test")


@dataclass
class Roles:
    """The sections of a config, by their names in `data`; those that nothing is known for are not
    there."""

    sections: dict[Role, dict[str, Any]] = field(default_factory=dict)
    """Without keys of classes."""
    places: dict[Role, Place] = field(default_factory=dict)
    words: dict[Role, str] = field(default_factory=dict)
    """What each was taken for."""

    def add(self, role: Role, place: Place, section: Mapping[str, Any], words: str) -> None:
        """Gives a place a role."""
        self.sections[role], self.places[role] = dict(section), place
        self.words[role] = words


def assign(folders: Sequence[str], named: Mapping[Role, str], problems: Problems) -> Roles:
    """Tells the roles of places apart by what they hold, those that are named first."""
    roles = Roles()
    for role, url in named.items():
        place = _looked_at(url, problems)
        if place is not None:
            _take(roles, role, place, problems)
    for url in sorted(_each_once(folders, problems), key=_is_called_test):
        place = _looked_at(url, problems)
        if place is None:
            continue
        if doubt := place.candidate.doubt:
            beside_it = [other for other in folders if other != url]
            both = (
                f" If {some(beside_it)} has their images, name the folder that holds both in place "
                "of each."
                if beside_it
                else ""
            )
            told = f"{url}: {doubt}{both}"
            problems.add(f"{told} If they are images, name the folder with --unlabelled.")
        elif place.candidate.has_masks:
            _take_labelled(roles, place, problems)
        elif "unlabelled" not in roles.sections:
            _take(roles, "unlabelled", place, problems)
        else:
            _refuse(url, "holds images alone, and unlabelled is", roles, "unlabelled", problems)
    if "unlabelled" not in roles.sections and "labelled" in roles.sections:
        _take_images_of_labelled(roles)
    return roles


def _each_once(folders: Sequence[str], problems: Problems) -> list[str]:
    """The places without those that are named again, which is a problem."""
    first: dict[str, str] = {}
    again: dict[str, list[str]] = {}
    for url in folders:
        known = first.setdefault(storage.resolved(storage.normalize(url)), url)
        again.setdefault(known, []).append(url)
    for known, urls in again.items():
        if others := urls[1:]:
            more = "twice" if others == [known] else f"as {some(others)}, too"
            problems.add(f"{known}: is named {more}. Name each place once.")
    return [*again]


def _is_called_test(url: str) -> bool:
    """True if a place's name is that of what is measured on, in whatever order it was named."""
    return split_of(storage.name_of(storage.normalize(url))) in ("test", "validation")


def _looked_at(url: str, problems: Problems) -> Place | None:
    """The place, if it is clear what it is; its choices are a problem otherwise."""
    places = looking.look_at(url, problems)
    if len(places) > 1:
        choosing.only_one([place.candidate for place in places], None, url, problems)
        return None
    return places[0] if places else None


def _take(roles: Roles, role: Role, place: Place, problems: Problems) -> None:
    """Gives a place the role that was asked for."""
    candidate = place.candidate
    if role != "unlabelled" and not candidate.has_masks:
        told = (
            candidate.doubt
            or candidate.boxes
            or (
                f"holds images alone, and data.{role} needs masks beside them. Name a folder with "
                "masks, or this one with --unlabelled."
            )
        )
        problems.add(place.why_no_masks or f"{place.url}: {told}")
        return
    split = place.test_split if role == "test" else place.train_split
    if not candidate.needs_split and role == "unlabelled":
        split = None
    words = candidate.words + (f", split {split}" if split else "")
    section = candidate.of_split(split)
    if "names_url" in section:
        words += f" by {section['names_url']}"
    if role == "unlabelled" and candidate.has_masks:
        section, words = _images_alone(section), f"{words}, its images alone"
    roles.add(role, place, section, words)


def _take_labelled(roles: Roles, place: Place, problems: Problems) -> None:
    """Gives a place with masks the roles that are left: labelled and test, if it has splits."""
    if "labelled" in roles.sections:
        if "test" in roles.sections:
            _refuse(place.url, "holds masks, and labelled and test are", roles, "test", problems)
            return
        _take(roles, "test", place, problems)
        return
    _take(roles, "labelled", place, problems)
    if place.test_split and place.train_split and "test" not in roles.sections:
        _take(roles, "test", place, problems)
    rest = beside.left_over(place)
    known = [name for name in rest if name.lower() in beside.UNLABELLED] or rest
    if len(known) == 1 and "unlabelled" not in roles.sections:
        section = beside.images_of_folder(place, known[0])
        roles.add("unlabelled", place, section, f"kind folder, {known[0]}")


def _take_images_of_labelled(roles: Roles) -> None:
    """Learns from the images of the labelled place, too, without their masks."""
    place = roles.places["labelled"]
    candidate = place.candidate
    section = dict(candidate.keys) if not candidate.needs_split else roles.sections["labelled"]
    if candidate.splits and "split" in roles.sections["labelled"] and _parts_folders(candidate):
        section = roles.sections["labelled"]
    words = "the images of labelled, without their masks"
    roles.add("unlabelled", place, _images_alone(section), words)


def _parts_folders(candidate: Any) -> bool:
    """True if the splits of a layout are folders of their own."""
    from factory.data.recognizing.layouts import LAYOUTS

    layout = candidate.keys.get("layout")
    return layout is not None and bool(LAYOUTS[layout].images_of_split)


def _images_alone(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section that reads the images of pairs: their folder, where they have one."""
    if section["kind"] != "pairs" or section.get("layout"):
        return dict(section)
    pattern = parse_images(section.get("images", "images"))
    if not pattern.is_folder:
        return dict(section)
    url = storage.join(section["url"], *filter(None, pattern.below.split("/")))
    return {"kind": "folder", "url": url}


def _refuse(url: str, what: str, roles: Roles, role: Role, problems: Problems) -> None:
    """The problem of a place that no role is left for."""
    taken = some([roles.places[role].url for role in ROLES if role in roles.places])
    problems.add(
        f"{url}: {what} {taken} already. Say which is meant with --{role}, or leave one out."
    )
