"""Which values of a mask are which class: `ClassRules`, and what cannot stand together in them.

A mask is read by its values (grey levels, or the indices of its palette), 0..65535, or by its
colours. By values: exact `ids` go before `above`; of several `above`, the largest that lies below
the value wins. Where a class has `above`, one class without a rule takes all other values that are
not above the lowest of them. Where none has, a class without a rule is its own position, as all are
in masks of class ids. 255 is ignored unless a rule covers it. By colours: every class has `colors`,
or one has all others, and nothing is ignored but what `ignored` names. Where there is a `divisor`,
ids are values that are divided by it. `factory.data.masks.mask_values` applies the rules.
Where classes have `parts`, each file of a mask is of one class: `factory.data.masks.part_masks`
draws them, and `above` says which values in the files of a part are its pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from factory.classes import IGNORE_ID, Classes, Color
from factory.errors import UserError, some

MIN_VALUE, MAX_VALUE = -32768, 65535
"""The values that rules name: those of 16 bits, with a sign or without."""
ANY_PART = "*"
SmallerIds = Literal["classes", "objects"]


@dataclass(frozen=True)
class Rule:
    """The values of a mask that belong together: that are one class, or are ignored."""

    ids: tuple[int, ...] = ()
    """Values, -32768..65535; negative ones are looked up as 65536 more."""
    colors: tuple[Color, ...] = ()
    """Colours, 0..255 a channel."""
    above: float | None = None
    """All values above this one, 0 or more, belong, too; of parts, their pixels above it."""
    other_colors: bool = False
    """All colours that no rule names belong, too."""
    labels: tuple[str, ...] = ()
    """Labels of shapes of which masks are drawn: no values of a mask."""
    parts: tuple[str, ...] = ()
    """Parts of masks that have a file for each part: their names, or how they begin, as `hair_*`;
    `ANY_PART` are all that no rule names."""

    @property
    def is_empty(self) -> bool:
        """True if it names no value."""
        return self.above is None and not (
            self.ids or self.colors or self.other_colors or self.parts
        )

    @property
    def has_colors(self) -> bool:
        """True if it names colours, or means all others."""
        return bool(self.colors) or self.other_colors


NO_RULE = Rule()


@dataclass(frozen=True)
class ClassRules:
    """The classes of a source of masks, and which values of its masks are which of them."""

    classes: Classes
    rules: tuple[Rule, ...]
    """One for each class; `NO_RULE` where nothing is said of it."""
    ignored: Rule = NO_RULE
    """The ids or colours that are of no class; it has no `above`."""
    nearest_colors: bool = False
    """True if a colour that no rule names is of the class of the nearest one."""
    divisor: int | None = None
    """Values are divided by it, what is left over numbers objects, and ids are the quotients; None
    where values are ids themselves."""
    smaller: SmallerIds | None = None
    """What values from 1 up to the divisor are: ids themselves, or objects of class 0; None where
    there must not be any."""
    shown: tuple[Color, ...] = ()
    """The colours that are named to show the classes, which are read otherwise; empty unless each
    has one of its own."""

    def __post_init__(self) -> None:
        assert len(self.rules) == len(self.classes), (self.rules, self.classes)
        assert self.ignored.above is None, self.ignored

    def __hash__(self) -> int:
        # Rules are looked up for each mask, and hashing hundreds of names would take longer than
        # all else there.
        return len(self.rules)

    @classmethod
    def of_positions(cls, classes: Classes) -> "ClassRules":
        """The rules of masks of class ids: a class is its position, and 255 is ignored."""
        return cls(classes, (NO_RULE,) * len(classes))

    @cached_property
    def by_color(self) -> bool:
        """True if masks are read by their colours, not by their values."""
        return any(rule.has_colors for rule in (*self.rules, self.ignored))

    def with_nearest_colors(self, location: str) -> "ClassRules":
        """These rules, by which a colour that none names is of the class of the nearest one.

        location: where they are from. Raises UserError that begins with it where no colours are
        named, or a class has all others.
        """
        if not self.by_color or self.class_of_other_colors != IGNORE_ID:
            raise UserError(
                f"{location}: nearest_colors is for masks whose classes have colors, and none has "
                "all others. Leave it out, or name the colors of each class."
            )
        return replace(self, nearest_colors=True)

    def divided(
        self, divisor: int | None, smaller: SmallerIds | None, location: str
    ) -> "ClassRules":
        """These rules, whose ids are values that are divided.

        location: where they are from. Raises UserError that begins with it where classes are not
        read by ids, or nothing is divided.
        """
        if divisor is None and smaller is not None:
            raise UserError(
                f"{location}: smaller_ids is for values that are divided. Set ids_divided_by, or "
                "leave it out."
            )
        if divisor is not None and (self.by_color or self.by_part or self.has_thresholds):
            raise UserError(
                f"{location}: ids_divided_by is for masks whose classes have ids alone. Leave it "
                "out, or name the ids of each class."
            )
        return self if divisor is None else replace(self, divisor=divisor, smaller=smaller)

    def id_of(self, value: int) -> int:
        """The id that a value stands for."""
        if self.divisor is None or (value < self.divisor and self.smaller == "classes"):
            return value
        return value // self.divisor

    @property
    def by_shown_colors(self) -> "ClassRules | None":
        """The same classes in masks of the colours that show them; None if these are not named."""
        if not self.shown:
            return None
        return ClassRules(self.classes, tuple(Rule(colors=(color,)) for color in self.shown))

    @property
    def class_of_other_colors(self) -> int:
        """The id of the class that takes all colours that no rule names; 255 if none does."""
        others = [i for i, rule in enumerate(self.rules) if rule.other_colors]
        return others[0] if others else IGNORE_ID

    @property
    def by_part(self) -> bool:
        """True if masks have a file for each part of them."""
        return bool(self.ignored.parts) or any(rule.parts for rule in self.rules)

    @property
    def class_of_rest(self) -> int:
        """The id of the class that takes what no part covers: the one without parts; 255 if all
        have some."""
        without = [i for i, rule in enumerate(self.rules) if rule.is_empty]
        return without[0] if self.by_part and without else IGNORE_ID

    def class_of_part(self, part: str) -> int | None:
        """The class id of a part; 255 = ignore, None if no rule covers it."""
        owners = {p: i for i, rule in enumerate(self.rules) for p in rule.parts}
        owners |= dict.fromkeys(self.ignored.parts, IGNORE_ID)
        begun = [p for p in owners if p.endswith(ANY_PART) and part.startswith(p[:-1])]
        return owners.get(part, owners[max(begun, key=len)] if begun else None)

    @property
    def has_thresholds(self) -> bool:
        """True if a class is all values above a number, which of parts tells their pixels alone."""
        return any(rule.above is not None and not rule.parts for rule in self.rules)

    @property
    def only_thresholds(self) -> bool:
        """True if no value by itself is a class or ignored, so that values need not be exact."""
        named = any(rule.ids or rule.has_colors for rule in (*self.rules, self.ignored))
        return self.has_thresholds and not named

    @property
    def white_is_255(self) -> bool:
        """True if white in masks of one bit is 255, as thresholds mean it, and not the id 1."""
        return self.has_thresholds and 1 not in self.class_of_id

    @property
    def are_positions(self) -> bool:
        """True if masks hold class ids: each class is its position, and only 255 is ignored."""
        if self.by_color or self.has_thresholds or self.by_part or self.divisor:
            return False
        return {IGNORE_ID: IGNORE_ID, **self.class_of_id} == {
            **{i: i for i in range(len(self.classes))},
            IGNORE_ID: IGNORE_ID,
        }

    @property
    def rest(self) -> int | None:
        """The id of the class that takes the values up to the lowest `above`; None if none does."""
        without = [i for i, rule in enumerate(self.rules) if rule.is_empty]
        return without[0] if self.has_thresholds and without else None

    @property
    def spelt_out(self) -> tuple[Rule, ...]:
        """The rule of each class, its position where it has none and is that."""
        by_position = not self.by_color and not self.has_thresholds and not self.by_part
        return tuple(
            Rule(ids=(i,)) if by_position and rule.is_empty else rule
            for i, rule in enumerate(self.rules)
        )

    @property
    def class_of_id(self) -> dict[int, int]:
        """The class id of each value that is meant by itself; 255 = ignore."""
        found = dict.fromkeys(self.ignored.ids, IGNORE_ID)
        for i, rule in enumerate(self.spelt_out):
            found |= dict.fromkeys(rule.ids, i)
        return found

    @property
    def class_of_color(self) -> dict[Color, int]:
        """The class id of each colour that is named; 255 = ignore."""
        found = dict.fromkeys(self.ignored.colors, IGNORE_ID)
        for i, rule in enumerate(self.rules):
            found |= dict.fromkeys(rule.colors, i)
        return found

    @property
    def thresholds(self) -> list[tuple[float, int]]:
        """(above, class id) of the classes without parts that have one, the lowest first."""
        above = ((r.above, i) for i, r in enumerate(self.rules) if not r.parts)
        return sorted((value, i) for value, i in above if value is not None)

    def problems(self) -> list[str]:
        """Sentences on what cannot stand together in the rules; empty if they can be applied."""
        if mixed := self._mixed():
            return [mixed]
        found = [*self._claimed_twice()]
        if self.by_color:
            return [*found, *self._without_colors()]
        if self.by_part:
            return [*found, *self._without_parts()]
        if self.has_thresholds:
            return [*found, *self._without_thresholds()]
        return [*found, *self._positions_taken()]

    def _owners(self) -> list[tuple[str, Rule]]:
        """The rules, each with the words by which messages name whose it is."""
        named = [(f"class {n}", r) for n, r in zip(self.classes.names, self.rules, strict=True)]
        return [*named, ("ignore", self.ignored)]

    def _mixed(self) -> str | None:
        colored = [owner for owner, rule in self._owners() if rule.has_colors]
        thresholds = [owner for owner, r in self._owners() if r.above is not None and not r.parts]
        valued = [*(owner for owner, r in self._owners() if r.ids), *thresholds]
        parted = [owner for owner, rule in self._owners() if rule.parts]
        if parted and (others := colored or valued):
            return (
                f"{some(parted)} named by parts, {some(others)} by ids, colors or above: a mask "
                "has a file for each part, or holds values. Give all of them parts, or none."
            )
        if not colored or not valued:
            return None
        return (
            f"{some(colored)} named by colors, {some(valued)} by ids or above: masks are read "
            "either by their colours or by their values. Give all of them colors, or none."
        )

    def _claimed_twice(self) -> Iterator[str]:
        owner_of: dict[tuple[str, object], str] = {}
        for owner, rule in self._owners():
            thresholds = [] if rule.above is None or rule.parts else [("above", rule.above)]
            ids, colors = [("id", i) for i in rule.ids], [("colour", c) for c in rule.colors]
            labels = [("label", label) for label in rule.labels]
            parts = [("part", part) for part in rule.parts]
            others = [("colours", "others")] if rule.other_colors else []
            for kind, value in [*ids, *colors, *others, *thresholds, *labels, *parts]:
                first = owner_of.setdefault((kind, value), owner)
                if first != owner:
                    yield f"{kind} {value} is claimed by {first} and by {owner}. Keep it in one."

    def _without_rule(self) -> list[str]:
        return [owner for owner, rule in self._owners()[:-1] if rule.is_empty]

    def _without_colors(self) -> Iterator[str]:
        if missing := self._without_rule():
            yield (
                f"{some(missing)} without colors, but others have them, so that masks are read by "
                "their colours. Give each class its colors."
            )

    def _without_thresholds(self) -> Iterator[str]:
        if len(missing := self._without_rule()) > 1:
            yield (
                f"{some(missing)} without a rule, but others have above: only one class can be "
                "what is left below. Give the others ids or above, too."
            )

    def _without_parts(self) -> Iterator[str]:
        if len(missing := self._without_rule()) > 1:
            yield (
                f"{some(missing)} without parts, but others have them: only one class can be what "
                "no part covers. Give the others parts, too."
            )

    def _positions_taken(self) -> Iterator[str]:
        owner_of = {value: owner for owner, rule in self._owners() for value in rule.ids}
        for i, (owner, rule) in enumerate(self._owners()[:-1]):
            if rule.is_empty and i in owner_of:
                yield (
                    f"{owner} has no ids and would be its position, the id {i}, which belongs to "
                    f"{owner_of[i]}. Give it ids of its own, or leave it out."
                )
