"""The source `kind: auto`: whatever lies at its url, of the kind that it is taken for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from factory.data.kinds import choosing, resolving
from factory.data.sections import OF_VALUES, FileSection, HasMasks, LabelledSection
from factory.errors import Problems, counted, some
from factory.values import Section
from factory.yaml_writing import value_as_yaml

if TYPE_CHECKING:
    from factory.data.files.trees import Tree
    from factory.data.items import Found, Item
    from factory.data.recognizing.candidates import Candidate

_CLASSES = ("classes", "classes_url", "ignore", *OF_VALUES)
"""The settings on masks, which say nothing where only images are read."""


class AutoSource(LabelledSection, FileSection):
    """Whatever lies at url: a published dataset, images beside masks, shards, images alone. What it
    is taken for is told wherever it is used."""

    purpose: ClassVar[str] = "whatever lies at url"
    has_masks: ClassVar[HasMasks] = "perhaps"
    brings_classes: ClassVar[bool] = True

    kind: Literal["auto"] = "auto"
    """The kind of source."""
    split: str | None = None
    """Only this split of what lies there, such as train or val."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images of what lies there. See `factory.data.items.Source`."""
        from factory.data.items import Found

        resolved = self._resolved(labelled, problems)
        if resolved is None:
            return Found()
        section, words = resolved
        of_kind = Problems()
        found = section.find(labelled, of_kind)
        keys = section.model_dump(exclude_unset=True, exclude_none=True)
        problems.found.extend(
            self._with_kind(problem, type(section), keys) for problem in of_kind.found
        )
        what = "image with a mask" if labelled else "image"
        more = "images with masks" if labelled else "images"
        note = f"taken as {words}: {counted(len(found.items), what, more)}"
        told = [self._with_kind(note, type(section), keys) for note in found.notes]
        return replace(found, notes=(f"{note}.", *told))

    def may_read(self, name: str) -> bool:
        """True: whatever lies there may change what it is taken for."""
        return True

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """A text for each item, as its kind has it. Raises OSError, UserError."""
        problems = Problems()
        labelled = bool(items) and items[0].mask_url is not None
        resolved = self._resolved(labelled, problems)
        problems.raise_if_any()
        assert resolved is not None
        return list(resolved[0].versions(items))

    def _resolved(
        self, labelled: bool, problems: Problems
    ) -> tuple[resolving.Recognised, str] | None:
        """The section that it stands for, in words, too; None after a problem."""
        recognised = choosing.recognise(self.url, problems)
        if recognised is None:
            return None
        tree, candidates = recognised
        if problem := self._none_meant(candidates, labelled):
            problems.add(problem)
            return None
        keys = choosing.only_one(candidates, self.split, self.url, problems)
        if keys is None:
            return None
        words = _words(candidates, keys, labelled)
        own = {k: v for k, v in self._own_keys().items() if labelled or k not in _CLASSES}
        if not labelled:
            return resolving.section({**keys, **own}, with_any_classes=True), words
        if problem := self._without_effect(keys["kind"], own, words):
            problems.add(problem)
            return None
        classes = {} if self.names_classes else self._classes(keys, tree, problems)
        return None if classes is None else (resolving.section({**keys, **own, **classes}), words)

    def _with_kind(self, sentence: str, kind: type[Section], keys: Mapping[str, Any]) -> str:
        """A sentence on what was recognised, with the section to write where it names a setting
        that only that kind has.

        keys: of that section.
        """
        others = [key for key in kind.model_fields if key not in type(self).model_fields]
        if not (missing := [key for key in others if f"`{key}:" in sentence]):
            return sentence
        known = {**self._own_keys(), **dict.fromkeys(missing)}
        more = {key: value for key, value in keys.items() if key not in known}
        written = [
            f"`{key}: {value_as_yaml(value)}`"
            for key, value in more.items()
            if (key, value) != ("url", self.url)
        ]
        return f"{sentence} Kind auto has no {some(missing)}: set {some(written)} for that."

    def _none_meant(self, candidates: "Sequence[Candidate]", labelled: bool) -> str:
        """Why none of the sections can be meant; empty if one can."""
        if doubt := candidates[0].doubt:
            more = "" if labelled else " If they are images, set kind: folder."
            return f"{self.url}: {doubt}{more}"
        if labelled and candidates[0].boxes:
            return f"{self.url}: {candidates[0].boxes}"
        if labelled and not any(candidate.has_masks for candidate in candidates):
            return (
                f"{self.url}: holds images, and nothing that is known as their masks. Put masks "
                "into a folder masks/ beside images/, or say where they lie: kind: pairs, with "
                "`images:` and `masks:`."
            )
        return ""

    def _without_effect(self, kind: str, own: Mapping[str, Any], words: str) -> str:
        """What is set and does nothing to masks of a kind; empty if nothing is. own: the keys."""
        unused = [key for key in OF_VALUES if own.get(key) and kind in resolving.DRAWN]
        if not unused:
            return ""
        return (
            f"{self.url}: taken as {words}, and {some(unused)} has no effect there, as masks are "
            "drawn. Leave it out."
        )

    def _own_keys(self) -> dict[str, Any]:
        """The keys that a config names, without those that this kind alone has."""
        set_ones = self.model_dump(exclude_unset=True, exclude_none=True)
        return {k: v for k, v in set_ones.items() if k not in ("kind", "url", "split")}

    def _classes(
        self, keys: dict[str, Any], tree: "Tree", problems: Problems
    ) -> dict[str, Any] | None:
        """The keys of the classes; None after a problem: nothing says what values mean."""
        of_kind = Problems()
        found = resolving.classes_of(keys, tree, of_kind)
        kind = type(resolving.section(keys, with_any_classes=True))
        problems.found.extend(self._with_kind(problem, kind, keys) for problem in of_kind.found)
        if found is None:
            return None
        if not found.is_guess:
            return dict(found.keys)
        lines = "; ".join(f"{k}: {value_as_yaml(v)}" for k, v in found.keys.items())
        problems.add(
            f"{self.url}: nothing there says what the values of masks mean. What they hold could "
            f"be `{lines}`: write that, with the names of the classes, or set classes_url."
        )
        return None


def _words(candidates: "Sequence[Candidate]", keys: dict[str, Any], labelled: bool) -> str:
    """What it is taken for."""
    candidate = next(c for c in candidates if keys in (c.keys, *map(c.of_split, c.splits)))
    split = next((name for name in candidate.splits if candidate.of_split(name) == keys), None)
    of_split = f", split {split}" if split else ""
    only = ", of which only the images are read" if candidate.has_masks and not labelled else ""
    return f"{candidate.words}{of_split}{only}"
