"""The source `kind: coco`: images, and a JSON of instances of which their masks are drawn, or of
panoptic segments."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory import storage
from factory.classes import IGNORE_ID
from factory.data.drawn.section import DrawnSection
from factory.data.files import listing
from factory.errors import Problems, UserError, counted, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.drawn.coco import CocoImage, Instances
    from factory.data.drawn.items import Drawing
    from factory.data.files.trees import Tree
    from factory.data.items import Found

_MAX_FILES = 200
"""JSON files are looked into where they are no more: others are labels of single images."""
_KEYS = (b'"images"', b'"annotations"', b'"categories"')


class CocoSource(DrawnSection):
    """Images, and COCO's JSON of instances. Outlines and runs of pixels are drawn as pycocotools
    does, larger regions below smaller ones. Or its JSON of panoptic segments, and
    their PNGs."""

    purpose: ClassVar[str] = "COCO's JSON of instances"

    kind: Literal["coco"] = "coco"
    """The kind of source."""
    url: Url = Field(description="the folder of the images, or a .zip archive")
    """The folder of the images, in sub-folders too, or a `.zip` archive, or a folder in one."""
    annotations_url: Url | None = None
    """The JSON of instances; the one below url if absent."""
    segments_url: Url | None = None
    """The folder of the PNGs of panoptic segments; beside the JSON, and called as it is, if
    absent."""
    unannotated: Literal["background", "skip"] = "background"
    """What to do with images without an annotation: COCO means that nothing of a category is in
    them. skip leaves them out."""
    unpaired: Literal["refuse", "skip"] = "refuse"
    """What to do with images of the JSON whose file is not there, with annotations of images that
    it does not list, and with images of which it has several of one id or file_name: skip leaves
    them out and reports them."""
    boxes: Literal["refuse", "ignore"] = "refuse"
    """What to do with annotations that have a box and no outline: ignore makes the pixels of the
    box ignored."""
    crowds: Literal["draw", "ignore"] | None = None
    """What to do with regions of crowds (`iscrowd: 1`): draw them like others, or ignore them, as
    COCO does. Absent: ignored, and refused where a category has no other regions, as in exports of
    programs that mark all runs of pixels so."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images of the JSON. See `factory.data.items.Source`."""
        from factory.data.drawn.items import DrawnItem
        from factory.data.items import Found

        tree = listing.open_tree(self.url, problems)
        read = self._read(tree, problems) if tree else None
        if tree is None or read is None:
            return Found()
        url, instances = read
        if not labelled:
            files, notes = self._files(tree, instances.images, url, problems)
            items = [
                DrawnItem(name, tree, name, self.reading)
                for name in self._chosen(files, tree, problems)
            ]
            return self.found(items, notes, problems)
        labels = self.label_ids(list(instances.categories.values()), instances.counts, problems)
        if labels is None:
            return Found()
        images, doubts = self._clear(instances, url, problems)
        files, notes = self._files(tree, images, url, problems)
        if files and not instances.counts:
            problems.add(
                f"{url}: holds no annotation of its images. Set `annotations_url:` to a JSON of "
                "instances that does."
            )
            return Found(rules=labels.rules)
        chosen = self._chosen(files, tree, problems)
        if self._has_boxes(files, chosen, url, problems):
            return Found(rules=labels.rules)
        crowds = self._crowds(instances, labels.id_of, url, problems)
        if crowds is None:
            return Found(rules=labels.rules)
        segments = self._segments(url, problems) if instances.are_panoptic else None
        if instances.are_panoptic and segments is None:
            return Found(rules=labels.rules)
        about = [files[name] for name in chosen]
        drawings = self._drawings(url, instances, about, labels.id_of, segments)
        items = [
            DrawnItem(name, tree, name, self.reading, drawing)
            for name, drawing in zip(chosen, drawings, strict=True)
        ]
        return self.found(items, (*doubts, *notes, *crowds), problems, labels.rules)

    def _drawings(
        self,
        url: str,
        instances: "Instances",
        images: "Sequence[CocoImage]",
        id_of: Mapping[str, int],
        segments: "Tree | None",
    ) -> "list[Drawing]":
        """What draws the mask of each image: its regions, or its segments if there are such."""
        from factory.data.drawn.coco import CocoDrawing
        from factory.data.drawn.panoptic import PanopticDrawing

        draws = self.crowds == "draw"
        if segments is None:
            return [CocoDrawing(url, instances, image, id_of, draws) for image in images]
        return [PanopticDrawing(url, instances, image, id_of, draws, segments) for image in images]

    def _segments(self, url: str, problems: Problems) -> "Tree | None":
        """The PNGs of the segments; None after a problem."""
        folder = self.segments_url or url.removesuffix(".json")
        tree = listing.open_tree(folder, Problems())
        if tree is None or not any(name.lower().endswith(".png") for name in tree.names()):
            problems.add(
                f"{url}: is of panoptic segments, and {folder} holds no PNG of them. Name their "
                "folder in `segments_url:`."
            )
            return None
        return tree

    def _chosen(
        self, files: "Mapping[str, CocoImage]", tree: "Tree", problems: Problems
    ) -> list[str]:
        names = sorted(files)
        return [names[i] for i in self.chosen(names, tree, problems)]

    def _clear(
        self, instances: "Instances", url: str, problems: Problems
    ) -> "tuple[list[CocoImage], tuple[str, ...]]":
        """The images whose annotations are known, and notes on what is left out."""
        images = [image for image in instances.images if image.file_name not in instances.doubtful]
        if self.unannotated == "skip":
            images = [image for image in images if image.starts]
        told = [f"{url}: has {doubt}" for doubt in instances.doubts]
        if self.unpaired == "skip":
            return images, tuple(f"{line}. They are left out." for line in told)
        for line in told:
            problems.add(f"{line}. Mend the file, or leave them out with `unpaired: skip`.")
        return images, ()

    def _has_boxes(
        self,
        files: "Mapping[str, CocoImage]",
        chosen: Sequence[str],
        url: str,
        problems: Problems,
    ) -> bool:
        """True if annotations have no outline, and must have one, which is a problem."""
        boxes = [name for name in chosen if files[name].num_boxes]
        if not boxes or self.boxes == "ignore":
            return False
        num = sum(files[name].num_boxes for name in boxes)
        problems.add(
            f"{url}: {counted(num, 'annotation')} without an outline, in {some(boxes)}. Outline "
            "the objects, list the images to use in names_url, or ignore what lies in their boxes "
            "with `boxes: ignore`."
        )
        return True

    def _crowds(
        self,
        instances: "Instances",
        id_of: Mapping[str, int],
        url: str,
        problems: Problems,
    ) -> tuple[str, ...] | None:
        """Notes on regions of crowds; None where a category has no others and nothing says what to
        do with them, which is a problem."""
        crowds = {n: num for n, num in instances.crowds.items() if id_of[n] != IGNORE_ID}
        if not crowds:
            return ()
        are = counted(sum(crowds.values()), "annotation is of a crowd", "annotations are of crowds")
        told = f"{url}: {are} (iscrowd: 1), of {some(sorted(crowds))}"
        alone = [name for name, num in crowds.items() if num == instances.counts[name]]
        if alone and self.crowds is None:
            problems.add(
                f"{told}, and {some(sorted(alone))} has no others, so that nothing of it would be "
                "learned. If they are objects, as where a program marks all runs of pixels so, set "
                "`crowds: draw`; to ignore what they cover, `crowds: ignore`."
            )
            return None
        if self.crowds == "draw":
            return (f"{told}: they are drawn like others. `crowds: ignore` ignores them.",)
        return (f"{told}: they are ignored. If they are objects, set `crowds: draw`.",)

    def _read(self, tree: "Tree", problems: Problems) -> "tuple[str, Instances] | None":
        """The place and the content of the JSON; None after a problem."""
        from factory.data.drawn import coco

        url = self.annotations_url or self.url
        try:
            with problems.collected():
                url, data = self._json(tree)
                return url, coco.read(data.decode("utf-8-sig"), url)
        except UnicodeDecodeError:
            problems.add(f"{url}: is no JSON of instances in UTF-8. Export it again.")
        except OSError as error:
            problems.add(listing.cannot_read(url, error))
        return None

    def _json(self, tree: "Tree") -> tuple[str, bytes]:
        """The place and the bytes of the JSON. Raises UserError, OSError."""
        from factory.data.files import trees
        from factory.errors import UnreadableImage

        try:
            if self.annotations_url is not None:
                above = storage.parent(self.annotations_url)
                assert above is not None, "a file lies in a folder"
                beside = trees.open_tree(above)
                return self.annotations_url, beside.read(storage.name_of(self.annotations_url))
            names = [name for name in tree.names() if name.lower().endswith(".json")]
            found = []
            if len(names) <= _MAX_FILES:
                read = ((name, tree.read(name)) for name in names)
                found = [(name, data) for name, data in read if all(key in data for key in _KEYS)]
            if len(found) == 1:
                return tree.url_of(found[0][0]), found[0][1]
        except UnreadableImage as error:
            raise UserError(f"{self.annotations_url or self.url}: {error}") from None
        such = f", such as {tree.url_of(found[0][0])}" if found else ""
        what = f"{counted(len(found), 'JSON')} of instances: {some([n for n, _ in found])}"
        if not found:
            what = f"no JSON of instances among {counted(len(names), 'JSON file')}"
        raise UserError(
            f"{self.url}: holds {what}. Set `annotations_url:` to the one that is meant{such}."
        )

    def _files(
        self, tree: "Tree", images: Sequence["CocoImage"], url: str, problems: Problems
    ) -> "tuple[dict[str, CocoImage], tuple[str, ...]]":
        """The images by the names of their files in the tree, and notes on those left out."""
        from factory.data.drawn.named_files import NamedFiles

        known = NamedFiles(n for n in tree.names() if n.lower().endswith(listing.IMAGE_SUFFIXES))
        root = f"{tree.url_of('').rstrip('/')}/"
        folder = posixpath.dirname(url.removeprefix(root)) if url.startswith(root) else ""
        files: dict[str, CocoImage] = {}
        missing = []
        for image in images:
            found = known.find(image.file_name, folder)
            if len(found) == 1 and found[0] not in files:
                files[found[0]] = image
            else:
                missing.append(image.file_name)
        if not missing:
            return files, ()
        told = (
            f"{url}: names {counted(len(missing), 'image')} that {self.url} does not hold, or "
            f"holds more than once: {some(missing, 12)}"
        )
        if self.unpaired == "skip" and files:
            return files, (f"{told}. They are left out.",)
        problems.add(
            f"{told}. Name their folder in `url:`, or leave them out with `unpaired: skip`."
        )
        return files, ()
