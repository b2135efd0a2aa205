"""The keys of a section that say its classes, of files of classes beside masks and of what these
hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from factory.errors import Problems, some

if TYPE_CHECKING:
    from factory.data.recognizing.class_finding import ClassFile
    from factory.data.surveying.mask_sampling import MaskSample
    from factory.data.surveying.proposal import Proposal


@dataclass(frozen=True)
class ClassKeys:
    """The keys of a section that say its classes."""

    keys: Mapping[str, Any]
    """`classes_url`, or `classes` and perhaps `ignore`; empty if the section brings its own, or
    what it needs to do so."""
    source: str
    """Where they are from, in a few words."""
    is_guess: bool = False
    doubts: tuple[str, ...] = ()
    """What people should look at, each the end of a sentence and perhaps what to write instead."""
    names: Sequence[str] = ()


def of_file_that_fits(files: "Sequence[ClassFile]", sample: "MaskSample") -> ClassKeys | None:
    """The keys of the file whose classes cover all that masks hold; None if there is none."""
    from factory.data.recognizing import class_finding

    file = class_finding.that_fits(files, sample)
    if file is None:
        return None
    beside = class_finding.ignored_beside(file.rules, sample)
    key = "colors" if file.rules.by_color else "ids"
    found = _of_file(file, [_plain(value) for value in getattr(beside, key)])
    if not class_finding.palettes_contradict(file.rules, sample):
        return found
    doubt = (
        f"whether the indices of palettes are the values of {file.url}: they have colours that it "
        "gives to other classes. If the colours are right, name the `colors` of each class"
    )
    return replace(found, doubts=(*found.doubts, doubt))


def by_what_masks_hold(
    files: "Sequence[ClassFile]", sample: "MaskSample", url: str, problems: Problems
) -> ClassKeys | None:
    """The keys that what masks hold makes likely, with what files of classes say of that; None
    after a problem. url: of the section."""
    from factory.data.recognizing import class_finding
    from factory.data.surveying import class_proposals

    if file := class_finding.that_fits_but_for_0(files, sample):
        found = _of_file(file, [[0, 0, 0] if sample.is_colored else 0])
        ground = "black" if sample.is_colored else "0"
        doubt = f"whether {ground}, which {file.url} does not name, is of no class"
        return replace(found, doubts=(doubt,))
    if divided := _of_divided(files, sample):
        return divided
    are_ordered = bool(files) and (sample.is_colored or class_finding.are_in_order(files[0].rules))
    names = files[0].names if are_ordered else ()
    of_colors = class_finding.names_of_colors(files)
    proposal = class_proposals.propose(sample, names, of_colors)
    if proposal is None:
        problems.add(f"{url}: {class_proposals.why_none(sample)}")
        return None
    if file := class_finding.that_is_nearest(files, proposal):
        found = _of_file(file, [])
        return replace(
            found, keys={**found.keys, "nearest_colors": True}, doubts=proposal.doubts[-1:]
        )
    found = _guessed(proposal, files)
    if not files or are_ordered:
        return found
    doubt = (
        f"what the values mean: {files[0].url} names {some(files[0].names)}, but by values that "
        "are not those of the masks"
    )
    return replace(found, doubts=(*found.doubts, doubt))


def _of_divided(files: "Sequence[ClassFile]", sample: "MaskSample") -> ClassKeys | None:
    """The keys of the file whose classes cover the ids of values that tell an object, too."""
    from factory.data.recognizing import class_finding
    from factory.data.surveying import class_proposals, object_ids

    division = object_ids.division_of(sample.files)
    if division is None:
        return None
    ids = [{division.id_of(value): num for value, num in file.items()} for file in sample.files]
    file = class_finding.that_fits(files, replace(sample, files=ids))
    if file is None or file.rules.by_color:
        return None
    found = _of_file(file, [])
    doubts = (class_proposals.about_division(division),)
    return replace(found, keys={**found.keys, **division.keys}, doubts=doubts)


def _of_file(file: "ClassFile", others: Sequence[Any]) -> ClassKeys:
    """The keys of a file of classes; a class that it calls ignored is none, and neither is what
    the masks hold beside them, the others."""
    from factory.data.classes.class_forms import means_ignored

    rules = file.rules
    ignored = [name for name in file.names if means_ignored(name)]
    key = "colors" if rules.by_color else "ids"
    if rules.has_thresholds or not (ignored or file.is_by_shown):
        keys: dict[str, Any] = {"classes_url": file.url}
        if others:
            keys["ignore"] = {key: [*others]}
        return ClassKeys(keys, f"of {file.url}", names=file.names)
    values = {
        name: [_plain(value) for value in getattr(rule, key)]
        for name, rule in zip(file.names, rules.spelt_out, strict=True)
    }
    keys = {"classes": [{"name": n, key: v} for n, v in values.items() if n not in ignored]}
    if left_out := [*(v for name in ignored for v in values[name]), *others]:
        keys["ignore"] = {key: left_out}
    names = [name for name in file.names if name not in ignored]
    source = f"of {file.url}" + (", by its colours" if file.is_by_shown else "")
    source += f", without {', '.join(ignored)}" if ignored else ""
    return ClassKeys(keys, source, names=names)


def _plain(value: Any) -> Any:
    """A value, or a colour as YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def _guessed(proposal: "Proposal", files: "Sequence[ClassFile]") -> ClassKeys:
    """The keys of a proposal."""
    names = tuple(e if isinstance(e, str) else str(e["name"]) for e in proposal.classes)
    source = f"by {proposal.seen} of the masks"
    if files and set(names) <= {*files[0].names, "background"}:
        source += f", with the names of {files[0].url}"
    return ClassKeys(proposal.keys, source, True, proposal.doubts, names)
