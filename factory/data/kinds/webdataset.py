"""The source `kind: webdataset`: images, and perhaps masks, in tars."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory import storage
from factory.classes import IGNORE_ID
from factory.data import class_files, listing
from factory.data.class_forms import Ignored
from factory.data.sections import FileSection, LabelledSection
from factory.errors import Problems, counted, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.class_rules import ClassRules
    from factory.data.items import Found, Item
    from factory.data.sharded.shard_files import ShardFiles
    from factory.data.sharded.tar_endings import Endings
    from factory.data.sharded.tar_samples import TarIndex, TarSample

_NUM_THREADS = 8


class WebdatasetSource(LabelledSection, FileSection):
    """Images, and perhaps masks, in tars, where files of one name but for the ending belong
    together: `0001.jpg` and `0001.seg.png`. They are read in place."""

    purpose: ClassVar[str] = "tars of images"
    brings_classes: ClassVar[bool] = True

    kind: Literal["webdataset"] = "webdataset"
    """The kind of source."""
    url: Url = Field(description="the folder of the .tar files, or one of them")
    """The folder of the `.tar` files, one of them, or several (`train-{00000..00009}.tar`)."""
    split: str | None = None
    """Read only the files of this split, which their names or folders begin with: `train`,
    `validation`, `test`. Needed where there are files of several."""
    image_ending: str | None = None
    """The ending of the images' names, from their first dot on, such as `jpg`; found if absent."""
    mask_ending: str | None = None
    """The ending of the masks' names, from their first dot on, such as `seg.png`; found if
    absent."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The samples, in the order of the files. See `factory.data.items.Source`."""
        from factory.data.items import Found
        from factory.data.sharded import shard_files

        rules = self.read_rules(problems) if labelled else None
        shards = shard_files.find(self.url, ".tar", self.split, problems)
        if shards is None:
            return Found(rules=rules)
        if labelled and not self.names_classes:
            rules = self._own_rules(shards, problems)
        tars = self._indexed(shards, problems)
        endings = self._endings(tars, labelled, problems) if tars else None
        items = self._items(shards, tars, endings, problems) if endings else []
        notes = self._unused(tars, endings) if endings and self.names_url is None else ()
        return self.found(items, notes, problems, rules)

    def _unused(self, tars: Sequence["TarIndex"], endings: "Endings") -> tuple[str, ...]:
        """A sentence on samples that are left out as their pictures end otherwise."""
        from factory.data.sharded import tar_samples

        if not (left := tar_samples.unused(tars, endings)):
            return ()
        listed = some([f"{num:,} .{ending}" for ending, num in left.most_common()], 12)
        return (
            f"{self.url}: only .{endings.image} is read. Samples without one are not used, which "
            f"hold {listed}. Pack all images with one ending.",
        )

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of each sample's tar, and the place in it. Raises OSError."""
        from factory.data.sharded import tar_samples

        return tar_samples.versions(items)

    def _own_rules(self, shards: "ShardFiles", problems: Problems) -> "ClassRules | None":
        """The classes of a dataset that `factory generate` wrote; of others nothing tells them,
        which is a problem."""
        if shards.classes is None:
            problems.add(
                f"{self.url}: tars name no classes. Set `classes_url:` to a file of their names, "
                "or `classes:` to the names."
            )
            return None
        url = shards.tree.url_of(shards.classes)
        try:
            with problems.collected():
                return class_files.read_rules(
                    storage.read_text(url), url, self.ignore or Ignored(ids=(IGNORE_ID,))
                )
        except OSError as error:
            problems.add(listing.cannot_read(url, error))
        return None

    def _indexed(self, shards: "ShardFiles", problems: Problems) -> list["TarIndex"]:
        """What lies in the tars; nothing after a problem with any."""
        from factory.data.sharded import tar_files, tar_samples

        def index(name: str) -> "TarIndex | None":
            url = shards.tree.url_of(name)
            try:
                with problems.collected():
                    return tar_samples.index(name, tar_files.members(shards.tree, name), url)
            except OSError as error:
                problems.add(listing.cannot_read(url, error))
            return None

        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            found = list(pool.map(index, shards.names))
        return [] if None in found else [tar for tar in found if tar is not None]

    def _endings(
        self, tars: Sequence["TarIndex"], labelled: bool, problems: Problems
    ) -> "Endings | None":
        """The endings of images and masks; None after a problem."""
        from factory.data.sharded import tar_endings

        counts = sum((tar.counts for tar in tars), Counter[str]())
        with problems.collected():
            return tar_endings.find_endings(
                counts, self.image_ending, self.mask_ending, labelled, self.url
            )
        return None

    def _items(
        self,
        shards: "ShardFiles",
        tars: Sequence["TarIndex"],
        endings: "Endings",
        problems: Problems,
    ) -> list["TarSample"]:
        """The samples to use; that one has no mask is a problem."""
        from factory.data.sharded import tar_samples
        from factory.data.sharded.tar_files import TarFiles

        files = TarFiles(shards.tree)
        samples = tar_samples.samples(tars, files, endings, self.reading)
        chosen = self.chosen([sample.name for sample in samples], shards.tree, problems)
        items = [samples[i] for i in chosen]
        if endings.mask is None:
            return items
        if lacking := [item.name for item in items if item.mask_member is None]:
            problems.add(
                f"{self.url}: {counted(len(lacking), 'image')} without a mask .{endings.mask}: "
                f"{some(lacking)}. Pack the masks, too, or list the images to use in names_url."
            )
        if self.names_url is None and (stray := tar_samples.stray(tars, endings)):
            problems.add(
                f"{self.url}: {counted(len(stray), 'mask')} without an image .{endings.image}: "
                f"{some(stray)}. Pack the images, too, or list the images to use in names_url."
            )
        return [item for item in items if item.mask_member is not None]
