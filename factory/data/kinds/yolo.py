"""The source `kind: yolo`: images, and text files of outlines of which their masks are drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory.data.drawn.section import DrawnSection
from factory.data.files import listing
from factory.errors import Problems, UnreadableImage, UserError, counted, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.drawn.items import DrawnItem
    from factory.data.drawn.labels import LabelIds
    from factory.data.files.trees import Tree
    from factory.data.items import Found
    from factory.data.recognizing.yolo_description import Description


class YoloSource(DrawnSection):
    """Images, and YOLO's labels of segments: a text file an image. Outlines are drawn as
    pycocotools does, larger ones below smaller ones."""

    purpose: ClassVar[str] = "YOLO's labels of segments"

    kind: Literal["yolo"] = "yolo"
    """The kind of source."""
    url: Url = Field(description="the folder of images/ and labels/, or a .zip archive")
    """The folder of `data.yaml`, or of `images` and `labels`; or a `.zip` archive of it."""
    split: str | None = None
    """Read only the images of this split of `data.yaml`: `train`, `val`, `test`. Needed where it
    has several."""
    unannotated: Literal["background", "skip"] = "background"
    """What to do with images without a text file: YOLO means that no object is in them. skip
    leaves them out."""
    boxes: Literal["refuse", "ignore"] = "refuse"
    """What to do with lines that are boxes, which have no outline: ignore makes the pixels of the
    box ignored."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images of a split. See `factory.data.items.Source`."""
        from factory.data.items import Found

        tree = listing.open_tree(self.url, problems)
        if tree is None:
            return Found()
        try:
            with problems.collected():
                return self._find(tree, labelled, problems)
        except UnreadableImage as error:
            problems.add(f"{self.url}: {error}")
        except OSError as error:
            problems.add(listing.cannot_list(self.url, error))
        return Found()

    def _find(self, tree: "Tree", labelled: bool, problems: Problems) -> "Found":
        """The images of a split. Raises UserError, OSError, UnreadableImage."""
        from factory.data.drawn import yolo
        from factory.data.drawn.items import DrawnItem
        from factory.data.items import Found
        from factory.data.recognizing import yolo_description

        every = tree.names()
        description = self._description(tree, every)
        images = yolo.images_of(tree, every, description, self._split(description))
        if not images:
            raise UserError(f"{self.url}: holds no images ({listing.ENDINGS}). Set another `url:`.")
        chosen = [images[i] for i in self.chosen(images, tree, problems)]
        if not labelled:
            items = [DrawnItem(name, tree, name, self.reading) for name in chosen]
            return self.found(items, (), problems)
        found = self._labels(description, yolo.listed_classes(tree, every), problems)
        if found is None:
            return Found()
        labels, ids = found
        files = set(every)
        expected = {name: yolo_description.labels_name(name) for name in chosen}
        paths = {name: path if path in files else None for name, path in expected.items()}
        with_file = [name for name in chosen if paths[name] is not None]
        if chosen and not with_file:
            raise UserError(
                f"{self.url}: none of {counted(len(chosen), 'image')} has labels: those of "
                f"{chosen[0]} would be {expected[chosen[0]]}. Name the folder above images/ and "
                "labels/ in `url:`."
            )
        if self.unannotated == "skip":
            chosen = with_file
        items = self._items(tree, chosen, paths, ids)
        if description.has_keypoints or yolo.are_poses(items):
            raise UserError(
                f"{description.url}: its labels are of poses, a box and keypoints a line, which "
                "have no outlines. Export segments in their place, or use the images alone, with "
                "`kind: folder`."
            )
        notes = tuple(yolo.note_on_corners(items))
        return self.found(items, notes, problems, labels.rules)

    def _items(
        self,
        tree: "Tree",
        chosen: Sequence[str],
        paths: Mapping[str, str | None],
        ids: Sequence[int],
    ) -> "list[DrawnItem]":
        """The chosen images with what is drawn on them; paths: image -> its text file."""
        from factory.data.drawn.items import DrawnItem
        from factory.data.drawn.yolo import YoloDrawing

        ignores_boxes = self.boxes == "ignore"
        return [
            DrawnItem(
                name,
                tree,
                name,
                self.reading,
                YoloDrawing(tree, paths[name], name, ids, ignores_boxes),
            )
            for name in chosen
        ]

    def _description(self, tree: "Tree", every: Sequence[str]) -> "Description":
        """The data.yaml of the tree, or what stands for it without one. Raises UserError,
        OSError, UnreadableImage."""
        from factory.data.recognizing import yolo_description

        named = yolo_description.descriptions_among(tree, every)
        if len(named) > 1:
            raise UserError(
                f"{self.url}: holds {some(named)}. Name the folder of one of them in `url:`."
            )
        if not named:
            return yolo_description.Description(self.url, "")
        return yolo_description.description_at(tree, named[0])

    def _split(self, description: "Description") -> str | None:
        """The split to read. Raises UserError if it is not clear."""
        splits = list(description.splits)
        if self.split is None:
            if len(splits) > 1:
                raise UserError(
                    f"{description.url}: has the splits {some(splits)}. Choose one of them, such "
                    f"as `split: {splits[0]}`."
                )
            return splits[0] if splits else None
        if self.split not in splits:
            told = f"has the splits {some(splits)}" if splits else "no data.yaml names splits"
            raise UserError(
                f"{description.url}: {told}, not `split: {self.split}`. Set another, or none."
            )
        return self.split

    def _labels(
        self, description: "Description", listed: Sequence[str], problems: Problems
    ) -> "tuple[LabelIds, Sequence[int]] | None":
        """The classes, and the class ids of the numbers 0, 1, ... of the files. None after a
        problem.

        listed: the names in a classes.txt. Without a data.yaml that names them people do, behind
        the background, or else these are meant.
        """
        names = description.names or ([] if self.names_classes else listed)
        if names:
            labels = self.label_ids(names, dict.fromkeys(names, 0), problems)
            return (labels, [labels.id_of[name] for name in names]) if labels else None
        labels = self.label_ids((), {}, problems) if self.names_classes else None
        rules = self.read_rules(Problems())
        if labels is None or rules is None:
            if not self.names_classes:
                problems.add(
                    f"{self.url}: no data.yaml or classes.txt names the classes. Set `classes:` or "
                    "`classes_url:` to their names, the background before class 0 of the files."
                )
            return None
        if any(rule.labels for rule in (*rules.rules, rules.ignored)):
            problems.add(
                f"{self.url}: no data.yaml says which numbers the labels of `classes` are. Add "
                "`names: [...]` to a data.yaml there, or leave `labels` out."
            )
            return None
        return labels, range(1, len(labels.classes))
