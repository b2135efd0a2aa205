"""The base of the sections of sources whose masks are drawn of shapes with labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from factory.data.classes.class_rules import NO_RULE
from factory.data.sections import OF_VALUES, FileSection, LabelledSection
from factory.errors import Problems
from factory.values import unquoted

if TYPE_CHECKING:
    from factory.data.drawn.labels import LabelIds
    from factory.data.items import Item


class DrawnSection(LabelledSection, FileSection):
    """A source of images, and files of shapes with labels of which their masks are drawn."""

    brings_classes: ClassVar[bool] = True
    draws_labels: ClassVar[bool] = True

    background: str = "background"
    """The name of class 0, which takes all pixels without a shape, unless `classes` or
    `classes_url` name the classes, of which the first does."""

    @field_validator(*OF_VALUES)
    @classmethod
    def _check_has_no_values(cls, value: Any) -> Any:
        if value:
            kind = cls.model_fields["kind"].default
            raise unquoted(f"has no effect on kind {kind}, whose masks are drawn. Leave it out.")
        return value

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of the file of each image; empty if masks were asked for. Raises
        OSError."""
        from factory.data.drawn import items as drawn

        return drawn.versions(items)

    def label_ids(
        self, labels: Sequence[str], counts: Mapping[str, int], problems: Problems
    ) -> "LabelIds | None":
        """The classes, and which labels they are: those that the section names, else all labels.

        labels: all that the files name, in the order of their classes. counts: label -> number of
        its shapes. None after a problem, which is added.
        """
        from factory.data.drawn import labels as drawn

        rules = self.read_rules(problems)
        with problems.collected():
            if rules is not None:
                return drawn.of_rules(rules, counts, self.classes_url or "classes")
            if not self.names_classes:
                ignored = self.ignore.rule if self.ignore else NO_RULE
                return drawn.of_labels(labels, self.background, self.url, counts, ignored)
        return None
